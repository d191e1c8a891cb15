//! Calls out, results in input order. Owns the reorder window and when to stop; knows no Python and
//! no file.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::time::Instant;

use futures_util::FutureExt;
use indicatif::ProgressBar;
use snakepit::{Error, ErrorKind, Value};
use tokio::sync::mpsc;

use super::lines::{Line, ReadFailed};
use super::sink::{Record, Sink};
use super::summary::Summary;
use crate::cli::Outcome;
use crate::cli::diagnostic::Failure;
use crate::cli::interrupt::Interrupt;

/// Results that may wait for an earlier one. While one slow call holds up the order, this many
/// others go on; it also bounds what a run keeps in memory.
const REORDER_WINDOW: usize = 4096;

/// Calls to one tool, many at a time.
pub(super) trait Batch {
    /// Whether one more call would be submitted at once.
    fn has_room(&mut self) -> bool;
    /// Adds a call; gives its position.
    fn push(&mut self, input: &Value) -> usize;
    /// The next result, with its call's position.
    fn next(&mut self) -> impl Future<Output = Option<(usize, Result<Value, Error>)>>;
}

/// One run over the input.
pub(super) struct Engine<B> {
    batch: B,
    lines: mpsc::Receiver<Result<Line, ReadFailed>>,
    interrupt: Interrupt,
    summary: Summary,
    /// Lines that are not written yet, in input order; the first one holds up the others.
    window: VecDeque<Entry>,
    /// Lines written so far: the first of the window has this number in the order of the run.
    written: usize,
    /// From a call's position to its line's place in the order of the run.
    under_way: HashMap<usize, usize>,
    read_failed: Option<ReadFailed>,
}

struct Entry {
    line: Line,
    submitted: Instant,
    result: Option<Result<Value, Error>>,
}

impl<B: Batch> Engine<B> {
    pub(super) fn new(
        batch: B,
        lines: mpsc::Receiver<Result<Line, ReadFailed>>,
        interrupt: Interrupt,
        summary: Summary,
    ) -> Self {
        Self {
            batch,
            lines,
            interrupt,
            summary,
            window: VecDeque::new(),
            written: 0,
            under_way: HashMap::new(),
            read_failed: None,
        }
    }

    /// Runs until the input ends, the user interrupts, or the output is closed.
    pub(super) async fn run(
        mut self,
        sink: &mut Sink,
        bar: &ProgressBar,
    ) -> Result<(Outcome, Summary), Failure> {
        let mut reading = true;
        let mut flushed = true;
        let mut closed = false;
        loop {
            match self.write_ready(sink, bar)? {
                0 => {}
                _ => flushed = false,
            }
            if self.interrupt.is_raised() {
                reading = false;
            }
            let room = reading && self.window.len() < REORDER_WINDOW && self.batch.has_room();
            if !room && self.under_way.is_empty() && !reading {
                break;
            }
            // What is there already is taken before the output is flushed, so that a flush covers
            // many results and none waits for the next call to end.
            if !self.under_way.is_empty()
                && let Some(Some((position, result))) = self.batch.next().now_or_never()
            {
                self.ended(position, result);
                continue;
            }
            if room && let Ok(line) = self.lines.try_recv() {
                reading = self.take(Some(line));
                continue;
            }
            if !flushed {
                flushed = true;
                if sink.flush()? == Outcome::OutputClosed {
                    closed = true;
                    break;
                }
            }
            tokio::select! {
                Some((position, result)) = self.batch.next(), if !self.under_way.is_empty() => {
                    self.ended(position, result);
                }
                line = self.lines.recv(), if room => reading = self.take(line),
                () = self.interrupt.raised(), if reading => reading = false,
            }
        }
        closed |= sink.flush()? == Outcome::OutputClosed;
        self.summary.finish();
        if let Some(ReadFailed(message)) = self.read_failed {
            return Err(Failure::usage(message));
        }
        let outcome = if closed {
            Outcome::OutputClosed
        } else if self.interrupt.is_raised() {
            Outcome::Interrupted
        } else if self.summary.failed() > 0 {
            Outcome::SomeFailed
        } else {
            Outcome::Fine
        };
        Ok((outcome, self.summary))
    }

    /// Takes a line in; gives whether there may be more.
    fn take(&mut self, line: Option<Result<Line, ReadFailed>>) -> bool {
        let line = match line {
            None => return false,
            Some(Err(failed)) => {
                self.read_failed = Some(failed);
                return false;
            }
            Some(Ok(line)) => line,
        };
        let result = match &line.value {
            Ok(value) => {
                let position = self.batch.push(value);
                self.under_way.insert(position, self.written + self.window.len());
                None
            }
            Err(message) => {
                let message = format!("the line is not JSON: {message}");
                Some(Err(Error::new(ErrorKind::InvalidArguments, message)))
            }
        };
        self.window.push_back(Entry { line, submitted: Instant::now(), result });
        true
    }

    fn ended(&mut self, position: usize, result: Result<Value, Error>) {
        let entry = self.under_way.remove(&position).and_then(|place| {
            // Only what is not under way any more leaves the window, so the place is still in it.
            self.window.get_mut(place - self.written)
        });
        if let Some(entry) = entry {
            self.summary.call_ended(entry.submitted.elapsed());
            entry.result = Some(result);
        }
    }

    /// Writes the results whose turn it is; gives how many.
    fn write_ready(&mut self, sink: &mut Sink, bar: &ProgressBar) -> Result<usize, Failure> {
        let mut count = 0;
        while let Some(Entry { result: Some(_), .. }) = self.window.front() {
            let Some(Entry { line, result: Some(result), .. }) = self.window.pop_front() else {
                break;
            };
            self.written += 1;
            count += 1;
            self.summary.line_ended(result.is_ok());
            bar.inc(line.bytes);
            sink.write(&Record { line: &line, result: &result })?;
        }
        if count > 0 {
            bar.set_message(self.summary.message());
        }
        Ok(count)
    }
}
