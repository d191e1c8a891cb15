//! What a call may cost in things that are counted: allocations, wake-ups, frames, transfers and
//! system calls. Medians over batches, which neither a slow machine nor a busy one moves, so that
//! they are gates where timings cannot be. The bounds are those of `perf.toml`.

use anyhow::{Context, Result};
use snakepit::Snakepit;
use snakepit_bench::bounds::Bounds;
use snakepit_bench::os::{Costs, Strace};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::{SMALL, Setting};
use snakepit_bench::{bare, facade, load};
use snakepit_core::{Clock, Codec, Payload, Pool, PoolOptions, Request};
use tokio::runtime::Handle;

use super::{Bound, Run};
use crate::alloc;

/// As many as give a median that one heartbeat among them does not move.
const BATCHES: usize = 15;
const CALLS: usize = 200;

const SYSTEM_CALLS: &str = "system calls";

/// Chunks of a streamed call.
const CHUNKS: usize = 100;

/// How calls are kept under way: one after the other at strict workers, many with prefetch.
const MANNERS: [(usize, usize); 2] = [(1, 0), (64, 8)];

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Counts: what one small call costs in things that are counted");
    let bounds = Bounds::read()?;
    let mut setting = run.setting.clone();
    setting.workers = 1;
    let (mut tables, mut straced) = (Vec::new(), true);
    for (window, prefetch) in MANNERS {
        let snakepit = facade::start(&setting, prefetch).await?;
        tables.extend(processes(&snakepit, window).await?);
        if window == 1 {
            match system_calls(&snakepit).await? {
                Some(table) => tables.push(table),
                None => {
                    straced = false;
                    run.note("System calls are not counted: there is no `strace` here.");
                }
            }
        }
        super::stop([snakepit]).await?;
    }
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(frames(&setting, runtime.handle()))
    });
    tables.extend(thread.join().map_err(|_| anyhow::anyhow!("the counting thread panicked"))??);
    for table in &tables {
        run.table(table);
    }
    judge(run, &bounds, &tables, straced);
    Ok(())
}

/// Holds each count against its bound. One without a bound is a failure, as nobody would notice it
/// grow; so is a bound without a count, which would hold nobody to anything.
fn judge(run: &mut Run, bounds: &Bounds, tables: &[Table], straced: bool) {
    let mut unused: Vec<&String> = bounds.counts.keys().collect();
    for table in tables {
        for series in &table.series {
            let (key, count) = (table.key(series), table.median(&series.contender));
            unused.retain(|bound| **bound != key);
            match bounds.counts.get(&key) {
                Some(limit) => run.gate(&key, count, Bound::AtMost(*limit)),
                None => run.failure(&format!("perf.toml has no bound for \"{key}\" ({count})")),
            }
        }
    }
    for bound in unused.into_iter().filter(|bound| straced || !bound.contains(SYSTEM_CALLS)) {
        run.failure(&format!("perf.toml bounds \"{bound}\", which nothing counts"));
    }
    if !run.kept() {
        run.note(
            "A call costs more than perf.toml allows. Counts do not depend on how busy the machine \
             is: find what was added to the path of a call, or raise the bound and say why in the \
             commit.",
        );
    }
}

/// Allocations, wake-ups and transfers, by process.
async fn processes(snakepit: &Snakepit, window: usize) -> Result<[Table; 3]> {
    let worker = *facade::worker_pids(snakepit).first().context("a worker with a process")?;
    let host = std::process::id();
    let workload = format!("call/small/inflight={window}");
    let table = |what: &str| Table::new(&workload, "per call", Better::Less).measure(what);
    let mut allocations = table("allocations");
    let (mut wake_ups, mut transfers) = (table("wake-ups"), table("reads and writes"));
    for batch in 0..=BATCHES {
        let before = (Costs::of(host)?, Costs::of(worker)?, alloc::allocations());
        load::windowed(snakepit, &SMALL, CALLS, window).await?;
        let made = (alloc::allocations() - before.2) as f64 / CALLS as f64;
        let host_costs = Costs::of(host)?.per_call_since(before.0, CALLS);
        let worker_costs = Costs::of(worker)?.per_call_since(before.1, CALLS);
        // The first batch makes what all others use.
        if batch > 0 {
            allocations.add("host", made);
            for (side, costs) in [("host", host_costs), ("worker", worker_costs)] {
                wake_ups.add(side, costs.wake_ups);
                transfers.add(side, costs.reads_and_writes);
            }
        }
    }
    Ok([allocations, wake_ups, transfers])
}

/// All system calls of each process with one call at a time, where there is a strace.
async fn system_calls(snakepit: &Snakepit) -> Result<Option<Table>> {
    let worker = *facade::worker_pids(snakepit).first().context("a worker with a process")?;
    let mut table =
        Table::new("call/small/inflight=1", "per call", Better::Less).measure(SYSTEM_CALLS);
    for (side, pid) in [("host", std::process::id()), ("worker", worker)] {
        for _ in 0..3 {
            let Some(strace) = Strace::attach(pid)? else {
                return Ok(None);
            };
            load::windowed(snakepit, &SMALL, CALLS, 1).await?;
            let all: f64 = strace.detach()?.iter().map(|(_, count)| count).sum();
            table.add(side, all / CALLS as f64);
        }
    }
    Ok(Some(table))
}

/// Frames over the link, for calls and for chunks.
async fn frames(setting: &Setting, runtime: &Handle) -> Result<Vec<Table>> {
    let (links, workers) = bare::workers(setting, runtime).await?;
    let arguments = Payload::encode(Codec::MsgPack, &SMALL)?;
    let mut tables = Vec::new();
    for (window, prefetch) in MANNERS {
        let mut options = PoolOptions::new("bench");
        options.prefetch = prefetch;
        let pool = Pool::new(options, Clock::system(), runtime);
        workers.iter().for_each(|worker| pool.join(worker.clone()));
        let workload = format!("call/small/inflight={window}");
        let mut table = Table::new(&workload, "per call", Better::Less).measure("frames");
        for _ in 0..BATCHES {
            let before = links.frames();
            super::engine::engine(&pool, &arguments, CALLS, window).await?;
            let after = links.frames();
            table.add("host", (after.sent - before.sent) as f64 / CALLS as f64);
            table.add("worker", (after.received - before.received) as f64 / CALLS as f64);
        }
        tables.push(table);
        if window == 1 {
            let mut table = Table::new("stream/count", "per chunk", Better::Less).measure("frames");
            for _ in 0..BATCHES {
                let before = links.frames();
                stream(&pool).await?;
                let after = links.frames();
                table.add("host", (after.sent - before.sent) as f64 / CHUNKS as f64);
                table.add("worker", (after.received - before.received) as f64 / CHUNKS as f64);
            }
            tables.push(table);
        }
        workers.iter().for_each(|worker| pool.leave(&worker.info().id));
    }
    for worker in workers {
        worker.stop(std::time::Duration::from_secs(5)).await;
    }
    Ok(tables)
}

async fn stream(pool: &Pool) -> Result<()> {
    let arguments = Payload::encode(Codec::MsgPack, &(CHUNKS,))?;
    let mut stream = pool.submit_stream(Request::new("count", arguments))?;
    let mut chunks = 0;
    while let Some(chunk) = stream.next().await {
        chunk?;
        chunks += 1;
    }
    anyhow::ensure!(chunks == CHUNKS, "{chunks} chunks came of {CHUNKS}");
    Ok(())
}
