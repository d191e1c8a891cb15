//! `snakepit drain`: a pool, or the whole host, ends in good order.

use std::time::Duration;

use serde_json::json;
use snakepit_proto::control::v1::DrainRequest;

use super::{Target, answered};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::output::print;
use crate::cli::pool::duration;

/// Takes no more calls, fails those in line, lets running ones end, and stops the workers. Without a
/// pool, all of them, and then `snakepit run` ends. A pool that was drained stays so until the host
/// is started again. Waits until it is over; interrupting the wait changes nothing.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,

    /// Time for all of it, as `5m`; calls that still run after three quarters of it are cut off
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    timeout: Duration,

    /// The pool; the whole host if left out
    pool: Option<String>,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let deadline = prost_types::Duration::try_from(args.timeout)
        .map_err(|error| Failure::usage(format!("this is no time for a drain: {error}")))?;
    let pool = args.pool.unwrap_or_default();
    let asking = host.client.drain(DrainRequest { pool, deadline: Some(deadline) });
    let drained = answered(asking.await)?;
    if reporter.json {
        return print(&format!("{}\n", json!({ "drained": drained.pools })));
    }
    print(&format!("drained {}\n", drained.pools.join(", ")))
}
