//! Arrays and bytes through shared memory, beside the same inline and beside `memcpy`.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use serde::de::{DeserializeOwned, IgnoredAny};
use snakepit::config::SharedMemoryMode::{Auto, Off};
use snakepit::{Array, Blob, Snakepit};
use snakepit_bench::facade;
use snakepit_bench::report::{Better, Measured, Table};
use snakepit_bench::stats::median;

use super::{Bound, Run};

const MIB: usize = 1 << 20;
const SHARED: &str = "shared memory";
const INLINE: &str = "inline";

/// From what size on values go through shared memory unless a pool says another.
const THRESHOLD: usize = 64 * 1024;

/// Round the threshold.
const SIZES: [usize; 8] =
    [THRESHOLD / 4, THRESHOLD / 2, THRESHOLD, 2 * THRESHOLD, 4 * THRESHOLD, MIB / 2, MIB, 16 * MIB];

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Arrays: through shared memory, beside inline");
    let start = |mode| {
        let mut setting = run.setting.clone();
        setting.workers = 1;
        async move {
            let adapter = setting.numpy_adapter();
            facade::start_with(&setting, 0, |pool| {
                let pool = pool.adapter(adapter).shared_memory(mode);
                pool.shared_memory_threshold(1024).shared_memory_quota(512 << 20)
            })
            .await
        }
    };
    let (shared, inline) = (start(Auto).await?, start(Off).await?);
    there(run, &shared).await?;
    already_there(run, &shared).await?;
    let ratio = there_and_back(run, &shared, &inline, "echo").await?;
    run.gate("8 MiB there and back over inline", ratio, Bound::AtLeast(10.0));
    // No bound for it: most of it is numpy's own work and new memory for its result.
    there_and_back(run, &shared, &inline, "negate").await?;
    crossing(run, &shared, &inline).await?;
    super::stop([shared, inline]).await
}

fn floats(bytes: usize) -> Result<Array> {
    Ok(Array::from_vec(vec![1.0_f64; bytes / 8], [bytes / 8])?)
}

/// Seconds that `calls` take, one after the other.
async fn timed<T: DeserializeOwned>(
    snakepit: &Snakepit,
    tool: &'static str,
    argument: impl serde::Serialize,
    calls: usize,
) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..calls {
        let result: T = snakepit.execute(tool, (&argument,)).await?;
        black_box(result);
    }
    Ok(start.elapsed().as_secs_f64() / calls as f64)
}

/// A large array that is copied once, beside a copy of it that goes nowhere.
async fn there(run: &mut Run, shared: &Snakepit) -> Result<()> {
    let array = floats(64 * MIB)?;
    let mut target = vec![0_u8; 64 * MIB];
    let calls = run.calls(20).max(2);
    let mut table = Table::new("call/size/bytes=67108864", "GiB/s", Better::More);
    for round in 0..=run.samples {
        let ours = timed::<IgnoredAny>(shared, "size", &array, calls).await?;
        let start = Instant::now();
        for _ in 0..calls {
            target.copy_from_slice(black_box(array.data()));
            black_box(&mut target);
        }
        let copy = start.elapsed().as_secs_f64() / calls as f64;
        if round > 0 {
            table.add(SHARED, 0.0625 / ours);
            table.add("memcpy", 0.0625 / copy);
        }
    }
    run.table(&table);
    let ratio = table.ratio(SHARED, "memcpy");
    run.gate("64 MiB to a worker over memcpy", ratio, Bound::AtLeast(0.85));
    Ok(())
}

/// An array that every call finds where it is.
async fn already_there(run: &mut Run, shared: &Snakepit) -> Result<()> {
    let array = shared.share("default", &floats(64 * MIB)?)?;
    let calls = run.calls(2000).max(10);
    let mut table = Table::new("call/size/shared", "µs per call", Better::Less);
    for round in 0..=run.samples {
        let there = timed::<IgnoredAny>(shared, "size", &array, calls).await?;
        let nothing = timed::<IgnoredAny>(shared, "size", 0, calls).await?;
        if round > 0 {
            table.add("64 MiB, already there", there * 1e6);
            table.add("a number", nothing * 1e6);
        }
    }
    run.table(&table);
    let more = table.median("64 MiB, already there") - table.median("a number");
    run.gate("µs more for 64 MiB that are there than for a number", more, Bound::AtMost(100.0));
    Ok(())
}

/// An array that comes back as it lies, or another one of its size that the tool makes; gives the
/// inline time over the shared one.
async fn there_and_back(
    run: &mut Run,
    shared: &Snakepit,
    inline: &Snakepit,
    tool: &'static str,
) -> Result<Measured> {
    let array = floats(8 * MIB)?;
    let calls = run.calls(40).max(2);
    let mut table = Table::new(&format!("call/{tool}/bytes=8388608"), "ms", Better::Less);
    for round in 0..=run.samples {
        let ours = timed::<Array>(shared, tool, &array, calls).await?;
        let theirs = timed::<Array>(inline, tool, &array, calls).await?;
        if round > 0 {
            table.add(SHARED, ours * 1e3);
            table.add(INLINE, theirs * 1e3);
        }
    }
    run.table(&table);
    Ok(table.ratio(INLINE, SHARED))
}

/// From which size on shared memory is no slower: what the default threshold stands on.
async fn crossing(run: &mut Run, shared: &Snakepit, inline: &Snakepit) -> Result<()> {
    for kind in ["bytes", "arrays"] {
        let mut table =
            Table::new(&format!("call/echo/kind={kind}"), "µs", Better::Less).along("bytes");
        let mut ratios = Vec::new();
        for size in SIZES {
            let calls = run.calls((64 * MIB / size).clamp(8, 1000)).max(4);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for round in 0..=run.samples {
                let through = echoed(shared, kind, size, calls).await? * 1e6;
                let beside = echoed(inline, kind, size, calls).await? * 1e6;
                if round > 0 {
                    table.add_at(SHARED, size as f64, through);
                    table.add_at(INLINE, size as f64, beside);
                    ours.push(through);
                    theirs.push(beside);
                }
            }
            ratios.push((size, median(&theirs) / median(&ours)));
        }
        run.table(&table);
        let told: Vec<_> =
            ratios.iter().map(|(size, ratio)| format!("{} KiB: {ratio:.2}", size / 1024)).collect();
        run.note(&format!("Inline over shared memory, {kind}: {}.", told.join(", ")));
        let slower = ratios.iter().rposition(|(_, ratio)| *ratio < 1.0);
        run.note(&match ratios.get(slower.map_or(0, |at| at + 1)) {
            Some((size, _)) => format!(
                "The smallest size from which {kind} are not slower through shared memory: {} KiB.",
                size / 1024
            ),
            None => format!("{kind} are slower through shared memory at every size."),
        });
        // A segment holds 64 KiB at least, so less would pay with memory for what it gains in time.
        if let Some((_, ratio)) = ratios.iter().find(|(size, _)| *size == THRESHOLD) {
            let label = format!("{kind} of 64 KiB, the threshold, over inline");
            run.gate(&label, *ratio, Bound::AtLeast(1.0));
        }
    }
    Ok(())
}

/// Seconds that a value of so many bytes takes there and back.
async fn echoed(snakepit: &Snakepit, kind: &str, size: usize, calls: usize) -> Result<f64> {
    if kind == "bytes" {
        timed::<Blob>(snakepit, "echo", &Blob::from(vec![7; size]), calls).await
    } else {
        timed::<Array>(snakepit, "echo", &floats(size)?, calls).await
    }
}
