//! Many workers at once, with numpy imported, from nothing until each has answered a call; their
//! memory then, and what many of them cost while nothing happens.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde::Deserialize;
use snakepit::config::Start;
use snakepit::{PoolConfig, Snakepit};
use snakepit_bench::os::Memory;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::Setting;
use snakepit_bench::{facade, os};

use super::{Bound, Run};

const WORKERS: usize = 100;
const QUICK_WORKERS: usize = 30;
const MANY_WORKERS: usize = 250;

/// A start takes seconds where it is slow, and what is compared differs by more than ten times.
const MOST_SAMPLES: usize = 3;

/// How long nothing happens, and how long before that for whoever is still settling down.
const IDLE: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(2);

const MIB: f64 = 1024.0 * 1024.0;

const ZYGOTE: &str = "snakepit, zygote";
const SPAWN: &str = "snakepit, spawn";
const EXECUTOR: &str = "ProcessPoolExecutor, spawn";
const MANY: &str = "snakepit, zygote, 250 workers";

/// Workers that have answered.
pub(super) struct Started {
    pub(super) seconds: f64,
    /// What all of their processes use, shared pages counted once.
    pub(super) mib: f64,
    /// What each of them has alone, summed.
    pub(super) private_mib: f64,
}

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    // Spawning a hundred takes longer than a quick look may.
    let count = if run.quick() { QUICK_WORKERS } else { WORKERS };
    let title =
        format!("Start: {count} workers with numpy until all have answered, and their memory");
    run.title(&title);
    snakepit_lifecycle::process::raise_descriptor_limit()?;
    let setting = run.setting.clone();
    let workload = format!("pool/start/workers={count}");
    let mut seconds = Table::new(&workload, "s", Better::Less).over(ZYGOTE);
    let mut mib = Table::new(&workload, "MiB", Better::Less).measure("PSS").over(ZYGOTE);
    let samples = if run.quick() { 1 } else { run.samples.min(MOST_SAMPLES) };
    for _ in 0..samples {
        for (name, start, workers) in [
            (ZYGOTE, Start::Zygote, count),
            (SPAWN, Start::Spawn, count),
            (MANY, Start::Zygote, MANY_WORKERS),
        ] {
            let (snakepit, started) = own(&setting, start, workers).await?;
            super::stop([snakepit]).await?;
            seconds.add(name, started.seconds);
            mib.add(name, started.mib);
        }
        let started = executor(&setting, count)?;
        seconds.add(EXECUTOR, started.seconds);
        mib.add(EXECUTOR, started.mib);
    }
    run.table(&seconds);
    run.table(&mib);
    let faster = seconds.ratio(SPAWN, ZYGOTE);
    run.gate("start by spawn over start by zygote", faster, Bound::AtLeast(15.0));
    let smaller = mib.ratio(ZYGOTE, SPAWN);
    run.gate("memory of zygote and workers over spawned ones", smaller, Bound::AtMost(0.125));
    idle(run, &setting).await
}

/// Starts a pool of our own and has each worker answer once.
async fn own(setting: &Setting, start: Start, workers: usize) -> Result<(Snakepit, Started)> {
    let pool = PoolConfig::builder("default")
        .adapter(setting.numpy_adapter())
        .python(&setting.python)
        .start(start)
        .workers(workers)
        // A call for each worker, and none that waits at one while another is free.
        .prefetch(0)
        .build()?;
    answered(pool, workers, workers).await
}

/// Starts a pool and has each of its processes answer, with so many calls at a time.
pub(super) async fn answered(
    pool: PoolConfig,
    processes: usize,
    calls: usize,
) -> Result<(Snakepit, Started)> {
    let begin = Instant::now();
    let snakepit = Snakepit::builder().pool(pool).start().await?;
    let mut pids = BTreeSet::new();
    // A call takes long enough for the last of them to be sent before the first has ended; should
    // that not be so, somebody has not been asked yet.
    while pids.len() < processes {
        let calls = (0..calls).map(|_| snakepit.call("who").execute::<u32>());
        pids.extend(try_join_all(calls).await?);
    }
    let seconds = begin.elapsed().as_secs_f64();
    // Whatever they were forked from counts, too.
    let Memory { pss, private } = Memory::below(std::process::id())?;
    Ok((snakepit, Started { seconds, mib: pss / MIB, private_mib: private / MIB }))
}

fn executor(setting: &Setting, workers: usize) -> Result<Started> {
    #[derive(Deserialize)]
    struct Answer {
        seconds: f64,
        pids: BTreeSet<u32>,
    }
    let mut child = Command::new(&setting.python)
        .arg("starts.py")
        .arg(workers.to_string())
        .current_dir(Setting::python_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
    let answer: Answer = serde_json::from_str(&line).context("the peer gave no answer")?;
    ensure!(answer.pids.len() == workers, "not all of the executor's processes have answered");
    let memory = Memory::below(std::process::id());
    drop(child.stdin.take());
    child.wait()?;
    let Memory { pss, private } = memory?;
    Ok(Started { seconds: answer.seconds, mib: pss / MIB, private_mib: private / MIB })
}

async fn idle(run: &mut Run, setting: &Setting) -> Result<()> {
    run.title("Idle: 250 workers and nothing to do");
    let (snakepit, _) = own(setting, Start::Zygote, MANY_WORKERS).await?;
    let workers = facade::worker_pids(&snakepit);
    let spent = || -> Result<(f64, f64)> {
        let of = |pid: u32| os::Costs::of(pid).map(|costs| costs.cpu_us);
        let workers = workers.iter().map(|pid| of(*pid)).sum::<Result<f64>>()?;
        Ok((of(std::process::id())?, workers))
    };
    tokio::time::sleep(SETTLE).await;
    let begin = Instant::now();
    let before = spent()?;
    // Reading the sums of so many is work of the host's own, which counts only the first time.
    let read = spent()?;
    tokio::time::sleep(IDLE).await;
    let after = spent()?;
    let percent = |us: f64| us / begin.elapsed().as_secs_f64() / 1e4;
    let host = percent(after.0 - read.0 - (read.0 - before.0));
    let mut table = Table::new("pool/idle/workers=250", "% of a core", Better::Less);
    table.add("host", host);
    table.add("workers together", percent(after.1 - read.1));
    run.table(&table);
    run.gate("host's % of a core", host, Bound::AtMost(1.0));
    super::stop([snakepit]).await
}
