//! `snakepit shm`: what shared memory a running host has, and who uses it.

use serde_json::{Map, Value, json};
use snakepit_proto::control::v1::{GetSharedMemoryRequest, GetSharedMemoryResponse, PoolMemory};

use super::format::size;
use super::{Target, soon};
use crate::cli::Outcome;
use crate::cli::diagnostic::{Failure, Reporter};
use crate::cli::output::{print, table};

/// Without --json: a table with a line for each pool, and one for all. With --json: one object on
/// standard output, with everything in bytes and numbers.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    target: Target,
}

/// What of a pool is shown, and the name of it on the wire.
const SIZES: [(&str, &str); 4] = [
    ("IN USE", "in_use_bytes"),
    ("QUOTA", "quota_bytes"),
    ("HIGH WATER", "high_water_bytes"),
    ("KEPT", "free_bytes"),
];
const COUNTS: [(&str, &str); 4] =
    [("PLACED", "placed"), ("LENT", "lent"), ("RECEIVED", "received"), ("FALLBACKS", "fallbacks")];

pub(in crate::cli) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut host = args.target.reach().await?;
    let memory = soon(host.client.get_shared_memory(GetSharedMemoryRequest::default())).await?;
    if reporter.json {
        return print(&format!("{}\n", json_of(&memory)));
    }
    let mut header = vec!["POOL".to_owned()];
    header.extend(SIZES.iter().chain(&COUNTS).map(|(title, _)| (*title).to_owned()));
    let mut rows: Vec<_> = memory.pools.iter().map(cells).collect();
    rows.push(total(&memory));
    print(&table(header, rows, 1))
}

fn number(pool: &PoolMemory, name: &str) -> u64 {
    pool.numbers.get(name).copied().unwrap_or_default()
}

fn cells(pool: &PoolMemory) -> Vec<String> {
    let sizes = SIZES.iter().map(|(_, name)| size(number(pool, name)));
    let counts = COUNTS.iter().map(|(_, name)| number(pool, name).to_string());
    std::iter::once(pool.pool.clone()).chain(sizes).chain(counts).collect()
}

/// All pools: the total in place of a quota.
fn total(memory: &GetSharedMemoryResponse) -> Vec<String> {
    let sum = |name: &str| memory.pools.iter().map(|pool| number(pool, name)).sum::<u64>();
    let sizes =
        [sum("in_use_bytes"), memory.total_bytes, memory.high_water_bytes, sum("free_bytes")];
    let counts = COUNTS.iter().map(|(_, name)| sum(name).to_string());
    std::iter::once("total".to_owned()).chain(sizes.map(size)).chain(counts).collect()
}

fn json_of(memory: &GetSharedMemoryResponse) -> Value {
    let pools = memory.pools.iter().map(|pool| {
        let mut object = Map::from_iter([("pool".to_owned(), json!(pool.pool))]);
        let mut numbers: Vec<_> = pool.numbers.iter().collect();
        numbers.sort_unstable();
        object.extend(numbers.into_iter().map(|(name, number)| (name.clone(), json!(number))));
        Value::Object(object)
    });
    json!({
        "total_bytes": memory.total_bytes, "held_bytes": memory.held_bytes,
        "high_water_bytes": memory.high_water_bytes, "segments": memory.segments,
        "pools": pools.collect::<Vec<_>>(),
    })
}
