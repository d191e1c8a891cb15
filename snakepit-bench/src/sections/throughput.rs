//! Small calls per second at 64 in flight.

use anyhow::{Context, Result};
use snakepit_bench::peers::{PEERS, Peers};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::SMALL;
use snakepit_bench::{facade, load};

use super::{Bound, Run};

const WINDOW: usize = 64;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Throughput: small calls, 64 in flight");
    let calls = run.calls(20_000);
    let peer_calls = run.calls(8_000);
    let prefetch = facade::start(&run.setting, 8).await?;
    let strict = facade::start(&run.setting, 0).await?;
    let mut peers = Peers::start(&run.setting)?;
    let ours = [("snakepit, prefetch", &prefetch), ("snakepit, strict", &strict)];
    let mut table = Table::new("call/small/inflight=64", "calls/s", Better::More).over(ours[0].0);
    for round in 0..=run.samples {
        // The first round warms everything up and does not count.
        let mut add = |name: &str, rate: f64| {
            if round > 0 {
                table.add(name, rate);
            }
        };
        for (name, snakepit) in ours {
            let sample = load::windowed(snakepit, &SMALL, calls, WINDOW).await?;
            add(name, sample.rate(calls));
        }
        for peer in PEERS {
            let sample = peers.sample(peer, "small", 0, peer_calls, WINDOW)?;
            add(peer, peer_calls as f64 / sample.seconds);
        }
    }
    run.table(&table);
    let faster = |a: &&&str, b: &&&str| table.median(a).total_cmp(&table.median(b));
    let best = PEERS.iter().max_by(faster).context("there are peers")?;
    let over_best = |name: &str| table.ratio(name, best);
    let (fast, slow) = (over_best(ours[0].0), over_best(ours[1].0));
    run.gate("prefetch over the better peer", fast, Bound::AtLeast(4.0));
    run.gate("strict over the better peer", slow, Bound::AtLeast(1.7));
    super::stop([prefetch, strict]).await
}
