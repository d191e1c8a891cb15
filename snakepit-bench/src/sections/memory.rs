//! A worker's private memory above the same interpreter with nothing loaded.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use snakepit_bench::os;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::SMALL;
use snakepit_bench::{facade, load};

use super::{Bound, Run};

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Memory: private bytes of a worker that has served calls");
    let snakepit = facade::start(&run.setting, 8).await?;
    load::windowed(&snakepit, &SMALL, 1_000, 16).await?;
    let mut table = Table::new("worker/idle", "MiB", Better::Less).measure("private memory");
    for pid in facade::worker_pids(&snakepit) {
        table.add("worker", os::private_bytes(pid)? / MIB);
    }
    for _ in 0..run.setting.workers {
        table.add("bare interpreter", bare_interpreter(run)? / MIB);
    }
    run.table(&table);
    let above = table.median("worker") - table.median("bare interpreter");
    run.gate("MiB above a bare interpreter", above, Bound::AtMost(5.0));
    super::stop([snakepit]).await
}

fn bare_interpreter(run: &Run) -> Result<f64> {
    let mut child = Command::new(&run.setting.python)
        .args(["-c", "import sys; print('ready', flush=True); sys.stdin.read()"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
    let bytes = os::private_bytes(child.id());
    drop(child.stdin.take());
    child.wait()?;
    bytes
}
