//! A model of 200 MB that sixteen calls read at a time: in one process, in forked ones, in spawned
//! ones.

use std::collections::BTreeSet;

use anyhow::Result;
use futures_util::future::try_join_all;
use snakepit::config::{PoolBuilder, Start};
use snakepit::{PoolConfig, Snakepit};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::Setting;
use snakepit_bench::{facade, os};

use super::{Bound, MIB, Run};

const MODEL_MIB: usize = 200;
const CALLS: usize = 16;

/// A page: each is looked at.
const STEP: u64 = 4096;

pub(super) async fn run(run: &mut Run) -> Result<()> {
    run.title("Threads: a model of 200 MB that 16 calls read at a time, memory in all");
    let setting = run.setting.clone();
    let threads = |mib| with_model(super::pool(&setting, setting.thread_adapter(), CALLS), mib);
    let processes = |start| with_model(Ok(processes(&setting, start)), MODEL_MIB);
    let mut table = Table::new("call/look/inflight=16", "MiB", Better::Less).measure("PSS");
    for (name, pool) in [
        ("16 threads, no model", threads(0)?),
        ("16 threads", threads(MODEL_MIB)?),
        ("16 processes, zygote", processes(Start::Zygote)?),
        ("16 processes, spawned", processes(Start::Spawn)?),
    ] {
        let snakepit = super::start(pool).await?;
        table.add(name, memory_in_use(&snakepit).await? / MIB);
        super::super::stop([snakepit]).await?;
    }
    run.table(&table);
    let above = table.median("16 threads") - table.median("16 threads, no model");
    let once = above / MODEL_MIB as f64;
    run.gate("the model's memory over its size, 16 threads", once, Bound::AtMost(1.1));
    Ok(())
}

fn processes(setting: &Setting, start: Start) -> PoolBuilder {
    PoolConfig::builder("default")
        .adapter(setting.thread_adapter())
        .python(&setting.python)
        .start(start)
        .workers(CALLS)
        .prefetch(0)
}

fn with_model(pool: Result<PoolBuilder>, mib: usize) -> Result<PoolBuilder> {
    Ok(pool?.env("BENCH_MODEL_BYTES", (mib << 20).to_string()))
}

/// The memory of all workers, and of what they are forked from, after each has read the model.
async fn memory_in_use(snakepit: &Snakepit) -> Result<f64> {
    let workers = facade::worker_pids(snakepit);
    let mut pids = BTreeSet::new();
    while pids.len() < workers.len() {
        let look = || snakepit.call("look").args([STEP]).execute::<u32>();
        pids.extend(try_join_all((0..CALLS).map(|_| look())).await?);
    }
    // Of spawned workers the parent is this process.
    let parent = pids.first().map(|pid| os::parent(*pid)).transpose()?;
    pids.extend(parent.filter(|parent| *parent != std::process::id()));
    pids.into_iter().map(os::shared_bytes).sum()
}
