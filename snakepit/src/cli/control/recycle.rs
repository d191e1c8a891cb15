//! `snakepit recycle`: workers are replaced.

use std::time::Duration;

use serde_json::json;
use snakepit_proto::control::v1::RecycleRequest;

use super::{Target, answered, late, print};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::pool::duration;

/// Replaces the workers of a pool, or one of them. New workers take the calls first, then the old
/// ones end what they have and go; no call notices. Waits until the old ones are gone; interrupting
/// the wait changes nothing.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,

    /// Do not wait
    #[arg(long)]
    no_wait: bool,

    /// Wait no longer than this, as `30s`
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "no_wait")]
    timeout: Option<Duration>,

    /// The pool
    pool: String,

    /// One worker by its id, as `snakepit workers` shows it; all of the pool if left out
    worker: Option<String>,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let Args { no_wait, timeout, pool, worker, .. } = args;
    let worker = worker.unwrap_or_default();
    let asking = host.client.recycle(RecycleRequest { pool: pool.clone(), worker, no_wait });
    let answer = match timeout {
        None => asking.await,
        Some(limit) => tokio::time::timeout(limit, asking)
            .await
            .map_err(|_| late("the workers are not replaced", limit))?,
    };
    let recycled = answered(answer)?;
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
