//! `snakepit reset`: the circuits of a pool are closed.

use serde_json::json;
use snakepit_proto::control::v1::ResetBreakerRequest;

use super::{Target, soon};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::output::print;

/// Closes circuits of a pool's breaker, so that calls pass again before its time is over. `snakepit
/// stats` tells which circuits are open.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,

    /// The pool
    pool: String,

    /// The command whose circuit is meant; all circuits of the pool without it
    command: Option<String>,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let Args { pool, command, .. } = args;
    let request =
        ResetBreakerRequest { pool: pool.clone(), command: command.clone().unwrap_or_default() };
    let changed = soon(host.client.reset_breaker(request)).await?.changed;
    if reporter.json {
        let report = json!({"pool": pool, "command": command, "changed": changed});
        return print(&format!("{report}\n"));
    }
    print(if changed { "closed\n" } else { "was closed already\n" })
}
