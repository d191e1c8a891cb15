//! `snakepit stats`: the numbers of each pool, and of all together.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use snakepit::Error;
use snakepit_proto::control::v1::{Circuit, GetStatsRequest, Pool, PoolState};

use super::{Target, error_of, soon};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::output::{print, table};

/// Without --json: a table with a column for each pool. With --json: one object on standard output
/// with `pools`, an object for each, and `total`, their sum.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,

    /// Only this pool
    pool: Option<String>,
}

/// What is counted of a pool, or of all of them.
#[derive(Clone, Default, Serialize)]
struct Numbers {
    workers: u64,
    starting: u64,
    capacity: u64,
    available: u64,
    busy: u64,
    queued: u64,
    in_flight: u64,
    #[serde(flatten)]
    counters: BTreeMap<String, u64>,
    recycles: BTreeMap<String, u64>,
    exits: BTreeMap<String, u64>,
    nominal_recycles: u64,
    near_limits: BTreeMap<String, u64>,
    failed_checks: u64,
    /// Of each layer, by its name.
    layers: BTreeMap<String, BTreeMap<String, u64>>,
    sessions: BTreeMap<String, u64>,
}

struct Column {
    name: String,
    state: &'static str,
    error: Option<Error>,
    numbers: Numbers,
    circuits: Vec<Circuit>,
}

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let request = GetStatsRequest { pool: args.pool.unwrap_or_default() };
    let stats = soon(host.client.get_stats(request)).await?;
    let columns: Vec<Column> = stats.pools.into_iter().map(Column::from).collect();
    let mut total = Numbers::default();
    columns.iter().for_each(|column| total.add(&column.numbers));
    if reporter.json {
        let pools: Vec<Value> = columns.iter().map(Column::json).collect();
        return print(&format!("{}\n", json!({ "pools": pools, "total": total })));
    }
    print(&shown(&columns, &total))
}

impl From<Pool> for Column {
    fn from(pool: Pool) -> Self {
        let state = state(pool.state());
        let numbers = Numbers {
            workers: pool.workers,
            starting: pool.starting,
            capacity: pool.capacity,
            available: pool.available,
            busy: pool.busy,
            queued: pool.queued,
            in_flight: pool.in_flight,
            counters: pool.counters.into_iter().collect(),
            recycles: pool.recycles.into_iter().collect(),
            exits: pool.exits.into_iter().collect(),
            nominal_recycles: pool.nominal_recycles,
            near_limits: pool.near_limits.into_iter().collect(),
            failed_checks: pool.failed_checks,
            layers: nested(pool.layers),
            sessions: pool.sessions.into_iter().collect(),
        };
        let error = pool.failure.map(error_of);
        Self { name: pool.name, state, error, numbers, circuits: pool.circuits }
    }
}

/// A state in one word.
pub(super) fn state(state: PoolState) -> &'static str {
    match state {
        PoolState::Running => "running",
        PoolState::Degraded => "degraded",
        PoolState::Draining => "draining",
        PoolState::Stopped => "stopped",
        PoolState::Failed => "failed",
        PoolState::Unspecified => "unknown",
    }
}

impl Column {
    fn json(&self) -> Value {
        let mut value = match &self.error {
            None => {
                let mut numbers = json!(self.numbers);
                numbers["circuits"] = self.circuits.iter().map(circuit).collect();
                numbers
            }
            Some(error) => json!({ "error": error }),
        };
        value["pool"] = json!(self.name);
        value["state"] = json!(self.state);
        value
    }
}

impl Numbers {
    fn add(&mut self, other: &Self) {
        self.workers += other.workers;
        self.starting += other.starting;
        self.capacity += other.capacity;
        self.available += other.available;
        self.busy += other.busy;
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.nominal_recycles += other.nominal_recycles;
        self.failed_checks += other.failed_checks;
        for (layer, counts) in &other.layers {
            let sums = self.layers.entry(layer.clone()).or_default();
            for (name, count) in counts {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
        for (sums, counts) in [
            (&mut self.counters, &other.counters),
            (&mut self.recycles, &other.recycles),
            (&mut self.exits, &other.exits),
            (&mut self.near_limits, &other.near_limits),
            (&mut self.sessions, &other.sessions),
        ] {
            for (name, count) in counts {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
    }

    fn session(&self, name: &str) -> u64 {
        self.sessions.get(name).copied().unwrap_or_default()
    }

    fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }
}

/// Counts by layer, out of those under the layer's name, a point and theirs.
fn nested(
    counts: impl IntoIterator<Item = (String, u64)>,
) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut layers: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (path, count) in counts {
        let (layer, name) = path.split_once('.').unwrap_or(("", &path));
        layers.entry(layer.to_owned()).or_default().insert(name.to_owned(), count);
    }
    layers
}

/// A circuit, as the library's statistics have it.
fn circuit(circuit: &Circuit) -> Value {
    let retry_in = circuit.retry_in.and_then(|time| Duration::try_from(time).ok());
    json!({
        "command": circuit.command,
        "state": circuit.state,
        "failures": circuit.failures,
        "retry_in_seconds": retry_in.map(|time| time.as_secs_f64()),
    })
}

/// The counters that people are shown, by the words they know them by.
const COUNTERS: [(&str, &str); 9] = [
    ("requests", "submitted"),
    ("completed", "completed"),
    ("errors", "failed"),
    ("cancelled", "cancelled"),
    ("queue timeouts", "queue_timeouts"),
    ("call timeouts", "call_timeouts"),
    ("saturated", "saturated"),
    ("tool calls", "tool_calls"),
    ("tool errors", "tool_errors"),
];

/// What people are shown of sessions, where there were any.
const SESSIONS: [(&str, &str); 8] = [
    ("  begun", "begun"),
    ("  ended", "ended"),
    ("  expired", "expired"),
    ("  refused", "refused"),
    ("  calls kept", "kept"),
    ("  calls strayed", "strayed"),
    ("  moved", "moved"),
    ("  lost", "lost"),
];

fn shown(columns: &[Column], total: &Numbers) -> String {
    // With one pool the sum says the same again.
    let with_total = columns.len() > 1;
    let mut header = vec![String::new()];
    header.extend(columns.iter().map(|column| column.name.clone()));
    let mut states = vec!["state".to_owned()];
    states.extend(columns.iter().map(|column| column.state.to_owned()));
    if with_total {
        header.push("ALL".to_owned());
        states.push(String::new());
    }
    let mut rows = vec![states];
    let mut row = |name: &str, count: &dyn Fn(&Numbers) -> u64| {
        let mut cells = vec![name.to_owned()];
        cells.extend(columns.iter().map(|column| match column.error {
            Some(_) => "-".to_owned(),
            None => count(&column.numbers).to_string(),
        }));
        if with_total {
            cells.push(count(total).to_string());
        }
        rows.push(cells);
    };
    row("workers", &|n| n.workers);
    row("starting", &|n| n.starting);
    row("available", &|n| n.available);
    row("busy", &|n| n.busy);
    row("queued", &|n| n.queued);
    row("in flight", &|n| n.in_flight);
    for (word, name) in COUNTERS {
        row(word, &|n| n.counter(name));
    }
    row("failed checks", &|n| n.failed_checks);
    row("sessions", &|n| n.session("active"));
    for (word, name) in SESSIONS.into_iter().filter(|(_, name)| total.session(name) > 0) {
        row(word, &|n| n.session(name));
    }
    let mut by_reason = |name: &str, of: fn(&Numbers) -> &BTreeMap<String, u64>| {
        row(name, &|n| of(n).values().sum());
        // Only the reasons that there were.
        for (reason, _) in of(total).iter().filter(|(_, count)| **count > 0) {
            row(&format!("  {reason}"), &|n| of(n).get(reason).copied().unwrap_or_default());
        }
    };
    by_reason("near a limit", |n| &n.near_limits);
    by_reason("recycles", |n| &n.recycles);
    by_reason("exits", |n| &n.exits);
    // Of the layers only what has happened.
    for name in ["tainted", "moved"].into_iter().filter(|name| total.counter(name) > 0) {
        row(&format!("barrier {name}"), &|n| n.counter(name));
    }
    for (layer, counts) in &total.layers {
        for (name, _) in counts.iter().filter(|(_, count)| **count > 0) {
            row(&format!("{layer} {name}").replace('_', " "), &|n| {
                n.layers.get(layer).and_then(|counts| counts.get(name)).copied().unwrap_or_default()
            });
        }
    }
    let mut text = table(header, rows, 1);
    for column in columns {
        for circuit in column.circuits.iter().filter(|circuit| circuit.state != "closed") {
            let whose =
                circuit.command.as_ref().map_or(String::new(), |name| format!(" of {name}"));
            let state = circuit.state.replace('_', " ");
            text.push_str(&format!("\n{}: the circuit{whose} is {state}\n", column.name));
        }
    }
    for Column { name, error, .. } in columns {
        if let Some(error) = error {
            text.push_str(&format!("\n{name} did not start: {error} ({})\n", error.kind().code()));
        }
    }
    text
}
