//! Pools of the whole system, as a program has them. Calls through them are `load`'s.

use anyhow::Result;
use snakepit::config::PoolBuilder;
use snakepit::{PoolConfig, PoolReport, Snakepit};

use crate::workload::Setting;

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

/// The workers' processes.
pub fn worker_pids(snakepit: &Snakepit) -> Vec<u32> {
    let pools = snakepit.stats().pools.into_iter();
    let workers = pools.flat_map(|report| match report {
        PoolReport::Running { workers, .. } => workers,
        _ => Vec::new(),
    });
    workers.filter_map(|worker| worker.info.pid).collect()
}
