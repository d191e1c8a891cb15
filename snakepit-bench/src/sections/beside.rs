//! Peers side by side: the same work through what others offer, in turn with ours. A peer that cannot
//! be had is named; so is what it cannot do.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::Value;
use snakepit::{PoolConfig, Snakepit};
use snakepit_bench::grpcio::Servers;
use snakepit_bench::os::{self, Memory};
use snakepit_bench::peers::{self, Peer};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::stats::quantile;
use snakepit_bench::workload::{Arguments, Nap, SMALL};
use snakepit_bench::{facade, load};

use super::{Bound, Run, beside_arrays, start};

const PREFETCH: &str = "snakepit, prefetch";
const STRICT: &str = "snakepit, strict";
pub(super) const GRPCIO: &str = "grpcio server, tonic client";

const WINDOW: usize = 64;
/// After so many calls workers are replaced.
const LIMIT: u64 = 100;
/// Calls under way when a worker is killed.
const UNDER_WAY: usize = 64;

const MIB: f64 = 1024.0 * 1024.0;

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
    beside_arrays::run(run, &mut others, servers.as_ref()).await?;
    drop(servers);
    recycling(run, &mut others).await?;
    killing(run, &mut others).await?;
    // Their pools end, so that all memory below us is that of one contender.
    drop(others);
    starting(run, &pythons, &python).await
}

/// Small calls, everybody in turn.
async fn calls(
    run: &mut Run,
    others: &mut [(&'static str, Peer)],
    servers: Option<&Servers>,
) -> Result<()> {
    run.title("Peers: small calls");
    let table = |id: &str, unit, better| Table::new(id, unit, better);
    let mut rates = table("call/small/inflight=64", "calls/s", Better::More);
    let mut p50 = table("call/small/inflight=1", "µs", Better::Less).measure("p50");
    let mut p99 = table("call/small/inflight=1", "µs", Better::Less).measure("p99");
    let own = [
        (PREFETCH, facade::start(&run.setting, 8).await?),
        (STRICT, facade::start(&run.setting, 0).await?),
    ];
    let (many, few) = (run.calls(8_000), run.calls(1_500));
    for round in 0..=run.samples {
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
        for (name, peer) in others.iter_mut() {
            let rate = many as f64 / peer.sample("small", 0, many, WINDOW)?.seconds;
            let one = peer.sample("small", 0, few, 1)?.latencies_us;
            add(name, rate, (quantile(&one, 0.5), quantile(&one, 0.99)));
        }
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

/// Many workers with numpy from nothing, and their memory.
async fn starting(run: &mut Run, pythons: &[(&'static str, PathBuf)], python: &Path) -> Result<()> {
    let workers = if run.quick() { 4 } else { 100 };
    run.title("Peers: many workers with numpy until all have answered, and their memory");
    run.note("What Ray's own services need, and how long they take to start, is not counted.");
    let workload = format!("pool/start/workers={workers}");
    let mut seconds = Table::new(&workload, "s", Better::Less);
    let mut mib = Table::new(&workload, "MiB", Better::Less).measure("PSS");
    let samples = if run.quick() { 1 } else { run.samples.min(3) };
    for _ in 0..samples {
        let below = |pid| Memory::below(pid).map(|memory| memory.pss / MIB);
        let pool = PoolConfig::builder("default")
            .adapter(run.setting.numpy_adapter())
            .python(&run.setting.python)
            .workers(workers)
            .prefetch(0);
        let (snakepit, started) = start::answered(pool.build()?, workers, workers).await?;
        super::stop([snakepit]).await?;
        seconds.add("snakepit, zygote", started.seconds);
        mib.add("snakepit, zygote", started.mib);
        for (name, python) in pythons {
            // One that has not run yet: a fork server stays, with what it has imported.
            let mut peer = Peer::start(name, python, 1)?;
            let idle = below(peer.pid())?;
            seconds.add(name, peer.start_workers(workers)?);
            mib.add(name, below(peer.pid())? - idle);
        }
        let begin = Instant::now();
        if let Ok(servers) = Servers::start(python, workers).await {
            let answers =
                (0..workers).map(|number| servers.call(number, "/Peer/who", Bytes::new()));
            for answer in join_all(answers).await {
                answer?;
            }
            seconds.add(GRPCIO, begin.elapsed().as_secs_f64());
        }
    }
    run.table(&seconds);
    run.table(&mib);
    Ok(())
}

/// Small calls through workers that are replaced all the time.
async fn recycling(run: &mut Run, others: &mut [(&'static str, Peer)]) -> Result<()> {
    run.title("Peers: small calls while workers are replaced every 100 calls");
    let workload = format!("call/small/inflight=64/max_requests={LIMIT}");
    let mut rates = Table::new(&workload, "calls/s", Better::More);
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
        for (name, peer) in others.iter_mut() {
            match peer.recycle(calls, WINDOW, LIMIT)? {
                Some(sample) => {
                    rates.add(name, calls as f64 / sample.seconds);
                    failed.add(name, sample.failed as f64);
                }
                None if round == 0 => run.note(&format!("{name} does not replace its workers.")),
                None => {}
            }
        }
    }
    run.table(&rates);
    run.table(&failed);
    Ok(())
}

/// One of two workers is killed under load.
async fn killing(run: &mut Run, others: &mut [(&'static str, Peer)]) -> Result<()> {
    run.title("Peers: one of two workers killed under 64 calls of 5 ms");
    run.note(
        "Lost calls failed, or were not answered within 5 s. A pool has recovered when a new call \
         ends well.",
    );
    let workload = "pool/kill/inflight=64";
    let mut lost = Table::new(workload, "calls lost", Better::Less);
    let mut back = Table::new(workload, "s", Better::Less).measure("until a call ends well");
    // A peer that is broken takes all of its patience each time.
    for round in 0..run.samples.min(2) {
        let (calls, seconds) = kill_own(run).await?;
        lost.add(PREFETCH, calls as f64);
        back.add(PREFETCH, seconds);
        for (name, peer) in others.iter_mut() {
            let Some(killed) = peer.kill(UNDER_WAY)? else {
                if round == 0 {
                    run.note(&format!("{name} has no process that could be killed alone."));
                }
                continue;
            };
            lost.add(name, killed.lost as f64);
            match killed.recovered {
                Some(seconds) => back.add(name, seconds),
                None if round == 0 => {
                    run.note(&format!(
                        "{name}: the pool stays broken, and no further call ends well."
                    ));
                }
                None => {}
            }
        }
    }
    run.table(&lost);
    run.table(&back);
    Ok(())
}

async fn kill_own(run: &Run) -> Result<(usize, f64)> {
    let snakepit = facade::start(&run.setting, 8).await?;
    let victim = *facade::worker_pids(&snakepit).first().context("a worker with a process")?;
    let nap = |ms| snakepit.call(Nap::COMMAND).args(Nap { ms }).execute::<f64>();
    let under_way = join_all((0..UNDER_WAY).map(|_| nap(5.0)));
    let killed = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let begin = Instant::now();
        os::kill(victim)?;
        while nap(1.0).await.is_err() {}
        anyhow::Ok(begin.elapsed().as_secs_f64())
    };
    let (calls, seconds) = futures_util::future::join(under_way, killed).await;
    super::stop([snakepit]).await?;
    Ok((calls.iter().filter(|call| call.is_err()).count(), seconds?))
}
