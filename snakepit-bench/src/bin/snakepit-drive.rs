//! `snakepit-drive`: takes samples when it is told to, one JSON order a line on stdin, one answer a
//! line on stdout, so that two builds of it can be measured in turn.
//!
//! `cargo xtask perf-gate` puts this very file into the base that it builds: it uses nothing but the
//! facade, and no other file of this crate.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::json;
use snakepit::{Snakepit, Value};

/// Set by the test of the gate: so many nanoseconds are wasted at each call.
const PLANTED: &str = "SNAKEPIT_DRIVE_PLANTED_NS";

/// What is to be measured.
#[derive(Deserialize)]
struct Order {
    /// Such as `call/small/inflight=64` or `call/echo/bytes=1000/inflight=4`.
    workload: String,
    calls: usize,
}

/// A workload's id, taken apart.
struct Workload {
    command: Arc<str>,
    bytes: Option<usize>,
    window: usize,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: snakepit-drive PYTHON ADAPTER";
    let (python, adapter) = (arguments.next().context(usage)?, arguments.next().context(usage)?);
    let planted = std::env::var(PLANTED).ok().map(|ns| ns.parse()).transpose()?;
    let planted = Duration::from_nanos(planted.unwrap_or(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let builder = Snakepit::builder().adapter(adapter).python(python).workers(1);
        let snakepit = builder.start().await?;
        for line in std::io::stdin().lock().lines() {
            let order: Order = serde_json::from_str(&line?)?;
            let workload = Workload::parse(&order.workload)?;
            let took = workload.sample(&snakepit, order.calls, planted).await?;
            let us_per_call = took.as_secs_f64() * 1e6 / order.calls as f64;
            println!("{}", json!({"us_per_call": us_per_call}));
            std::io::stdout().flush()?;
        }
        Ok(snakepit.shutdown(Duration::from_secs(5)).await?)
    })
}

impl Workload {
    fn parse(id: &str) -> Result<Self> {
        let mut parts = id.strip_prefix("call/").context("only calls are driven")?.split('/');
        let command = parts.next().context("no command")?.into();
        let mut workload = Self { command, bytes: None, window: 1 };
        for part in parts {
            match part.split_once('=') {
                Some(("bytes", bytes)) => workload.bytes = Some(bytes.parse()?),
                Some(("inflight", window)) => workload.window = window.parse()?,
                _ => bail!("{part} in {id} means nothing here"),
            }
        }
        Ok(workload)
    }

    /// Runs so many calls, `window` at a time.
    async fn sample(
        &self,
        snakepit: &Snakepit,
        calls: usize,
        planted: Duration,
    ) -> Result<Duration> {
        let bytes = self.bytes.map(|size| vec![7; size]);
        let one = || {
            waste(planted);
            let call = snakepit.call(Arc::clone(&self.command));
            let call = match &bytes {
                Some(bytes) => call.args((serde_bytes::Bytes::new(bytes),)),
                None => call.args(json!({"n": 7, "text": "the quick brown fox ".repeat(6)})),
            };
            call.execute::<Value>()
        };
        let mut under_way = FuturesUnordered::new();
        let start = Instant::now();
        for _ in 0..self.window.min(calls) {
            under_way.push(one());
        }
        let mut submitted = under_way.len();
        while let Some(done) = under_way.next().await {
            done?;
            if submitted < calls {
                submitted += 1;
                under_way.push(one());
            }
        }
        Ok(start.elapsed())
    }
}

/// Keeps the processor busy.
fn waste(time: Duration) {
    let start = Instant::now();
    while !time.is_zero() && start.elapsed() < time {
        std::hint::spin_loop();
    }
}
