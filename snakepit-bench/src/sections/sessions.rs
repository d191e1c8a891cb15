//! What it costs that a call belongs to a session and holds to its worker.
//!
//! Calls of sessions are never prefetched, so both sides run without prefetch where several calls are
//! in flight.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;
use snakepit::{Affinity, Session, Snakepit};
use snakepit_bench::facade;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::sample::Latencies;
use snakepit_bench::workload::{Arguments, SMALL, Small};

use super::{Bound, Run};

const NONE: &str = "no session";
const WINDOW: usize = 16;

/// Costs at most so much of what a call without a session does (issue 6).
const GATE: f64 = 1.1;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Sessions: small calls that hold to a worker, and the same without a session");
    let snakepit = facade::start(&run.setting, 0).await?;
    let table = |window| {
        let workload = format!("call/small/prefetch=0/inflight={window}");
        Table::new(&workload, "µs", Better::Less).over(NONE)
    };
    let (mut p50, mut each) = (table(1).measure("p50"), table(WINDOW).measure("time a call"));
    for round in 0..=run.samples {
        let mut contenders: Vec<(&str, Option<Affinity>)> = vec![(NONE, None)];
        contenders.extend([Affinity::Hint, Affinity::StrictQueue].map(|a| (a.name(), Some(a))));
        // Whoever comes first has the machine as the round before has left it.
        contenders.rotate_left(round % 3);
        for (name, affinity) in contenders {
            let one = lanes(&snakepit, affinity, 1, run.calls(4_000)).await?;
            let many = lanes(&snakepit, affinity, WINDOW, run.calls(16_000)).await?;
            if round > 0 {
                p50.add(name, one.0.percentile_us(50.0));
                each.add(name, many.1.as_secs_f64() * 1e6 / run.calls(16_000) as f64);
            }
        }
    }
    run.table(&p50);
    run.table(&each);
    for mode in [Affinity::Hint.name(), Affinity::StrictQueue.name()] {
        let claim = format!("p50, {mode} over none");
        run.gate(&claim, p50.ratio(mode, NONE), Bound::AtMost(GATE));
        let claim = format!("time of a call at {WINDOW} in flight, {mode} over none");
        run.gate(&claim, each.ratio(mode, NONE), Bound::AtMost(GATE));
    }
    super::stop([snakepit]).await
}

/// Runs calls in so many lanes, each with a session of its own if they have an affinity.
async fn lanes(
    snakepit: &Snakepit,
    affinity: Option<Affinity>,
    lanes: usize,
    calls: usize,
) -> Result<(Latencies, Duration)> {
    let sessions: Vec<Option<Session>> =
        (0..lanes).map(|_| affinity.map(|a| snakepit.new_session().affinity(a))).collect();
    let start = Instant::now();
    let done = sessions.iter().map(|session| lane(snakepit, session.as_ref(), calls / lanes));
    let mut latencies = Latencies::default();
    for latency in try_join_all(done).await?.into_iter().flatten() {
        latencies.record(latency);
    }
    let wall = start.elapsed();
    for session in sessions.into_iter().flatten() {
        session.end()?;
    }
    Ok((latencies, wall))
}

async fn lane(
    snakepit: &Snakepit,
    session: Option<&Session>,
    calls: usize,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(calls);
    for _ in 0..calls {
        let submitted = Instant::now();
        let call = match session {
            Some(session) => session.call(Small::COMMAND),
            None => snakepit.call(Small::COMMAND),
        };
        call.args(SMALL).execute::<<Small as Arguments>::Result>().await?;
        latencies.push(submitted.elapsed());
    }
    Ok(latencies)
}
