//! `snakepit workers`: the workers that are not gone.

use serde::Serialize;
use serde_json::json;
use snakepit_proto::control::v1::{ListWorkersRequest, Worker, WorkerState};

use super::format::{age, lapse, or_dash, seconds, size};
use super::{Target, soon};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::output::{print, table};

/// Without --json: a table. With --json: one array on standard output, an object for each worker.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,

    /// Only this pool
    pool: Option<String>,
}

/// A worker as programs get it.
#[derive(Serialize)]
struct Row {
    pool: String,
    id: String,
    index: u32,
    pid: Option<u32>,
    state: &'static str,
    age_seconds: Option<f64>,
    served: u64,
    memory_bytes: Option<u64>,
    in_flight: u64,
    capacity: u64,
    last_seen_seconds: Option<f64>,
    recycled: Option<String>,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let request = ListWorkersRequest { pool: args.pool.unwrap_or_default() };
    let listed = soon(host.client.list_workers(request)).await?;
    let rows: Vec<Row> = listed.workers.into_iter().map(Row::from).collect();
    if reporter.json {
        return print(&format!("{}\n", json!(rows)));
    }
    let header = [
        "POOL",
        "WORKER",
        "STATE",
        "INDEX",
        "PID",
        "AGE",
        "SERVED",
        "MEMORY",
        "IN FLIGHT",
        "CAPACITY",
        "LAST SEEN",
    ];
    let header = header.map(str::to_owned).to_vec();
    print(&table(header, rows.into_iter().map(Row::cells).collect(), 3))
}

impl From<Worker> for Row {
    fn from(worker: Worker) -> Self {
        Self {
            state: state(worker.state()),
            age_seconds: seconds(&worker.age),
            last_seen_seconds: seconds(&worker.last_seen),
            pool: worker.pool,
            id: worker.id,
            index: worker.index,
            pid: worker.pid,
            served: worker.served,
            memory_bytes: worker.memory_bytes,
            in_flight: worker.in_flight,
            capacity: worker.capacity,
            recycled: Some(worker.recycled).filter(|reason| !reason.is_empty()),
        }
    }
}

impl Row {
    fn cells(self) -> Vec<String> {
        let state = match self.recycled {
            Some(reason) => format!("{} ({reason})", self.state),
            None => self.state.to_owned(),
        };
        vec![
            self.pool,
            self.id,
            state,
            self.index.to_string(),
            or_dash(self.pid.map(|pid| pid.to_string())),
            or_dash(self.age_seconds.map(age)),
            self.served.to_string(),
            or_dash(self.memory_bytes.map(size)),
            self.in_flight.to_string(),
            self.capacity.to_string(),
            or_dash(self.last_seen_seconds.map(lapse)),
        ]
    }
}

fn state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Starting => "starting",
        WorkerState::Ready => "ready",
        WorkerState::Due => "due",
        WorkerState::Draining => "draining",
        WorkerState::Stopping => "stopping",
        WorkerState::Gone => "gone",
        WorkerState::Unspecified => "unknown",
    }
}
