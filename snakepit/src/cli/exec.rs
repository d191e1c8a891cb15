//! `snakepit exec`: one call, its result on standard output.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use snakepit::{Call, JsonText, Progress, Value};

use super::diagnostic::{Failure, Reporter};
use super::input;
use super::interrupt::Interrupt;
use super::pool::{PoolArgs, Running};
use super::{Outcome, map};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pool: PoolArgs,

    /// How many workers to start
    #[arg(long, value_name = "N")]
    workers: Option<usize>,

    /// The one worker that may run the call, as `default.0.0`
    #[arg(long, value_name = "ID")]
    worker: Option<String>,

    /// Print each item of a stream as it comes, one JSON text a line
    #[arg(long)]
    stream: bool,

    /// Show progress reports on standard error
    #[arg(long)]
    progress: bool,

    /// The tool to call
    command: String,

    /// Its arguments as JSON, `-` for standard input, `@FILE` for a file; none if left out
    #[arg(value_name = "JSON|-|@FILE", allow_hyphen_values = true)]
    arguments: Option<String>,
}

pub(super) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let settings = args.pool.settings(args.workers, Some(1))?;
    let arguments = input::arguments(args.arguments.as_deref())?;
    let running = Running::start(settings).await?;
    let mut interrupt = Interrupt::listen(running.snakepit.handle());
    let progress = args.progress.then(|| Arc::new(Shown::new(reporter)));
    let mut call =
        running.snakepit.call(args.command.as_str()).args(&arguments).pool(running.pool.as_str());
    if let Some(worker) = args.worker {
        call = call.worker(worker);
    }
    if let Some(progress) = progress.clone() {
        call = call.on_progress(move |report| progress.update(&report));
    }
    let outcome = tokio::select! {
        outcome = print(call, args.stream) => outcome,
        // The call is cancelled by being dropped.
        () = interrupt.raised() => Ok(Outcome::Interrupted),
    };
    if let Some(progress) = progress {
        progress.bar.finish_and_clear();
    }
    running.stop().await;
    outcome
}

async fn print(call: Call, stream: bool) -> Result<Outcome, Failure> {
    let mut out = std::io::stdout();
    if !stream {
        let value: Value = call.execute().await.map_err(Failure::call)?;
        let text = JsonText(&value);
        let written =
            if out.is_terminal() { writeln!(out, "{text:#}") } else { writeln!(out, "{text}") };
        return map::written(written);
    }
    let mut items = call.stream::<Value>().await.map_err(Failure::call)?;
    while let Some(item) = items.next().await {
        let item = item.map_err(Failure::call)?;
        let written = writeln!(out, "{}", JsonText(&item)).and_then(|()| out.flush());
        match map::written(written)? {
            Outcome::Fine => {}
            closed => return Ok(closed),
        }
    }
    Ok(Outcome::Fine)
}

/// Progress reports: a bar on a terminal, a line each elsewhere.
struct Shown {
    bar: ProgressBar,
    reporter: Reporter,
}

impl Shown {
    fn new(reporter: Reporter) -> Self {
        let bar = if reporter.json {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
        } else {
            // Hidden by itself where standard error is no terminal.
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        };
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, reporter }
    }

    fn update(&self, report: &Progress) {
        if self.reporter.json {
            let Progress { done, total, message } = report;
            let report = json!({"done": done, "total": total, "message": message});
            eprintln!("{}", json!({ "progress": report }));
        } else if self.bar.is_hidden() {
            let total = report.total.map(|total| format!("/{total}")).unwrap_or_default();
            let line = format!("{}{total} {}", report.done, report.message);
            eprintln!("{}", line.trim_end());
        } else {
            if let Some(total) = report.total {
                self.bar.set_length(total as u64);
            }
            self.bar.set_position(report.done as u64);
            self.bar.set_message(report.message.clone());
        }
    }
}
