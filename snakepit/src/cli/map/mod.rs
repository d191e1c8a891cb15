//! `snakepit map`: a tool over each line of input. Owns the options and how the parts come together:
//! `lines` reads, `engine` orders, `sink` writes, `resume` finds the place, `summary` counts.

mod engine;
mod lines;
mod resume;
mod sink;
mod summary;
#[cfg(test)]
mod tests;

use std::io::{ErrorKind as IoErrorKind, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use snakepit::{BatchStream, Error, Snakepit, Value};

use self::engine::{Batch, Engine};
use self::lines::Lines;
use self::sink::Sink;
use self::summary::Summary;
use super::Outcome;
use super::diagnostic::{Failure, Reporter};
use super::interrupt::Interrupt;
use super::pool::{PoolArgs, Running};

/// Each line of INPUT is one JSON text, the arguments of one call. The output has one line for each
/// of them, in the same order: the result, or `{"line": N, "error": {…}}` when the call failed.
/// Blank lines are passed over.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pool: PoolArgs,

    /// How many workers to start [default: one for each core]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,

    /// How many calls are under way at a time [default: chosen by how long they take]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: Option<u32>,

    /// Where results go, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Continue an interrupted run: keep the complete lines of the output, skip their inputs
    #[arg(long, requires = "output")]
    resume: bool,

    /// Replace an output file that is there
    #[arg(long, requires = "output", conflicts_with = "resume")]
    overwrite: bool,

    /// Also write each failed line here: `{"line": N, "input": …, "error": {…}}`
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,

    /// The tool to call
    command: String,

    /// JSON lines; standard input if left out or `-`
    input: Option<PathBuf>,
}

/// The progress display is refreshed this often at most; a person reads no faster.
const REFRESH: Duration = Duration::from_millis(200);

pub(super) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let settings = args.pool.settings(args.workers, None)?;
    let workers = settings.workers();
    let mut lines = Lines::open(args.input.as_deref())?;
    let mut sink =
        Sink::open(args.output.as_deref(), args.failures.as_deref(), args.resume, args.overwrite)?;
    let skipped = sink.skip_done(&mut lines)?;
    let bar = progress_bar(&lines, reporter);

    let running = Running::start(settings).await?;
    let interrupt = Interrupt::listen(running.snakepit.handle());
    let batch = PoolBatch::new(&running, &args);
    let summary = Summary::new(workers, skipped);
    let engine = Engine::new(batch, lines.start(), interrupt, summary);
    let ended = engine.run(&mut sink, &bar).await;
    bar.finish_and_clear();
    running.stop().await;

    let (outcome, summary) = ended?;
    summary.show(outcome, reporter);
    Ok(outcome)
}

fn progress_bar(lines: &Lines, reporter: Reporter) -> ProgressBar {
    if reporter.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match lines.bytes() {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{elapsed_precise} {wide_bar} {percent:>3} % {msg} (left {eta})",
        ),
        None => (ProgressBar::new_spinner(), "{elapsed_precise} {spinner} {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| {
        // Only a template that does not parse comes here, and ours are fixed.
        ProgressStyle::default_bar()
    }));
    bar.enable_steady_tick(REFRESH);
    bar
}

/// The real thing behind [`Batch`]: calls to one tool of a pool.
struct PoolBatch {
    snakepit: Snakepit,
    pool: std::sync::Arc<str>,
    command: std::sync::Arc<str>,
    calls: BatchStream<Value>,
}

impl PoolBatch {
    fn new(running: &Running, args: &Args) -> Self {
        let calls = running.snakepit.execute_batch_unordered(std::iter::empty());
        let calls = match args.concurrency {
            Some(calls_at_a_time) => calls.concurrency(calls_at_a_time as usize),
            None => calls,
        };
        Self {
            snakepit: running.snakepit.clone(),
            pool: running.pool.as_str().into(),
            command: args.command.as_str().into(),
            calls,
        }
    }
}

impl Batch for PoolBatch {
    fn has_room(&mut self) -> bool {
        self.calls.has_room()
    }

    fn push(&mut self, input: &Value) -> usize {
        let call = self.snakepit.call(self.command.clone());
        self.calls.push(call.pool(self.pool.clone()).args(input))
    }

    async fn next(&mut self) -> Option<(usize, Result<Value, Error>)> {
        self.calls.next().await
    }
}

/// What a write to the output means: a reader that has gone away is no failure.
pub(super) fn written(result: std::io::Result<()>) -> Result<Outcome, Failure> {
    match result {
        Ok(()) => Ok(Outcome::Fine),
        Err(error) if error.kind() == IoErrorKind::BrokenPipe => Ok(Outcome::OutputClosed),
        Err(error) => Err(Failure::usage(format!("cannot write the output: {error}"))),
    }
}
