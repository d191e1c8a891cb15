//! Many lives of workers under load: what recycling and crashes promise, counted call by call. Small
//! here, in full size by `cargo xtask soak`. One at a time, as some count what the process holds.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod crashes;
mod flat;
mod recycling;

use std::sync::{Mutex, MutexGuard, PoisonError};

use snakepit::config::PoolBuilder;
use snakepit::{PoolReport, Snakepit};

use support::{builder, wait};

/// Whether there is time for everything.
fn full_size() -> bool {
    std::env::var_os("SNAKEPIT_SOAK").is_some()
}

/// Held by the test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Snakepit {
    let set = |pool: PoolBuilder| set(pool.jitter(0.0).queue_timeout(None));
    wait(builder("ledger.py").default_pool(set).start()).unwrap()
}

fn report(snakepit: &Snakepit) -> serde_json::Value {
    let report = snakepit.stats().pools.remove(0);
    assert!(matches!(report, PoolReport::Running { .. }));
    serde_json::to_value(report).unwrap()
}

/// Workers that take calls or are about to, and those on their way out.
fn alive(report: &serde_json::Value) -> usize {
    let starting = report["starting"].as_u64().unwrap() as usize;
    report["workers"].as_array().unwrap().len() + starting
}
