//! Calls through the whole system, as a program makes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use snakepit::config::PoolBuilder;
use snakepit::{PoolConfig, PoolReport, Snakepit};

use crate::sample::Latencies;
use crate::workload::{Arguments, Setting};

/// One sample of calls.
#[derive(Debug)]
pub struct Sample {
    /// Wall time of the whole sample.
    pub wall: Duration,
    /// Each call's time from submission to result.
    pub latencies: Latencies,
}

impl Sample {
    /// Calls per second.
    pub fn rate(&self, calls: usize) -> f64 {
        calls as f64 / self.wall.as_secs_f64()
    }
}

/// Starts a host with one pool.
///
/// # Errors
/// When the pool does not start.
pub async fn start(setting: &Setting, prefetch: usize) -> Result<Snakepit> {
    start_with(setting, prefetch, |pool| pool).await
}

/// Starts a host with one pool, some of whose settings are others.
///
/// # Errors
/// When the pool does not start.
pub async fn start_with(
    setting: &Setting,
    prefetch: usize,
    set: impl FnOnce(PoolBuilder) -> PoolBuilder,
) -> Result<Snakepit> {
    let python = setting.python.display().to_string();
    let pool = PoolConfig::builder("default")
        .adapter(setting.adapter())
        .python(python)
        .workers(setting.workers)
        .prefetch(prefetch);
    Ok(Snakepit::builder().pool(set(pool).build()?).start().await?)
}

/// Runs `calls` of a command, `window` at a time, on the caller's runtime. Every result is decoded.
///
/// # Errors
/// The first call that fails.
pub async fn windowed<A: Arguments>(
    snakepit: &Snakepit,
    arguments: &A,
    calls: usize,
    window: usize,
) -> Result<Sample> {
    let command: Arc<str> = Arc::from(A::COMMAND);
    let one = || {
        let submitted = Instant::now();
        let call = snakepit.call(Arc::clone(&command)).args(arguments).execute::<A::Result>();
        async move { call.await.map(|_| submitted.elapsed()) }
    };
    let mut latencies = Latencies::default();
    let mut under_way = FuturesUnordered::new();
    let start = Instant::now();
    for _ in 0..window.min(calls) {
        under_way.push(one());
    }
    let mut submitted = under_way.len();
    while let Some(latency) = under_way.next().await {
        latencies.record(latency?);
        if submitted < calls {
            submitted += 1;
            under_way.push(one());
        }
    }
    Ok(Sample { wall: start.elapsed(), latencies })
}

/// The workers' processes.
pub fn worker_pids(snakepit: &Snakepit) -> Vec<u32> {
    let pools = snakepit.stats().pools.into_iter();
    let workers = pools.flat_map(|report| match report {
        PoolReport::Running { workers, .. } => workers,
        _ => Vec::new(),
    });
    workers.filter_map(|worker| worker.info.pid).collect()
}
