//! Calls of a tool in Rust from inside one Python call, one after the other, as Python sees them.

use anyhow::Result;
use serde::Deserialize;
use snakepit::{HostTool, PoolConfig, Snakepit, blocking};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::stats::median;

use super::{Bound, Run};

const THREAD: &str = "call_tool, the tool on snakepit's own thread";
const CALLERS: &str = "call_tool, the tool on the program's runtime";
const COROUTINE: &str = "call_tool_async, the tool on snakepit's own thread";

/// The bound is the issue's.
const MOST_US: f64 = 120.0;

#[derive(Deserialize)]
struct Lookup {
    key: u64,
}

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Tools: Python calls Rust inside a call, and waits");
    let calls = run.calls(4_000);
    let inside = start(run, None).await?;
    let beside = start(run, Some(tokio::runtime::Handle::current())).await?;
    let mut p50 = Table::new("tool/lookup", "µs", Better::Less).measure("p50");
    for round in 0..=run.samples {
        let contenders = [
            (THREAD, &inside, "round_trips"),
            (CALLERS, &beside, "round_trips"),
            (COROUTINE, &inside, "round_trips_async"),
        ];
        for (name, snakepit, command) in contenders {
            let call = snakepit.call(command).args((calls,));
            let times: Vec<f64> = call.execute().await?;
            if round > 0 {
                p50.add(name, median(&times));
            }
        }
    }
    run.table(&p50);
    run.gate(
        "p50 µs of a tool call into Rust and back",
        p50.median(THREAD),
        Bound::AtMost(MOST_US),
    );
    super::stop([inside, beside]).await
}

/// One worker, and a tool that runs where it is told to.
async fn start(run: &Run, runtime: Option<tokio::runtime::Handle>) -> Result<Snakepit> {
    let pool = PoolConfig::builder("default")
        .adapter(run.setting.adapter())
        .python(run.setting.python.display().to_string())
        .workers(1)
        .build()?;
    let mut tool = HostTool::new("lookup", |_, Lookup { key }| async move { Ok(key + 1) });
    if let Some(runtime) = runtime {
        tool = tool.on(runtime);
    }
    let builder = blocking::Snakepit::builder().pool(pool).host_tool(tool);
    // Not from the runtime of the benchmark, which would be the one the tool runs on.
    let started = std::thread::spawn(move || builder.start()).join();
    let started = started.map_err(|_| anyhow::anyhow!("the start panicked"))??;
    Ok(started.as_async().clone())
}
