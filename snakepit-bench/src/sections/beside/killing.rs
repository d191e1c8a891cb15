//! One of two workers is killed under load: which calls are lost, and how long until the rest of the
//! world notices nothing any more.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::future::{join, join_all, try_join_all};
use serde_json::json;
use snakepit_bench::grpcio::Servers;
use snakepit_bench::peers::Killed;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::{Arguments, Nap};
use snakepit_bench::{facade, os};

use super::super::Run;
use super::{GRPCIO, Others, PREFETCH};

/// Calls under way when a worker is killed.
const UNDER_WAY: usize = 64;

/// A peer that is broken takes all of its patience each time.
const MOST_SAMPLES: usize = 3;

/// As `peers.py` has it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far the calls have come when a worker is killed.
const UNTIL_KILL: Duration = Duration::from_millis(10);

pub(super) async fn run(run: &mut Run, others: &mut Others, servers: &Path) -> Result<()> {
    run.title("Peers: one of two workers killed under 64 calls of 5 ms");
    run.note(
        "Lost calls failed, or were not answered within 5 s. A new call waits behind those that were \
         under way. A pool is whole when as many processes have answered as before.",
    );
    let workload = "pool/kill/inflight=64";
    let mut lost = Table::new(workload, "calls lost", Better::Less);
    let mut back = Table::new(workload, "s", Better::Less).measure("until a new call ends well");
    let mut whole = Table::new(workload, "s", Better::Less).measure("until the pool is whole");
    let mut add = |run: &mut Run, round: usize, name: &str, killed: Killed| {
        lost.add(name, killed.lost as f64);
        killed.recovered.iter().for_each(|seconds| back.add(name, *seconds));
        killed.whole.iter().for_each(|seconds| whole.add(name, *seconds));
        match (round, killed.recovered, killed.whole) {
            (0, None, _) => {
                run.note(&format!("{name}: broken, no further call ends well."));
            }
            (0, _, None) => run.note(&format!("{name}: nobody takes the dead one's place.")),
            _ => {}
        }
    };
    let mut grpcio_fails = false;
    for round in 0..run.samples.min(MOST_SAMPLES) {
        let killed = own(run).await?;
        add(run, round, PREFETCH, killed);
        super::each(run, others, |run, name, peer| {
            match peer.kill(UNDER_WAY)? {
                Some(killed) => add(run, round, name, killed),
                None if round == 0 => {
                    run.note(&format!("{name} has no process that could be killed alone."));
                }
                None => {}
            }
            Ok(())
        });
        if grpcio_fails {
            continue;
        }
        match grpcio(servers, run.setting.workers).await {
            Ok(killed) => add(run, round, GRPCIO, killed),
            Err(error) => {
                run.failure(&format!("{GRPCIO}: {error:#}"));
                grpcio_fails = true;
            }
        }
    }
    run.table(&lost);
    run.table(&back);
    run.table(&whole);
    Ok(())
}

async fn own(run: &Run) -> Result<Killed> {
    let snakepit = facade::start(&run.setting, 8).await?;
    let workers = facade::worker_pids(&snakepit);
    let victim = *workers.first().context("a worker with a process")?;
    let nap = |ms| snakepit.call(Nap::COMMAND).args(Nap { ms }).execute::<f64>();
    let under_way = join_all((0..UNDER_WAY).map(|_| nap(5.0)));
    let killed = async {
        tokio::time::sleep(UNTIL_KILL).await;
        let begin = Instant::now();
        os::kill(victim)?;
        while nap(1.0).await.is_err() {}
        let recovered = begin.elapsed().as_secs_f64();
        let mut answered = BTreeSet::new();
        while answered.len() < workers.len() {
            let calls = workers.iter().map(|_| snakepit.call("pid").execute::<u32>());
            answered.extend(try_join_all(calls).await?);
        }
        anyhow::Ok((recovered, begin.elapsed().as_secs_f64()))
    };
    let (calls, killed) = join(under_way, killed).await;
    super::super::stop([snakepit]).await?;
    let (recovered, whole) = killed?;
    let lost = calls.iter().filter(|call| call.is_err()).count() as u64;
    Ok(Killed { lost, recovered: Some(recovered), whole: Some(whole) })
}

/// Servers that somebody wrote: what is left of them goes on, and nobody starts another.
async fn grpcio(python: &Path, workers: usize) -> Result<Killed> {
    let servers = Servers::start(python, workers).await?;
    let victim = servers.pid(0).context("a server with a process")?;
    let nap = |number: usize, ms: f64| {
        let argument = serde_json::to_vec(&json!({"ms": ms}));
        let servers = &servers;
        async move {
            let call = servers.call(number, "/Peer/nap", Bytes::from(argument?));
            anyhow::Ok(tokio::time::timeout(PATIENCE, call).await??)
        }
    };
    let under_way = join_all((0..UNDER_WAY).map(|number| nap(number, 5.0)));
    let killed = async {
        tokio::time::sleep(UNTIL_KILL).await;
        let begin = Instant::now();
        os::kill(victim)?;
        let mut number = 0;
        while nap(number, 1.0).await.is_err() {
            number += 1;
            anyhow::ensure!(begin.elapsed() < PATIENCE, "no server answers any more");
        }
        anyhow::Ok(begin.elapsed().as_secs_f64())
    };
    let (calls, recovered) = join(under_way, killed).await;
    let lost = calls.iter().filter(|call| call.is_err()).count() as u64;
    Ok(Killed { lost, recovered: Some(recovered?), whole: None })
}
