//! A native library takes its process down: the call moves to another worker, and the pool heals.
//!
//! `cargo run -p snakepit --example crash_recovery -- PYTHON`

use std::time::Duration;

use snakepit::{ErrorKind, PoolReport, Snakepit};

const ADAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/weather/adapter.py");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(python) = std::env::args_os().nth(1) else {
        return Err("name an interpreter".into());
    };
    let snakepit = Snakepit::builder()
        .adapter(ADAPTER)
        .python(python)
        .workers(2)
        .default_pool(|pool| pool.barrier(|barrier| barrier.taint(Duration::from_secs(30))))
        .start()
        .await?;
    let notes = tempfile::tempdir()?;
    let smooth = |log: &str| {
        let values = [7.0, 8.0, 9.0];
        snakepit.call("smooth").args((values, notes.path().join(log)))
    };

    // A call that may run twice is moved away from the worker that crashed, and nobody notices.
    let mean: f64 = smooth("first").idempotent().execute().await?;
    println!("mean: {mean}, although a worker crashed");

    // One that may not is told how its worker went.
    let error = smooth("second").execute::<f64>().await.expect_err("its worker crashes");
    println!("error: {error}");
    println!("signal: {}", error.crash_signal().unwrap_or("none"));
    if error.kind() != (ErrorKind::WorkerLost { maybe_executed: true }) {
        return Err(error.into());
    }

    // The pool is whole again.
    let again: f64 = smooth("second").queue_timeout(Duration::from_secs(60)).execute().await?;
    let PoolReport::Running { stats, exits, .. } = snakepit.stats().pools.remove(0) else {
        return Err("the pool runs".into());
    };
    let counters = stats.counters;
    println!(
        "mean: {again}; {} workers crashed, {} call moved, {} seats kept from `smooth` for a while",
        exits.died, counters.moved, counters.tainted
    );
    if (mean, again, counters.moved, counters.tainted) != (8.0, 8.0, 1, 2) {
        return Err("that was not to be expected".into());
    }
    Ok(snakepit.shutdown(Duration::from_secs(10)).await?)
}
