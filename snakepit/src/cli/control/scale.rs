//! `snakepit scale`: a pool gets another number of workers.

use serde_json::json;
use snakepit_proto::control::v1::ScaleRequest;

use super::{Target, Waiting};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::output::print;

/// Changes how many workers a pool has. Missing ones start; surplus ones take no more calls, end
/// those they have, and go, idle ones first. Waits until the pool has so many; interrupting the wait
/// changes nothing.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    waiting: Waiting,

    /// The pool
    pool: String,

    /// How many workers it is to have
    #[arg(value_name = "N")]
    workers: u32,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let Args { waiting, pool, workers, .. } = args;
    let request = ScaleRequest { pool: pool.clone(), workers, no_wait: waiting.no_wait };
    let asking = host.client.scale(request);
    let undone = format!("the pool does not have {workers} workers");
    let done = waiting.wait(asking, &undone).await?.done;
    if reporter.json {
        let report = json!({"pool": pool, "workers": workers, "done": done});
        return print(&format!("{report}\n"));
    }
    print(&format!("{} {pool} to {workers}\n", if done { "scaled" } else { "scaling" }))
}
