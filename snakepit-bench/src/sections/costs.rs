//! What one small call costs on each side: CPU time, wake-ups, allocations, reads and writes.

use anyhow::{Context, Result};
use snakepit::Snakepit;
use snakepit_bench::facade;
use snakepit_bench::os::{Costs, Strace};
use snakepit_bench::workload::SMALL;

use super::Run;
use crate::alloc;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Costs of one small call");
    println!("Wake-ups are voluntary context switches; the host includes the caller's own thread.");
    println!("Workers' allocations are Python's own and not counted.\n");
    println!("| in flight | side | CPU µs | wake-ups | reads + writes | allocations |");
    println!("|---:|---|---:|---:|---:|---:|");
    let mut setting = run.setting.clone();
    setting.workers = 1;
    let snakepit = facade::start(&setting, 8).await?;
    let worker = *facade::worker_pids(&snakepit).first().context("a worker with a process")?;
    let host = std::process::id();
    facade::windowed(&snakepit, &SMALL, 1_000, 16).await?;
    for window in [1, 16, 64] {
        let calls = run.calls(20_000);
        let (host_before, worker_before) = (Costs::of(host)?, Costs::of(worker)?);
        let allocations = alloc::allocations();
        facade::windowed(&snakepit, &SMALL, calls, window).await?;
        let allocations = (alloc::allocations() - allocations) as f64 / calls as f64;
        let host_costs = Costs::of(host)?.per_call_since(host_before, calls);
        let worker_costs = Costs::of(worker)?.per_call_since(worker_before, calls);
        row(window, "host", host_costs, &format!("{allocations:.1}"));
        row(window, "worker", worker_costs, "–");
    }
    println!();
    system_calls(&snakepit, worker, run.calls(5_000)).await?;
    super::stop([snakepit]).await
}

/// Counts system calls with strace, which slows everything down and so has a sample of its own.
async fn system_calls(snakepit: &Snakepit, worker: u32, calls: usize) -> Result<()> {
    for window in [1, 64] {
        for (side, pid) in [("host", std::process::id()), ("worker", worker)] {
            let Some(strace) = Strace::attach(pid)? else {
                println!("System calls are not counted: there is no `strace` on this machine.");
                return Ok(());
            };
            facade::windowed(snakepit, &SMALL, calls, window).await?;
            let counts = strace.detach()?;
            let per_call = |(name, count): &(String, f64)| {
                let rate = count / calls as f64;
                (rate >= 0.05).then(|| format!("{name} {rate:.2}"))
            };
            let named: Vec<String> = counts.iter().filter_map(per_call).collect();
            println!("System calls per call, {window} in flight, {side}: {}", named.join(", "));
        }
    }
    Ok(())
}

fn row(window: usize, side: &str, costs: Costs, allocations: &str) {
    let Costs { cpu_us, wake_ups, reads_and_writes } = costs;
    println!(
        "| {window} | {side} | {cpu_us:.1} | {wake_ups:.2} | {reads_and_writes:.2} | {allocations} |"
    );
}
