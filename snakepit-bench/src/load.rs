//! The load driver: calls through the whole system, as a program makes them, in two manners. In the
//! closed loop so many calls are under way at a time, and the next begins when one ends: what comes
//! out is the throughput, and latencies that are kind to whoever stalls, because nobody calls
//! meanwhile. In the open loop calls begin at a fixed rate whatever becomes of those before, and
//! latency counts from when a call was meant to begin: a stall is felt by all that were due meanwhile.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use snakepit::Snakepit;
use tokio::sync::mpsc;

use crate::sample::Latencies;
use crate::workload::Arguments;

/// One sample of calls.
#[derive(Debug, Default)]
pub struct Sample {
    /// Wall time of the whole sample.
    pub wall: Duration,
    /// Each call's time from submission to result.
    pub latencies: Latencies,
}

impl Sample {
    /// Adds another, of calls that came after these.
    pub fn add(&mut self, more: &Self) {
        self.wall += more.wall;
        self.latencies.add(&more.latencies);
    }

    /// Calls per second.
    pub fn rate(&self, calls: usize) -> f64 {
        calls as f64 / self.wall.as_secs_f64()
    }
}

/// The closed loop: runs `calls` of a command, `window` at a time, on the caller's runtime. Every
/// result is decoded.
///
/// # Errors
/// The first call that fails.
pub async fn windowed<A: Arguments>(
    snakepit: &Snakepit,
    arguments: &A,
    calls: usize,
    window: usize,
) -> Result<Sample> {
    let command: Arc<str> = Arc::from(A::COMMAND);
    let one = |_| snakepit.call(Arc::clone(&command)).args(arguments).execute::<A::Result>();
    closed(calls, window, one).await
}

/// The closed loop over calls of any kind: `one` makes each of them, by its number.
///
/// # Errors
/// The first call that fails.
pub async fn closed<T, E, F>(
    calls: usize,
    window: usize,
    mut one: impl FnMut(usize) -> F,
) -> Result<Sample>
where
    E: Into<anyhow::Error>,
    F: Future<Output = Result<T, E>>,
{
    let mut timed = |number| {
        let submitted = Instant::now();
        let call = one(number);
        async move { call.await.map(|_| submitted.elapsed()) }
    };
    let mut latencies = Latencies::default();
    let mut under_way = FuturesUnordered::new();
    let start = Instant::now();
    for number in 0..window.min(calls) {
        under_way.push(timed(number));
    }
    let mut submitted = under_way.len();
    while let Some(latency) = under_way.next().await {
        latencies.record(latency.map_err(Into::into)?);
        if submitted < calls {
            under_way.push(timed(submitted));
            submitted += 1;
        }
    }
    Ok(Sample { wall: start.elapsed(), latencies })
}

/// What an open loop has seen.
#[derive(Debug)]
pub struct OpenSample {
    /// Each call's time from when it was meant to begin to its result.
    pub latencies: Latencies,
    /// Calls that failed; those that were refused because too many waited are among them.
    pub failures: Failures,
    /// The rate at which calls really ended.
    pub achieved: f64,
}

/// Calls of open loops that failed.
#[derive(Debug, Default)]
pub struct Failures {
    count: u64,
    first: Option<String>,
}

impl Failures {
    fn note(&mut self, error: &impl Display) {
        self.count += 1;
        self.first.get_or_insert_with(|| error.to_string());
    }

    /// Adds those of another loop.
    pub fn add(&mut self, more: Failures) {
        self.count += more.count;
        self.first = self.first.take().or(more.first);
    }

    /// What is to be said of them; nothing if there are none.
    pub fn told(&self, of: &str) -> Option<String> {
        let Self { count, first } = self;
        let first = first.as_ref()?;
        Some(format!("{count} calls of the open loop failed ({of}), the first one with: {first}"))
    }
}

/// The open loop: begins `calls` of a command at `rate` a second. A call that fails is counted and
/// ends nothing.
///
/// # Errors
/// When the thread that keeps the time does not start.
pub async fn open<A: Arguments>(
    snakepit: &Snakepit,
    arguments: &A,
    calls: usize,
    rate: f64,
) -> Result<OpenSample> {
    let command: Arc<str> = Arc::from(A::COMMAND);
    let one = |_| snakepit.call(Arc::clone(&command)).args(arguments).execute::<A::Result>();
    offered(calls, rate, one).await
}

/// The open loop over calls of any kind: `one` makes each of them, by its number.
///
/// # Errors
/// When the thread that keeps the time does not start.
pub async fn offered<T, E, F>(
    calls: usize,
    rate: f64,
    mut one: impl FnMut(usize) -> F,
) -> Result<OpenSample>
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let (due, mut dues) = mpsc::unbounded_channel();
    // A thread of its own: the runtime's timers are a millisecond wide.
    let clock = std::thread::Builder::new().name("open-loop".to_owned());
    let clock = clock.spawn(move || keep_time(&due, calls, rate))?;
    let mut under_way = FuturesUnordered::new();
    let mut sample = OpenSample {
        latencies: Latencies::default(),
        failures: Failures::default(),
        achieved: 0.0,
    };
    let start = Instant::now();
    let (mut begun, mut all_begun) = (0, false);
    while !all_begun || !under_way.is_empty() {
        tokio::select! {
            biased;
            intended = dues.recv(), if !all_begun => match intended {
                Some(intended) => {
                    let call = one(begun);
                    begun += 1;
                    under_way.push(async move { (intended, call.await, Instant::now()) });
                }
                None => all_begun = true,
            },
            Some((intended, outcome, ended)) = under_way.next() => match outcome {
                Ok(_) => sample.latencies.record(ended.saturating_duration_since(intended)),
                Err(error) => sample.failures.note(&error),
            },
        }
    }
    sample.achieved = sample.latencies.count() as f64 / start.elapsed().as_secs_f64();
    clock.join().map_err(|_| anyhow::anyhow!("the thread that keeps the time panicked"))?;
    Ok(sample)
}

/// Says when each call is due, at that time and never before.
fn keep_time(due: &mpsc::UnboundedSender<Instant>, calls: usize, rate: f64) {
    // Else the kernel lets a sleep last 50 µs longer than it was asked to.
    let slack = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    debug_assert!(slack.is_ok(), "a thread may set its own slack");
    let start = Instant::now() + Duration::from_millis(1);
    for call in 0..calls {
        let intended = start + Duration::from_secs_f64(call as f64 / rate);
        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
        if due.send(intended).is_err() {
            return;
        }
    }
}
