//! Small calls at 64 in flight: one worker with two threads beside two processes.

use anyhow::Result;
use snakepit::PoolConfig;
use snakepit_bench::load;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::SMALL;

use super::{Bound, Run};

const WINDOW: usize = 64;

pub(super) async fn run(run: &mut Run) -> Result<()> {
    run.title("Threads: small calls, 64 in flight");
    let (calls, setting) = (run.calls(20_000), run.setting.clone());
    let processes = |python: std::path::PathBuf| {
        PoolConfig::builder("default").adapter(setting.adapter()).python(python).workers(2)
    };
    let contenders = [
        ("one worker, two threads", super::pool(&setting, setting.adapter(), 2)?),
        ("two processes, same Python", processes(setting.free_threaded()?)),
        ("two processes, with GIL", processes(setting.python.clone())),
    ];
    let mut running = Vec::new();
    for (name, pool) in contenders {
        running.push((name, super::start(pool).await?));
    }
    let first = running[0].0;
    let mut rates = Table::new("call/small/inflight=64", "calls/s", Better::More).over(first);
    let mut single =
        Table::new("call/small/inflight=1", "µs", Better::Less).measure("p50").over(first);
    for round in 0..=run.samples {
        for (name, snakepit) in &running {
            let rate = load::windowed(snakepit, &SMALL, calls, WINDOW).await?.rate(calls);
            let alone = load::windowed(snakepit, &SMALL, calls / 10, 1).await?;
            // The first round warms everything up and does not count.
            if round > 0 {
                rates.add(name, rate);
                single.add(name, alone.latencies.percentile_us(50.0));
            }
        }
    }
    run.table(&rates);
    run.table(&single);
    let share = rates.ratio(first, running[1].0);
    run.gate("two threads over two processes", share, Bound::AtLeast(0.85));
    for (_, snakepit) in running {
        super::super::stop([snakepit]).await?;
    }
    Ok(())
}
