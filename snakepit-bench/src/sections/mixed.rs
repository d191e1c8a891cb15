//! Prefetch must not hurt: one 200 ms call among 1 ms calls on the same pool.

use std::time::{Duration, Instant};

use anyhow::Result;
use snakepit::Snakepit;
use snakepit_bench::facade;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::sample::Latencies;
use snakepit_bench::workload::{Arguments, Nap};

use super::{Bound, Run};

/// Fast calls under way at a time: more than there are workers, so that some always wait.
const WINDOW: usize = 4;
const EVERY: usize = 250;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Mixed: one 200 ms call for every 250 of 1 ms, 4 fast ones in flight");
    let calls = run.calls(2_000);
    let contenders = [
        ("prefetch", facade::start(&run.setting, 8).await?),
        ("strict", facade::start(&run.setting, 0).await?),
    ];
    let table = |what: &str| Table::new("call/nap/mixed", "µs", Better::Less).measure(what);
    let (mut p50, mut p99) = (table("p50 of the fast calls"), table("p99 of the fast calls"));
    for _ in 0..run.samples {
        for (name, snakepit) in &contenders {
            let latencies = sample(snakepit, calls).await?;
            p50.add(name, latencies.percentile_us(50.0));
            p99.add(name, latencies.percentile_us(99.0));
        }
    }
    run.table(&p50);
    run.table(&p99);
    let ratio = p99.ratio("prefetch", "strict");
    run.gate("p99 with prefetch over strict", ratio, Bound::AtMost(2.0));
    super::stop(contenders.map(|(_, snakepit)| snakepit)).await
}

async fn sample(snakepit: &Snakepit, calls: usize) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let nap = |ms: f64| snakepit.call(Nap::COMMAND).args(Nap { ms }).execute::<f64>();
    for _ in 0..calls / EVERY {
        let slow = nap(200.0);
        let fast = async {
            // Lets the slow call be the first of its round.
            tokio::task::yield_now().await;
            let mut under_way = futures_util::stream::FuturesUnordered::new();
            let timed = || async {
                let submitted = Instant::now();
                nap(1.0).await.map(|_| submitted.elapsed())
            };
            let mut took: Vec<Duration> = Vec::with_capacity(EVERY);
            under_way.extend((0..WINDOW).map(|_| timed()));
            let mut submitted = WINDOW;
            while let Some(latency) = futures_util::StreamExt::next(&mut under_way).await {
                took.push(latency?);
                if submitted < EVERY {
                    submitted += 1;
                    under_way.push(timed());
                }
            }
            anyhow::Ok(took)
        };
        let (slow, fast) = futures_util::future::join(slow, fast).await;
        slow?;
        fast?.into_iter().for_each(|latency| latencies.record(latency));
    }
    Ok(latencies)
}
