//! A worker's own memory over many calls.

use anyhow::{Context, Result};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::SMALL;
use snakepit_bench::{facade, load, os};

use super::{Bound, MIB, Run};

const WINDOW: usize = 64;

pub(super) async fn run(run: &mut Run) -> Result<()> {
    run.title("Threads: private memory after half of the calls and after all, two threads");
    // Not fewer in a quick run: what a call leaves behind shows only in the sum.
    const HALF: usize = 100_000;
    let setting = run.setting.clone();
    let snakepit = super::start(super::pool(&setting, setting.adapter(), 2)?).await?;
    let pid = facade::worker_pids(&snakepit).first().copied().context("no worker")?;
    let mut table = Table::new("worker/calls", "MiB", Better::Less).measure("private memory");
    for name in ["after 100,000 calls", "after 200,000 calls"] {
        load::windowed(&snakepit, &SMALL, HALF, WINDOW).await?;
        table.add(name, os::private_bytes(pid)? / MIB);
    }
    run.table(&table);
    let grown = table.median("after 200,000 calls") - table.median("after 100,000 calls");
    run.gate("MiB grown over the last 100,000 calls", grown, Bound::AtMost(4.0));
    super::super::stop([snakepit]).await
}
