//! From nothing until so many slots have answered, by profile and by how processes are started, and
//! the memory of all their processes then.

use anyhow::Result;
use snakepit::PoolConfig;
use snakepit::config::Start;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::Setting;

use super::{Run, start};

/// Slots of a pool; 64 are four processes of 16 threads.
const SLOTS: [usize; 5] = [10, 50, 64, 100, 250];

/// The most slots of a quick run: hundreds of spawned processes take a minute.
const QUICK_SLOTS: usize = 64;

/// Threads of a process, as long as there are as many slots.
const THREADS: usize = 16;

/// A start takes seconds where it is slow, and what is compared differs by several times.
const MOST_SAMPLES: usize = 3;

#[derive(Clone, Copy)]
enum Way {
    Zygote,
    Spawn,
    Threads,
}

const WAYS: [(Way, &str); 3] = [
    (Way::Zygote, "process profile, zygote"),
    (Way::Spawn, "process profile, spawn"),
    (Way::Threads, "thread profile, 16 threads a process"),
];

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Starts: slots with numpy until all processes have answered, and their memory");
    run.note(
        "Memory is that of all processes below the host, of what they are forked from, too. PSS counts \
         shared pages once; private bytes are those that no other process has.",
    );
    snakepit_lifecycle::process::raise_descriptor_limit()?;
    let table = |unit, what| {
        Table::new("pool/start", unit, Better::Less).measure(what).along("slots").over(WAYS[0].1)
    };
    let mut seconds = table("s", "");
    let mut pss = table("MiB", "PSS");
    let mut private = table("MiB", "private");
    let quick = run.quick();
    let samples = if quick { 1 } else { run.samples.min(MOST_SAMPLES) };
    for slots in SLOTS.into_iter().filter(|slots| !quick || *slots <= QUICK_SLOTS) {
        for _ in 0..samples {
            for (way, name) in WAYS {
                let (pool, processes) = pool(&run.setting, way, slots)?;
                let (snakepit, started) = start::answered(pool, processes, slots).await?;
                super::stop([snakepit]).await?;
                let at = slots as f64;
                seconds.add_at(name, at, started.seconds);
                pss.add_at(name, at, started.mib);
                private.add_at(name, at, started.private_mib);
            }
        }
    }
    for table in [seconds, pss, private] {
        run.table(&table);
    }
    Ok(())
}

/// A pool of so many slots or a few more, and how many processes it has.
fn pool(setting: &Setting, way: Way, slots: usize) -> Result<(PoolConfig, usize)> {
    let pool = PoolConfig::builder("default").adapter(setting.numpy_adapter()).prefetch(0);
    let (pool, processes) = match way {
        Way::Zygote => (pool.python(&setting.python).start(Start::Zygote), slots),
        Way::Spawn => (pool.python(&setting.python).start(Start::Spawn), slots),
        Way::Threads => {
            let pool = pool.python(setting.free_threaded()?).profile("thread");
            (pool.threads(THREADS.min(slots)), slots.div_ceil(THREADS))
        }
    };
    Ok((pool.workers(processes).build()?, processes))
}
