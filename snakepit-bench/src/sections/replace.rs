//! One worker in place of another: what a start through the zygote takes while nothing else happens,
//! and how long a pool is short of a worker that was killed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use snakepit::PoolConfig;
use snakepit::Snakepit;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::Setting;
use snakepit_bench::{facade, os};
use snakepit_bridge::LinkServer;
use snakepit_core::{Profile, Seat};
use snakepit_profile_process::{ProcessOptions, ProcessProfile, StartMethod};

use super::{Bound, Run};

/// Replacements in one sample.
const REPLACEMENTS: usize = 10;

/// Between two looks whether a worker is back.
const LOOK: Duration = Duration::from_micros(200);

const READY: &str = "start to ready";
const BACK: &str = "SIGKILL to full capacity";

/// What one start cost, by process.
struct Replaced {
    ms: f64,
    host_ms: f64,
    zygote_ms: f64,
    worker_ms: f64,
}

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Replace: one worker with numpy and an empty setup, through the zygote");
    let (setting, samples) = (run.setting.clone(), run.samples);
    // A thread with a runtime of its own, as the facade has.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(replaced(&setting, samples * REPLACEMENTS))
    });
    let replaced =
        thread.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))??;
    let table = |what: &str| Table::new("worker/replace", "ms", Better::Less).measure(what);
    let (mut time, mut cpu) = (table("time"), table("CPU"));
    for Replaced { ms, host_ms, zygote_ms, worker_ms } in replaced {
        time.add(READY, ms);
        cpu.add("host", host_ms);
        cpu.add("zygote", zygote_ms);
        cpu.add("worker until ready", worker_ms);
        cpu.add("together", host_ms + zygote_ms + worker_ms);
    }
    for _ in 0..run.samples {
        time.add(BACK, back_after_kill(&run.setting).await?);
    }
    run.table(&time);
    run.table(&cpu);
    run.gate("ms from start to ready", time.median(READY), Bound::AtMost(10.0));
    run.gate("ms of CPU until ready", cpu.median("together"), Bound::AtMost(5.0));
    run.gate("ms from SIGKILL to full capacity", time.median(BACK), Bound::AtMost(50.0));
    Ok(())
}

async fn replaced(setting: &Setting, count: usize) -> Result<Vec<Replaced>> {
    let runtime = tokio::runtime::Handle::current();
    let links = Arc::new(LinkServer::start(runtime.clone()));
    let mut options = ProcessOptions::new(&setting.python, setting.numpy_adapter());
    options.start = StartMethod::Zygote;
    let profile = ProcessProfile::new(options, links, runtime)?;
    let seat = |incarnation| Seat { pool: "bench".into(), index: 0, incarnation };
    // The first makes the zygote.
    let mut worker = profile.start(seat(0)).await?;
    let zygote = os::parent(worker.info().pid.context("no process")?)?;
    let cpu_ms = |pid: u32| os::Costs::of(pid).map(|costs| costs.cpu_us / 1e3);
    let mut replaced = Vec::new();
    for incarnation in 1..=count as u64 {
        let (host_before, zygote_before) = (cpu_ms(std::process::id())?, cpu_ms(zygote)?);
        let begin = Instant::now();
        let next = profile.start(seat(incarnation)).await?;
        let ms = begin.elapsed().as_secs_f64() * 1e3;
        replaced.push(Replaced {
            ms,
            host_ms: cpu_ms(std::process::id())? - host_before,
            zygote_ms: cpu_ms(zygote)? - zygote_before,
            worker_ms: cpu_ms(next.info().pid.context("no process")?)?,
        });
        std::mem::replace(&mut worker, next).stop(Duration::from_secs(5)).await;
    }
    drop(worker);
    profile.all_gone().await;
    Ok(replaced)
}

/// Milliseconds from the death of one of the pool's workers until all of them are there again.
async fn back_after_kill(setting: &Setting) -> Result<f64> {
    let pool = PoolConfig::builder("default")
        .adapter(setting.numpy_adapter())
        .python(&setting.python)
        .workers(setting.workers)
        .build()?;
    let snakepit = Snakepit::builder().pool(pool).start().await?;
    let before = facade::worker_pids(&snakepit);
    let victim = *before.first().context("no worker")?;
    let begin = Instant::now();
    os::kill(victim)?;
    loop {
        let now = facade::worker_pids(&snakepit);
        if now.len() == before.len() && !now.contains(&victim) {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    super::stop([snakepit]).await?;
    Ok(ms)
}
