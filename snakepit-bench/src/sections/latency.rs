//! One call at a time: the caller on its own runtime, on Snakepit's, and the peers.

use anyhow::{Context, Result};
use snakepit::Snakepit;
use snakepit_bench::facade;
use snakepit_bench::load::{self, Sample};
use snakepit_bench::peers::{PEERS, Peers};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::stats::{median, quantile};
use snakepit_bench::workload::SMALL;

use super::{Bound, Run};

const OWN: &str = "snakepit, caller on its own runtime";
const INSIDE: &str = "snakepit, caller on snakepit's runtime";

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Latency: one small call at a time");
    let calls = run.calls(4_000);
    let snakepit = facade::start(&run.setting, 8).await?;
    let mut peers = Peers::start(&run.setting)?;
    let table = |what: &str| {
        Table::new("call/small/inflight=1", "µs", Better::Less).measure(what).over(OWN)
    };
    let (mut p50, mut p99) = (table("p50"), table("p99"));
    for round in 0..=run.samples {
        let mut add = |name: &str, middle: f64, tail: f64| {
            if round > 0 {
                p50.add(name, middle);
                p99.add(name, tail);
            }
        };
        let own = load::windowed(&snakepit, &SMALL, calls, 1).await?;
        add(OWN, own.latencies.percentile_us(50.0), own.latencies.percentile_us(99.0));
        let inside = inside(&snakepit, calls).await?;
        add(INSIDE, inside.latencies.percentile_us(50.0), inside.latencies.percentile_us(99.0));
        for peer in PEERS {
            let latencies = peers.sample(peer, "small", 0, calls, 1)?.latencies_us;
            add(peer, median(&latencies), quantile(&latencies, 0.99));
        }
    }
    run.table(&p50);
    run.table(&p99);
    let faster = |a: &&&str, b: &&&str| p50.median(a).total_cmp(&p50.median(b));
    let best = PEERS.iter().min_by(faster).context("there are peers")?;
    run.gate("p50, own runtime, over the better peer", p50.ratio(OWN, best), Bound::AtMost(0.3));
    super::stop([snakepit]).await
}

/// The same loop as a task of Snakepit's own I/O thread: no hand-off between threads in the host.
async fn inside(snakepit: &Snakepit, calls: usize) -> Result<Sample> {
    let handle = snakepit.handle();
    let snakepit = snakepit.clone();
    let task = async move { load::windowed(&snakepit, &SMALL, calls, 1).await };
    handle.spawn(task).await?
}
