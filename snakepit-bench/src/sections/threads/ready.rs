//! Four workers with sixteen threads each and numpy: time until they are ready, and their memory.

use std::time::Instant;

use anyhow::Result;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::{facade, os};

use super::{Bound, MIB, Run};

const WORKERS: usize = 4;
const THREADS: usize = 16;
const NAME: &str = "4 workers, 16 threads each";

pub(super) async fn run(run: &mut Run) -> Result<()> {
    run.title("Threads: 4 workers with 16 threads each and numpy until they are ready");
    let mut seconds = Table::new("pool/start/workers=4/threads=16", "s", Better::Less);
    let mut mib = Table::new("pool/start/workers=4/threads=16", "MiB", Better::Less).measure("PSS");
    for round in 0..=run.samples.min(3) {
        let adapter = run.setting.numpy_adapter();
        let begin = Instant::now();
        let pool = super::pool(&run.setting, adapter, THREADS)?.workers(WORKERS);
        let snakepit = super::start(pool).await?;
        let ready = begin.elapsed().as_secs_f64();
        let mut bytes = 0.0;
        for pid in facade::worker_pids(&snakepit) {
            bytes += os::shared_bytes(pid)?;
        }
        // The first one reads from disk what the others find in memory.
        if round > 0 {
            seconds.add(NAME, ready);
            mib.add(NAME, bytes / MIB);
        }
        super::super::stop([snakepit]).await?;
    }
    run.table(&seconds);
    run.table(&mib);
    run.gate("seconds until ready", seconds.median(NAME), Bound::AtMost(1.5));
    run.gate("MiB in all", mib.median(NAME), Bound::AtMost(250.0));
    Ok(())
}
