//! What the pool engine costs on top of the link: the same workers, driven by a pool and driven
//! without one, both from the runtime that the links live on, with the same calls at each worker.
//! The gate compares what is alike, callers that await each answer; what the link can do when an
//! answer is handed to nobody is shown beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use snakepit_bench::bare;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::{Arguments, SMALL, Setting, Small};
use snakepit_core::{Clock, Codec, Payload, Pool, PoolOptions, Request};
use tokio::runtime::Handle;

use super::{Bound, Run};

const AWAITED: &str = "bare link, answers awaited";

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Engine: a pool against the same workers driven without one");
    let calls = run.calls(20_000);
    let setting = run.setting.clone();
    let samples = run.samples;
    // A thread with a runtime of its own, as the facade has: both contenders live on it.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(setting, samples, calls, runtime.handle().clone()))
    });
    let tables = thread.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))??;
    for (window, table) in tables {
        run.table(&table);
        let ratio = table.ratio("engine", AWAITED);
        let claim = format!("engine over bare link, {window} at each worker");
        run.gate(&claim, ratio, Bound::AtLeast(0.9));
    }
    Ok(())
}

async fn measure(
    setting: Setting,
    samples: usize,
    calls: usize,
    runtime: Handle,
) -> Result<Vec<(usize, Table)>> {
    let (_, workers) = bare::workers(&setting, &runtime).await?;
    let arguments = Payload::encode(Codec::MsgPack, &SMALL)?;
    let mut tables = Vec::new();
    for window in [1, 8] {
        let mut options = PoolOptions::new("bench");
        options.prefetch = window - 1;
        let pool = Pool::new(options, Clock::system(), &runtime);
        for worker in &workers {
            pool.join(Arc::clone(worker));
        }
        let in_flight = window * workers.len();
        let workload = format!("call/small/window={window}");
        let mut table = Table::new(&workload, "calls/s", Better::More);
        for round in 0..=samples {
            let bare = bare::sample(&workers, Small::COMMAND, &arguments, calls, window).await?;
            let awaited =
                bare::awaited(&workers, Small::COMMAND, &arguments, calls, window).await?;
            let engine = engine(&pool, &arguments, calls, in_flight).await?;
            if round > 0 {
                table.add("bare link, answers go nowhere", calls as f64 / bare.as_secs_f64());
                table.add(AWAITED, calls as f64 / awaited.as_secs_f64());
                table.add("engine", calls as f64 / engine.as_secs_f64());
            }
        }
        for worker in &workers {
            pool.leave(&worker.info().id);
        }
        tables.push((window, table));
    }
    for worker in workers {
        worker.stop(Duration::from_secs(5)).await;
    }
    Ok(tables)
}

/// Runs so many calls through the pool, so many at a time; returns the wall time.
pub(super) async fn engine(
    pool: &Pool,
    arguments: &Payload,
    calls: usize,
    in_flight: usize,
) -> Result<Duration> {
    let command: Arc<str> = Arc::from(Small::COMMAND);
    let submit = || pool.submit(Request::new(Arc::clone(&command), arguments.clone()));
    let mut under_way = FuturesUnordered::new();
    let start = Instant::now();
    for _ in 0..in_flight {
        under_way.push(submit()?);
    }
    let mut submitted = in_flight;
    while submitted < calls {
        under_way.next().await.context("calls are under way")??;
        under_way.push(submit()?);
        submitted += 1;
    }
    while let Some(completed) = under_way.next().await {
        completed?;
    }
    Ok(start.elapsed())
}
