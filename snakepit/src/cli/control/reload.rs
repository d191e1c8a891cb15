//! `snakepit reload`: a running host reads its settings file again.

use std::time::Duration;

use serde_json::{Value, json};
use snakepit::Error;
use snakepit_proto::control::v1::{PoolChange, ReloadOutcome, ReloadRequest};

use super::{Target, Waiting, error_of};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::output::{print, table};
use crate::cli::pool::duration;

/// Changed pools roll worker by worker, and no call notices; unchanged ones are not touched, new ones
/// start, removed ones end their calls and go. A file that is not valid changes nothing. Waits until
/// it is done; interrupting the wait changes nothing. Ends with 1 if a pool is not as the file wants
/// it: one whose new workers do not start goes on with the old ones.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,

    /// Wait no longer than this, as `30s`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
}

struct Row {
    pool: String,
    outcome: &'static str,
    keys: Vec<String>,
    new_workers: bool,
    error: Option<Error>,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let waiting = Waiting { no_wait: false, timeout: args.timeout };
    let asking = host.client.reload(ReloadRequest {});
    let reloaded = waiting.wait(asking, "the settings are not in force").await?;
    let (changed, restart) = (reloaded.host_keys, reloaded.restart_keys);
    let rows: Vec<Row> = reloaded.pools.into_iter().map(Row::from).collect();
    let shown = if reporter.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        print(&format!("{}\n", json!({ "pools": rows, "host": changed, "restart": restart })))
    } else {
        let header = ["POOL", "OUTCOME", "CHANGED"].map(str::to_owned).to_vec();
        let mut text = table(header, rows.iter().map(Row::cells).collect(), 3);
        let errors = rows.iter().filter_map(|row| Some((&row.pool, row.error.as_ref()?)));
        for (pool, error) in errors {
            text.push_str(&format!("\n{pool}: {error} ({})\n", error.kind().code()));
        }
        if !changed.is_empty() {
            text.push_str(&format!("\nchanged: {}\n", changed.join(", ")));
        }
        if !restart.is_empty() {
            text.push_str(&format!("\nwaits for a restart: {}\n", restart.join(", ")));
        }
        print(&text)
    };
    match shown? {
        Outcome::Fine if rows.iter().any(|row| row.outcome == "failed") => Ok(Outcome::SomeFailed),
        outcome => Ok(outcome),
    }
}

impl From<PoolChange> for Row {
    fn from(change: PoolChange) -> Self {
        let outcome = match change.outcome() {
            ReloadOutcome::Unchanged => "unchanged",
            ReloadOutcome::Changed => "changed",
            ReloadOutcome::Started => "started",
            ReloadOutcome::Stopped => "stopped",
            ReloadOutcome::Failed => "failed",
            ReloadOutcome::Unspecified => "unknown",
        };
        let PoolChange { pool, keys, new_workers, failure, .. } = change;
        Self { pool, outcome, keys, new_workers, error: failure.map(error_of) }
    }
}

impl Row {
    fn json(&self) -> Value {
        let Self { pool, outcome, keys, new_workers, error } = self;
        json!({
            "pool": pool, "outcome": outcome, "keys": keys, "new_workers": new_workers,
            "error": error,
        })
    }

    fn cells(&self) -> Vec<String> {
        let keys = match (self.keys.as_slice(), self.new_workers) {
            ([], _) => "-".to_owned(),
            (keys, true) => format!("{} (new workers)", keys.join(", ")),
            (keys, false) => keys.join(", "),
        };
        vec![self.pool.clone(), self.outcome.to_owned(), keys]
    }
}
