//! `snakepit scale`: a pool gets another number of workers.

use std::time::Duration;

use serde_json::json;
use snakepit_proto::control::v1::ScaleRequest;

use super::{Target, answered, late, print};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::pool::duration;

/// Changes how many workers a pool has. Missing ones start; surplus ones take no more calls, end
/// those they have, and go, idle ones first. Waits until the pool has so many; interrupting the wait
/// changes nothing.
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

    /// How many workers it is to have
    #[arg(value_name = "N")]
    workers: u32,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let Args { no_wait, timeout, pool, workers, .. } = args;
    let asking = host.client.scale(ScaleRequest { pool: pool.clone(), workers, no_wait });
    let answer = match timeout {
        None => asking.await,
        Some(limit) => tokio::time::timeout(limit, asking)
            .await
            .map_err(|_| late(&format!("the pool does not have {workers} workers"), limit))?,
    };
    let done = answered(answer)?.done;
    if reporter.json {
        let report = json!({"pool": pool, "workers": workers, "done": done});
        return print(&format!("{report}\n"));
    }
    print(&format!("{} {pool} to {workers}\n", if done { "scaled" } else { "scaling" }))
}
