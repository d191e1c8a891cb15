//! What recycling costs: small calls through pools whose workers are replaced after so many of them,
//! beside a pool that keeps its workers, and how far the replacements keep up with the limit.
//!
//! The tail of the latency is compared in the open loop, where both are offered the same calls. In a
//! closed loop it is a figure about throughput: with half of it each call takes twice as long.

use anyhow::{Context, Result};
use snakepit::{PoolConfig, PoolReport, Snakepit};
use snakepit_bench::load::{self, Failures, Sample};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::sample::Latencies;
use snakepit_bench::stats::median;
use snakepit_bench::workload::{SMALL, Setting};

use super::{Bound, Run};

const WINDOW: usize = 64;
const KEPT: &str = "never";

/// How many calls a busy worker may be handed ahead of time.
const MODES: [(&str, usize); 2] = [("prefetch", 8), ("strict", 0)];

/// A limit in calls, the number of calls in a sample, and the least share of the throughput.
const LIMITS: [(u64, usize, f64); 2] = [(5_000, 40_000, 0.95), (100, 20_000, 0.4)];

/// Room for what comes due while the machine stands still: to be refused then is no fault of a pool.
const QUEUE: usize = 100_000;

/// Parts of a sample. The two pools take turns: a machine that others use as well changes its mood
/// within seconds, and one percent of the throughput counts here.
const TURNS: usize = 10;

/// Rounds for each sample that was asked for. Two pools differ by a tenth by where their processes
/// happen to lie, and both are new in each round.
const ROUNDS: usize = 3;

/// The least share of the nominal recycles that must really be done.
const DONE: f64 = 0.9;

/// The most that recycling may stretch the 99th percentile of the latency.
const STRETCH: f64 = 2.0;

/// The share of the throughput without recycling at which calls are offered to both: half of what the
/// pool whose workers are replaced most often must be able to serve.
const OFFERED: f64 = 0.2;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    for (mode, prefetch) in MODES {
        run.title(&format!(
            "Recycling, {mode}: small calls per second at 64 in flight, workers replaced every so many"
        ));
        for (limit, calls, share) in LIMITS {
            let calls = run.calls(calls).next_multiple_of(TURNS);
            let claim = Claim { mode, prefetch, limit, calls, share };
            compare(run, &claim).await?;
        }
    }
    Ok(())
}

struct Claim {
    mode: &'static str,
    prefetch: usize,
    limit: u64,
    calls: usize,
    share: f64,
}

async fn compare(run: &mut Run, claim: &Claim) -> Result<()> {
    let &Claim { mode, prefetch, limit, calls, share } = claim;
    let contender = format!("every {limit} calls");
    let workload = format!("call/small/{mode}/inflight={WINDOW}/max_requests={limit}");
    let mut rates = Table::new(&workload, "calls/s", Better::More).over(KEPT);
    let mut closed = Table::new(&workload, "µs", Better::Less).measure("p99").over(KEPT);
    let workload = format!("call/small/{mode}/offered={OFFERED}/max_requests={limit}");
    let mut open = Table::new(&workload, "µs", Better::Less).measure("p99, open loop").over(KEPT);
    let (mut done, mut failures) = (Vec::new(), Failures::default());
    for round in 0..=run.samples * ROUNDS {
        // Pools of their own for each sample: its recycles are those of the sample, and no pool's luck
        // with where its processes lie decides more than one.
        let kept = start(&run.setting, prefetch, None).await?;
        let recycled = start(&run.setting, prefetch, Some(limit)).await?;
        let (mut without, mut with) = (Sample::default(), Sample::default());
        for _ in 0..TURNS {
            without.add(&load::windowed(&kept, &SMALL, calls / TURNS, WINDOW).await?);
            with.add(&load::windowed(&recycled, &SMALL, calls / TURNS, WINDOW).await?);
        }
        let recycles = recycles(&recycled)?;
        // Of the same round, so that the machine's mood is the same.
        let offered = OFFERED * without.rate(calls);
        let turn = (calls as f64 * OFFERED) as usize / TURNS;
        let (mut without_open, mut with_open) = (Latencies::default(), Latencies::default());
        for _ in 0..TURNS {
            for (pool, latencies) in [(&kept, &mut without_open), (&recycled, &mut with_open)] {
                let sample = load::open(pool, &SMALL, turn, offered).await?;
                latencies.add(&sample.latencies);
                failures.add(sample.failures);
            }
        }
        if round > 0 {
            for (name, sample) in [(KEPT, &without), (&*contender, &with)] {
                rates.add(name, sample.rate(calls));
                closed.add(name, sample.latencies.percentile_us(99.0));
            }
            for (name, latencies) in [(KEPT, &without_open), (&*contender, &with_open)] {
                open.add(name, latencies.percentile_us(99.0));
            }
            done.push(recycles as f64 * limit as f64 / calls as f64);
        }
        super::stop([kept, recycled]).await?;
    }
    run.table(&rates);
    run.table(&closed);
    run.table(&open);
    if let Some(told) = failures.told(&format!("{mode}, {contender}")) {
        run.failure(&told);
    }
    let of = |what: &str| format!("{what}, {mode}, {contender}");
    run.gate(&of("throughput"), rates.ratio(&contender, KEPT), Bound::AtLeast(share));
    run.gate(&of("p99, open loop"), open.ratio(&contender, KEPT), Bound::AtMost(STRETCH));
    run.gate(&of("recycles done over nominal"), median(&done), Bound::AtLeast(DONE));
    Ok(())
}

async fn start(setting: &Setting, prefetch: usize, max_requests: Option<u64>) -> Result<Snakepit> {
    let pool = PoolConfig::builder("default")
        .adapter(setting.adapter())
        .python(&setting.python)
        .workers(setting.workers)
        .prefetch(prefetch)
        .max_requests(max_requests)
        .queue(QUEUE)
        // As many replacements at a time as there are workers to replace.
        .max_surge(setting.workers)
        .jitter(0.0)
        .build()?;
    Ok(Snakepit::builder().pool(pool).start().await?)
}

fn recycles(snakepit: &Snakepit) -> Result<u64> {
    match snakepit.stats().pools.into_iter().next().context("one pool")? {
        PoolReport::Running { recycles, .. } => Ok(recycles.max_requests),
        PoolReport::Failed { error, .. } => Err(error.into()),
        _ => anyhow::bail!("a pool in a state of its own"),
    }
}
