//! Many workers with numpy from nothing, and their memory.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::try_join_all;
use snakepit::PoolConfig;
use snakepit_bench::grpcio::Servers;
use snakepit_bench::os::Memory;
use snakepit_bench::peers::{self, Peer};
use snakepit_bench::report::{Better, Table};

use super::super::{Run, start};
use super::GRPCIO;

const OWN: &str = "snakepit, zygote";

/// The slowest of them takes more than a minute each time.
const MOST_SAMPLES: usize = 2;

const MIB: f64 = 1024.0 * 1024.0;

/// Seconds until all have answered, and the memory of all their processes then.
type Started = (f64, f64);

pub(super) async fn run(
    run: &mut Run,
    mut pythons: Vec<(&'static str, PathBuf)>,
    servers: &Path,
) -> Result<()> {
    let workers = if run.quick() { 4 } else { 100 };
    run.title("Peers: many workers with numpy until all have answered, and their memory");
    run.note(
        "What Ray's own services need, and how long they take to start, is not counted. \
         ThreadPoolExecutor's workers are threads of the process that drives it, started as calls \
         come; their memory is not to be told from that process's.",
    );
    let workload = format!("pool/start/workers={workers}");
    let mut seconds = Table::new(&workload, "s", Better::Less).over(OWN);
    let mut mib = Table::new(&workload, "MiB", Better::Less).measure("PSS").over(OWN);
    let mut add = |name: &str, (took, memory): Started| {
        seconds.add(name, took);
        if name != peers::THREADS {
            mib.add(name, memory);
        }
    };
    let samples = if run.quick() { 1 } else { run.samples.min(MOST_SAMPLES) };
    let mut grpcio_fails = false;
    for _ in 0..samples {
        add(OWN, own(run, workers).await?);
        pythons.retain(|(name, python)| match peer(name, python, workers) {
            Ok(started) => {
                add(name, started);
                true
            }
            Err(error) => {
                run.failure(&format!("{name}: {error:#}"));
                false
            }
        });
        if grpcio_fails {
            continue;
        }
        match grpcio(servers, workers).await {
            Ok(started) => add(GRPCIO, started),
            Err(error) => {
                run.failure(&format!("{GRPCIO}: {error:#}"));
                grpcio_fails = true;
            }
        }
    }
    run.table(&seconds);
    run.table(&mib);
    Ok(())
}

async fn own(run: &Run, workers: usize) -> Result<Started> {
    let pool = PoolConfig::builder("default")
        .adapter(run.setting.numpy_adapter())
        .python(&run.setting.python)
        .workers(workers)
        .prefetch(0);
    let (snakepit, started) = start::answered(pool.build()?, workers, workers).await?;
    super::super::stop([snakepit]).await?;
    Ok((started.seconds, started.mib))
}

fn peer(name: &str, python: &Path, workers: usize) -> Result<Started> {
    // One that has not run yet: a fork server stays, with what it has imported.
    let mut peer = Peer::start(name, python, 1)?;
    let idle = Memory::below(peer.pid())?.pss;
    let seconds = peer.start_workers(workers)?;
    Ok((seconds, (Memory::below(peer.pid())?.pss - idle) / MIB))
}

async fn grpcio(python: &Path, workers: usize) -> Result<Started> {
    let begin = Instant::now();
    let servers = Servers::start(python, workers).await?;
    let calls = (0..workers).map(|number| servers.call(number, "/Peer/who", Bytes::new()));
    try_join_all(calls).await?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok((seconds, Memory::below(std::process::id())?.pss / MIB))
}
