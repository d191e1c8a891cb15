//! What limits cost per call where no worker is replaced: counters, milestones and the looks of
//! who watches, apart from any fork. The worker is none (`prompt.rs`), so that nothing else is measured than the
//! engine under a supervisor; with real ones it would vanish in what they need themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use snakepit_bench::report::{Better, Table};
use snakepit_core::{Clock, Codec, Payload, Pool, PoolOptions, Request};
use snakepit_lifecycle::{Limits, Supervisor, SupervisorOptions};
use tokio::runtime::Handle;

use super::Run;
use crate::prompt::{Prompt, Replies};

const WITHOUT: &str = "no limits";
const WITH: &str = "calls, age and idle time limited";

/// Samples for one elsewhere: each takes some 25 ms, and the difference is smaller than what else a
/// machine does meanwhile.
const FOR_ONE: usize = 8;

/// Limits that are watched and never reached.
const FAR: Duration = Duration::from_secs(86_400);

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Bookkeeping: one call through the engine, workers limited and not, none replaced");
    let (calls, samples) = (run.calls(40_000), run.samples * FOR_ONE);
    // A thread with a runtime of its own, as the facade has.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(calls, samples))
    });
    let table = thread.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))??;
    run.table(&table);
    let more = table.median(WITH) - table.median(WITHOUT);
    run.note(&format!("Limits cost {more:.0} ns per call: the difference of the medians."));
    Ok(())
}

async fn measure(calls: usize, samples: usize) -> Result<Table> {
    let mut limits = Limits::default();
    let mut table = Table::new("engine/call", "ns per call", Better::Less).over(WITHOUT);
    let without = Supervised::start(limits).await?;
    limits.max_requests = Some(u64::MAX / 2);
    limits.ttl = Some(FAR);
    limits.idle = Some(FAR);
    let with = Supervised::start(limits).await?;
    for round in 0..=samples {
        for (name, supervised) in [(WITHOUT, &without), (WITH, &with)] {
            let ns = supervised.ns_per_call(calls).await?;
            // The first round warms up.
            if round > 0 {
                table.add(name, ns);
            }
        }
    }
    for Supervised { pool, supervisor, .. } in [without, with] {
        pool.close();
        supervisor.shutdown(Duration::from_secs(5)).await?;
    }
    Ok(table)
}

/// A pool of one worker that answers when it is told to.
struct Supervised {
    pool: Pool,
    supervisor: Supervisor,
    replies: Replies,
}

impl Supervised {
    async fn start(limits: Limits) -> Result<Self> {
        let replies = Replies::default();
        let profile = Arc::new(Prompt { replies: replies.clone() });
        let mut options = PoolOptions::new("bench");
        options.prefetch = 0;
        let pool = Pool::new(options, Clock::system(), &Handle::current());
        let mut options = SupervisorOptions::new(1);
        options.limits = limits;
        let supervisor =
            Supervisor::start(pool.clone(), profile, options, &Handle::current()).await?;
        Ok(Self { pool, supervisor, replies })
    }

    async fn ns_per_call(&self, calls: usize) -> Result<f64> {
        let payload = Payload::encode(Codec::MsgPack, &(7, "text"))?;
        // Those who watch may look at what has happened since their last time.
        tokio::task::yield_now().await;
        let begin = Instant::now();
        for _ in 0..calls {
            let call = self.pool.submit(Request::new("small", payload.clone()))?;
            self.replies.finish_last(payload.clone()).context("it was not sent")?;
            call.await?;
        }
        Ok(begin.elapsed().as_nanos() as f64 / calls as f64)
    }
}
