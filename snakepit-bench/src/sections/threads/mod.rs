//! The thread profile on free-threaded Python: what it gains over one thread, what it costs beside
//! Python's own executor and beside processes, in time and in memory.

mod cpu;
mod leak;
mod model;
mod ready;
mod small;

use anyhow::Result;
use snakepit::config::PoolBuilder;
use snakepit::{PoolConfig, Snakepit};
use snakepit_bench::workload::{Arguments, Setting};

use super::{Bound, Run};

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    cpu::run(run).await?;
    small::run(run).await?;
    ready::run(run).await?;
    model::run(run).await?;
    leak::run(run).await
}

/// Settings of a pool of threads.
fn pool(setting: &Setting, adapter: String, threads: usize) -> Result<PoolBuilder> {
    Ok(PoolConfig::builder("default")
        .adapter(adapter)
        .python(setting.free_threaded()?)
        .profile("thread")
        .threads(threads)
        .workers(1))
}

async fn start(pool: PoolBuilder) -> Result<Snakepit> {
    Ok(Snakepit::builder().pool(pool.build()?).start().await?)
}

/// Arguments of `burn`.
#[derive(Clone, Copy, serde::Serialize)]
struct Burn {
    rounds: u64,
}

impl Arguments for Burn {
    const COMMAND: &'static str = "burn";
    type Result = u64;
}
