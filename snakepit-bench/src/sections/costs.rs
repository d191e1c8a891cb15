//! What one small call costs on each side: CPU time, wake-ups, allocations, reads and writes.

use anyhow::{Context, Result};
use snakepit_bench::facade;
use snakepit_bench::os::Costs;
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
    facade::windowed(&snakepit, "small", &SMALL, 1_000, 16).await?;
    for window in [1, 16, 64] {
        let calls = run.calls(20_000);
        let (host_before, worker_before) = (Costs::of(host)?, Costs::of(worker)?);
        let allocations = alloc::allocations();
        facade::windowed(&snakepit, "small", &SMALL, calls, window).await?;
        let allocations = (alloc::allocations() - allocations) as f64 / calls as f64;
        let host_costs = Costs::of(host)?.per_call_since(host_before, calls);
        let worker_costs = Costs::of(worker)?.per_call_since(worker_before, calls);
        row(window, "host", host_costs, &format!("{allocations:.1}"));
        row(window, "worker", worker_costs, "–");
    }
    println!();
    super::stop([snakepit]).await
}

fn row(window: usize, side: &str, costs: Costs, allocations: &str) {
    let Costs { cpu_us, wake_ups, reads_and_writes } = costs;
    println!(
        "| {window} | {side} | {cpu_us:.1} | {wake_ups:.2} | {reads_and_writes:.2} | {allocations} |"
    );
}
