//! Peers side by side: the same work through what others offer, in turn with ours. A peer that cannot
//! be had is named; so is what it cannot do. One that fails on the way is named, too, and left out from
//! there.

mod arrays;
mod killing;
mod starting;

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::Value;
use snakepit::{PoolConfig, Snakepit};
use snakepit_bench::grpcio::Servers;
use snakepit_bench::peers::{self, Peer};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::stats::quantile;
use snakepit_bench::workload::SMALL;
use snakepit_bench::{facade, load};

use super::{Bound, Run};

const PREFETCH: &str = "snakepit, prefetch";
const STRICT: &str = "snakepit, strict";
const GRPCIO: &str = "grpcio server, tonic client";

const WINDOW: usize = 64;
/// After so many calls workers are replaced.
const LIMIT: u64 = 100;

/// A round of them all takes half a minute.
const MOST_SAMPLES: usize = 5;

/// The peers that take part, by name.
type Others = Vec<(&'static str, Peer)>;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    let python = run.peers.clone().context(
        "no environment for the peers: run `cargo xtask bench --peers`, or name one with --peers-python",
    )?;
    snakepit_lifecycle::process::raise_descriptor_limit()?;
    run.title("Peers: who is there");
    let (mut others, mut pythons) = (Vec::new(), Vec::new());
    for name in peers::ALL {
        let free_threaded = run.setting.free_threaded();
        let python = if name == peers::THREADS { free_threaded? } else { python.clone() };
        match Peer::start(name, &python, run.setting.workers) {
            Ok(peer) => {
                run.note(&format!("{name}: {}", peer.version));
                others.push((name, peer));
                pythons.push((name, python));
            }
            Err(error) => run.failure(&format!("{error:#}")),
        }
    }
    let servers = match Servers::start(&python, run.setting.workers).await {
        Ok(servers) => {
            run.note(&format!("{GRPCIO}: {}", servers.version));
            Some(servers)
        }
        Err(error) => {
            run.failure(&format!("{GRPCIO}: {error:#}"));
            None
        }
    };
    calls(run, &mut others, servers.as_ref()).await?;
    arrays::run(run, &mut others, servers.as_ref()).await?;
    drop(servers);
    recycling(run, &mut others).await?;
    killing::run(run, &mut others, &python).await?;
    // Their pools end, so that all memory below us is that of one contender.
    drop(others);
    starting::run(run, pythons, &python).await
}

/// Small calls, everybody in turn.
async fn calls(run: &mut Run, others: &mut Others, servers: Option<&Servers>) -> Result<()> {
    run.title("Peers: small calls");
    let table = |id: &str, unit, better| Table::new(id, unit, better).over(PREFETCH);
    let mut rates = table("call/small/inflight=64", "calls/s", Better::More);
    let mut p50 = table("call/small/inflight=1", "µs", Better::Less).measure("p50");
    let mut p99 = table("call/small/inflight=1", "µs", Better::Less).measure("p99");
    let own = [
        (PREFETCH, facade::start(&run.setting, 8).await?),
        (STRICT, facade::start(&run.setting, 0).await?),
    ];
    let (many, few) = (run.calls(8_000), run.calls(1_500));
    for round in 0..=run.samples.min(MOST_SAMPLES) {
        let mut add = |name: &str, rate: f64, one: (f64, f64)| {
            if round > 0 {
                rates.add(name, rate);
                p50.add(name, one.0);
                p99.add(name, one.1);
            }
        };
        for (name, snakepit) in &own {
            let rate = load::windowed(snakepit, &SMALL, many, WINDOW).await?.rate(many);
            let one = load::windowed(snakepit, &SMALL, few, 1).await?.latencies;
            add(name, rate, (one.percentile_us(50.0), one.percentile_us(99.0)));
        }
        let mut sample = |name: &str, peer: &mut Peer| {
            let rate = many as f64 / peer.sample("small", 0, many, WINDOW)?.seconds;
            let one = peer.sample("small", 0, few, 1)?.latencies_us;
            add(name, rate, (quantile(&one, 0.5), quantile(&one, 0.99)));
            Ok(())
        };
        each(run, others, |_, name, peer| sample(name, peer));
        if let Some(servers) = servers {
            let text = Bytes::from(serde_json::to_vec(&SMALL)?);
            let small = |number| {
                let text = text.clone();
                async move {
                    let answer = servers.call(number, "/Peer/small", text).await?;
                    Ok::<_, anyhow::Error>(serde_json::from_slice::<Value>(&answer)?)
                }
            };
            let rate = load::closed(many, WINDOW, small).await?.rate(many);
            let one = load::closed(few, 1, small).await?.latencies;
            add(GRPCIO, rate, (one.percentile_us(50.0), one.percentile_us(99.0)));
        }
    }
    for table in [&rates, &p50, &p99] {
        run.table(table);
    }
    for name in rates.contenders() {
        if own.iter().all(|(own, _)| *own != name) {
            ratios(run, &name, &rates, &p50);
        }
    }
    super::stop(own.map(|(_, snakepit)| snakepit)).await
}

/// How far ahead of a peer we are, which is no gate but for being ahead at all.
fn ratios(run: &mut Run, name: &str, rates: &Table, p50: &Table) {
    // What stays in the process is the limit, not a contender.
    if name == peers::THREADS {
        let (calls, time) = (rates.ratio(PREFETCH, name).value, p50.ratio(PREFETCH, name).value);
        run.note(&format!(
            "{name} hands calls over inside one process, the limit of what a pool can reach: \
             {PREFETCH} has {calls:.2} of its rate and {time:.1} times its p50."
        ));
        return;
    }
    let ahead = Bound::AtLeast(1.0);
    run.gate(&format!("rate of {PREFETCH} over {name}"), rates.ratio(PREFETCH, name), ahead);
    run.gate(&format!("p50 of {name} over {PREFETCH}"), p50.ratio(name, PREFETCH), ahead);
}

/// Has each peer do something; one that fails takes no further part.
fn each(
    run: &mut Run,
    others: &mut Others,
    mut what: impl FnMut(&mut Run, &'static str, &mut Peer) -> Result<()>,
) {
    others.retain_mut(|(name, peer)| match what(run, name, peer) {
        Ok(()) => true,
        Err(error) => {
            run.failure(&format!("{name}: {error:#}"));
            false
        }
    });
}

/// Small calls through workers that are replaced all the time.
async fn recycling(run: &mut Run, others: &mut Others) -> Result<()> {
    run.title("Peers: small calls while workers are replaced every 100 calls");
    run.note(&format!("{GRPCIO}: whoever writes such a server replaces it by hand; not measured."));
    let workload = format!("call/small/inflight=64/max_requests={LIMIT}");
    let mut rates = Table::new(&workload, "calls/s", Better::More).over(PREFETCH);
    let mut failed = Table::new(&workload, "calls failed", Better::Less);
    let calls = run.calls(5_000);
    for round in 0..run.samples.min(3) {
        let pool = PoolConfig::builder("default")
            .adapter(run.setting.adapter())
            .python(&run.setting.python)
            .workers(run.setting.workers)
            .max_requests(LIMIT)
            .jitter(0.0)
            .build()?;
        let snakepit = Snakepit::builder().pool(pool).start().await?;
        let sample = load::windowed(&snakepit, &SMALL, calls, WINDOW).await?;
        rates.add(PREFETCH, sample.rate(calls));
        // The loop ends with the first call that fails.
        failed.add(PREFETCH, 0.0);
        super::stop([snakepit]).await?;
        each(run, others, |run, name, peer| {
            match peer.recycle(calls, WINDOW, LIMIT)? {
                Some(sample) => {
                    rates.add(name, calls as f64 / sample.seconds);
                    failed.add(name, sample.failed as f64);
                }
                None if round == 0 => run.note(&format!("{name} does not replace its workers.")),
                None => {}
            }
            Ok(())
        });
    }
    run.table(&rates);
    run.table(&failed);
    Ok(())
}
