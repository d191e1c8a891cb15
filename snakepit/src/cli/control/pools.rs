//! `snakepit pools`: what pools there are, one to a line.

use serde_json::{Value, json};
use snakepit_proto::control::v1::{GetStatsRequest, Pool};

use super::stats::state;
use super::{Target, error_of, soon};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::output::{print, table};

/// Without --json: a table. With --json: one array on standard output, an object for each pool.
/// `snakepit stats` has all numbers.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let stats = soon(host.client.get_stats(GetStatsRequest::default())).await?;
    if reporter.json {
        let pools: Vec<Value> = stats.pools.into_iter().map(json_of).collect();
        return print(&format!("{}\n", json!(pools)));
    }
    let header = ["POOL", "STATE", "PROFILE", "ADAPTER", "WORKERS", "BUSY", "FREE", "QUEUED"];
    let header = header.map(str::to_owned).to_vec();
    print(&table(header, stats.pools.into_iter().map(cells).collect(), 4))
}

fn json_of(pool: Pool) -> Value {
    let state = state(pool.state());
    let Pool { name, profile, adapter, workers, busy, available, queued, failure, .. } = pool;
    json!({
        "pool": name, "state": state, "profile": profile, "adapter": adapter, "workers": workers,
        "busy": busy, "available": available, "queued": queued, "error": failure.map(error_of),
    })
}

fn cells(pool: Pool) -> Vec<String> {
    let state = state(pool.state()).to_owned();
    let numbers = [pool.workers, pool.busy, pool.available, pool.queued];
    let mut cells = vec![pool.name, state, pool.profile, pool.adapter];
    cells.extend(numbers.map(|number| number.to_string()));
    cells
}
