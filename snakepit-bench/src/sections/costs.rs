//! What one small call costs on each side: CPU time, wake-ups, allocations, reads and writes, system
//! calls. How many of them there may be is `counts`' business.

use anyhow::{Context, Result};
use snakepit::Snakepit;
use snakepit_bench::os::{Costs, Strace};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::SMALL;
use snakepit_bench::{facade, load};

use super::Run;
use crate::alloc;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Costs of one small call");
    run.note("Wake-ups are voluntary context switches; the host includes the caller's own thread.");
    run.note("Workers' allocations are Python's own and not counted.");
    let mut setting = run.setting.clone();
    setting.workers = 1;
    let snakepit = facade::start(&setting, 8).await?;
    let worker = *facade::worker_pids(&snakepit).first().context("a worker with a process")?;
    load::windowed(&snakepit, &SMALL, 1_000, 16).await?;
    for window in [1, 16, 64] {
        per_call(run, &snakepit, worker, window).await?;
    }
    system_calls(run, &snakepit, worker).await?;
    super::stop([snakepit]).await
}

async fn per_call(run: &mut Run, snakepit: &Snakepit, worker: u32, window: usize) -> Result<()> {
    let workload = format!("call/small/workers=1/inflight={window}");
    let table = |what: &str, unit: &str| Table::new(&workload, unit, Better::Less).measure(what);
    let mut cpu = table("CPU", "µs per call");
    let mut wake_ups = table("wake-ups", "per call");
    let mut transfers = table("reads and writes", "per call");
    let mut allocations = table("allocations", "per call");
    let (host, calls) = (std::process::id(), run.calls(20_000));
    for _ in 0..run.samples {
        let before = (Costs::of(host)?, Costs::of(worker)?, alloc::allocations());
        load::windowed(snakepit, &SMALL, calls, window).await?;
        let made = (alloc::allocations() - before.2) as f64 / calls as f64;
        let host_costs = Costs::of(host)?.per_call_since(before.0, calls);
        let worker_costs = Costs::of(worker)?.per_call_since(before.1, calls);
        allocations.add("host", made);
        for (side, costs) in [("host", host_costs), ("worker", worker_costs)] {
            cpu.add(side, costs.cpu_us);
            wake_ups.add(side, costs.wake_ups);
            transfers.add(side, costs.reads_and_writes);
        }
    }
    for table in [cpu, wake_ups, transfers, allocations] {
        run.table(&table);
    }
    Ok(())
}

/// Counts system calls with strace, which slows everything down and so has samples of its own.
async fn system_calls(run: &mut Run, snakepit: &Snakepit, worker: u32) -> Result<()> {
    let calls = run.calls(5_000);
    for window in [1, 64] {
        let workload = format!("call/small/workers=1/inflight={window}");
        let mut table = Table::new(&workload, "per call", Better::Less).measure("system calls");
        for (side, pid) in [("host", std::process::id()), ("worker", worker)] {
            let Some(strace) = Strace::attach(pid)? else {
                run.failure("system calls are not counted: there is no `strace` on this machine");
                return Ok(());
            };
            load::windowed(snakepit, &SMALL, calls, window).await?;
            for (name, count) in strace.detach()? {
                let rate = count / calls as f64;
                // What comes so rarely does not come with a call.
                if rate >= 0.05 {
                    table.add(&format!("{side}: {name}"), rate);
                }
            }
        }
        run.table(&table);
    }
    Ok(())
}
