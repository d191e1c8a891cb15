//! A child's output, read always and turned into events.
//!
//! Owns the limits that keep a noisy child from costing more than itself: the length of a line and
//! the lines a second. Invariant: a pipe is read whether or not anybody listens, so a child never
//! blocks on its output.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Level;

use super::spec::Label;

/// What becomes of what a child writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputOptions {
    /// Level of events of lines on standard output; `None` tells of none.
    pub stdout: Option<Level>,
    /// Level of events of lines on standard error; `None` tells of none.
    pub stderr: Option<Level>,
    /// Lines a second that become events, for each stream of a child.
    pub lines_per_second: usize,
    /// Longest line in bytes; the rest of it is left out.
    pub line_bytes: usize,
    /// Lines of stderr kept for errors.
    pub tail_lines: usize,
}

impl Default for OutputOptions {
    /// Both streams at level info, 200 lines a second, lines long enough for a deep traceback's, 40
    /// of them kept.
    fn default() -> Self {
        Self {
            stdout: Some(Level::INFO),
            stderr: Some(Level::INFO),
            lines_per_second: 200,
            line_bytes: 4096,
            tail_lines: 40,
        }
    }
}

/// The options that children share; a change holds for those that run, from their next line on.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Mutex<OutputOptions>>);

impl Output {
    /// Sets them to begin with.
    pub fn new(options: OutputOptions) -> Self {
        Self(Arc::new(Mutex::new(options)))
    }

    /// What they are.
    pub fn get(&self) -> OutputOptions {
        *self.lock()
    }

    /// Changes them.
    pub fn set(&self, options: OutputOptions) {
        *self.lock() = options;
    }

    fn lock(&self) -> MutexGuard<'_, OutputOptions> {
        // Nothing panics under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most that is read after the child has ended, should an escaped grandchild go on writing.
const LAST_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// The last lines of stderr.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: &str, most: usize) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while lines.len() >= most.max(1) {
            lines.pop_front();
        }
        if most > 0 {
            lines.push_back(line.to_owned());
        }
    }

    pub(super) fn lines(&self) -> Arc<[String]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Reads one pipe.
pub(super) struct Pump {
    pipe: pipe::Receiver,
    lines: Lines,
    events: Events,
}

impl Pump {
    pub(super) fn new(
        pipe: OwnedFd,
        stream: Stream,
        label: Label,
        tail: Option<Tail>,
    ) -> io::Result<Self> {
        let pipe = pipe::Receiver::from_owned_fd(pipe)?;
        let events = Events { stream, label, tail, second: Instant::now(), told: 0, left_out: 0 };
        Ok(Self { pipe, lines: Lines::default(), events })
    }

    /// Reads until the pipe ends, or until `stopped` and the pipe is empty.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<()>) {
        let mut buffer = vec![0; 8192];
        loop {
            let ready = tokio::select! {
                ready = self.pipe.readable() => ready,
                // The sender says nothing: it is dropped when the child has ended.
                _ = stopped.changed() => break,
            };
            if ready.is_err() || !self.take(&mut buffer) {
                return self.finish();
            }
        }
        let mut read = 0;
        while read < LAST_BYTES && self.pipe_has_more(&mut buffer, &mut read) {}
        self.finish();
    }

    /// Reads once; `false` at the end.
    fn take(&mut self, buffer: &mut [u8]) -> bool {
        match self.pipe.try_read(buffer) {
            Ok(0) => false,
            Ok(n) => {
                self.feed(&buffer[..n]);
                true
            }
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Reads once without waiting; `false` when there is nothing.
    fn pipe_has_more(&mut self, buffer: &mut [u8], read: &mut usize) -> bool {
        match self.pipe.try_read(buffer) {
            Ok(n) if n > 0 => {
                *read += n;
                self.feed(&buffer[..n]);
                true
            }
            _ => false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let most = self.events.label.output.get().line_bytes;
        self.lines.feed(bytes, most, |line| self.events.line(line));
    }

    fn finish(mut self) {
        self.lines.finish(|line| self.events.line(line));
        self.events.tell_left_out();
    }
}

/// Cuts bytes into lines of limited length.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    cut: bool,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], most: usize, mut each: impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            self.extend(&bytes[..end], most);
            self.emit(&mut each);
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes, most);
    }

    fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.emit(&mut each);
        }
    }

    fn extend(&mut self, bytes: &[u8], most: usize) {
        // Less than none, if that has been changed within the line.
        let room = most.saturating_sub(self.line.len());
        self.cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn emit(&mut self, each: &mut impl FnMut(&str)) {
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let mut text = String::from_utf8_lossy(&self.line);
        if self.cut {
            text.to_mut().push_str(" … (line cut)");
        }
        each(&text);
        self.line.clear();
        self.cut = false;
    }
}

/// Turns lines into events, at most so many a second.
struct Events {
    stream: Stream,
    label: Label,
    tail: Option<Tail>,
    second: Instant,
    told: usize,
    left_out: u64,
}

impl Events {
    fn line(&mut self, line: &str) {
        let options = self.label.output.get();
        if let Some(tail) = &self.tail {
            tail.push(line, options.tail_lines);
        }
        let now = Instant::now();
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.tell_left_out();
            self.second = now;
            self.told = 0;
        }
        if self.told >= options.lines_per_second {
            self.left_out += 1;
            return;
        }
        self.told += 1;
        self.emit(line);
    }

    fn tell_left_out(&mut self) {
        if self.left_out > 0 {
            let lines = std::mem::take(&mut self.left_out);
            let most = self.label.output.get().lines_per_second;
            self.emit(&format!("… {lines} lines left out: more than {most} a second"));
        }
    }

    fn emit(&self, line: &str) {
        /// The level of an event is part of where it is in the program.
        macro_rules! tell {
            ($target:literal, $level:expr, $($event:tt)*) => {
                match $level {
                    Level::ERROR => tracing::error!(target: $target, $($event)*),
                    Level::WARN => tracing::warn!(target: $target, $($event)*),
                    Level::INFO => tracing::info!(target: $target, $($event)*),
                    Level::DEBUG => tracing::debug!(target: $target, $($event)*),
                    Level::TRACE => tracing::trace!(target: $target, $($event)*),
                }
            };
        }
        let Label { pool, worker, call, output } = &self.label;
        let options = output.get();
        let level = match self.stream {
            Stream::Stdout => options.stdout,
            Stream::Stderr => options.stderr,
        };
        let Some(level) = level else { return };
        // At the moment the line is read: some microseconds after it was written.
        let call = call.as_ref().and_then(|current| current.0()).map(tracing::field::display);
        match self.stream {
            Stream::Stdout => {
                tell!("snakepit::worker::stdout", level, %worker, %pool, call, "{line}");
            }
            Stream::Stderr => {
                tell!("snakepit::worker::stderr", level, %worker, %pool, call, "{line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 4096;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut out = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.feed(chunk, MOST, |line| out.push(line.to_owned()));
        }
        lines.finish(|line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn lines_come_out_whole_however_they_were_read() {
        assert_eq!(lines(&[b"one\ntw", b"o\r\n", b"\nlast"]), ["one", "two", "", "last"]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn a_line_without_end_is_cut_and_says_so() {
        let long = vec![b'x'; 3 * MOST];
        let out = lines(&[&long, &long, b"\nnext\n"]);
        assert_eq!(out.len(), 2);
        assert!(out[0].len() < MOST + 32 && out[0].ends_with("(line cut)"));
        assert_eq!(out[1], "next");
    }

    #[test]
    fn a_line_that_is_longer_than_it_may_be_by_now_is_cut_there() {
        let mut out = Vec::new();
        let mut lines = Lines::default();
        lines.feed(b"twelve bytes", 100, |_| panic!("it goes on"));
        lines.feed(b" and more\n", 5, |line| out.push(line.to_owned()));
        assert_eq!(out, ["twelve bytes … (line cut)"]);
    }
}
