//! `snakepit recycle`: workers are replaced.

use serde_json::json;
use snakepit_proto::control::v1::RecycleRequest;

use super::{Target, Waiting};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::output::print;

/// Replaces the workers of a pool, or one of them. New workers take the calls first, then the old
/// ones end what they have and go; no call notices. Waits until the old ones are gone; interrupting
/// the wait changes nothing.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    waiting: Waiting,

    /// The pool
    pool: String,

    /// One worker by its id, as `snakepit workers` shows it; all of the pool if left out
    worker: Option<String>,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let Args { waiting, pool, worker, .. } = args;
    let worker = worker.unwrap_or_default();
    let request = RecycleRequest { pool: pool.clone(), worker, no_wait: waiting.no_wait };
    let asking = host.client.recycle(request);
    let recycled = waiting.wait(asking, "the workers are not replaced").await?;
    if reporter.json {
        let report = json!({"pool": pool, "workers": recycled.workers, "done": recycled.done});
        return print(&format!("{report}\n"));
    }
    let ids = match recycled.workers.as_slice() {
        [] => "no worker".to_owned(),
        ids => ids.join(", "),
    };
    print(&format!("{} {ids}\n", if recycled.done { "recycled" } else { "recycling" }))
}
