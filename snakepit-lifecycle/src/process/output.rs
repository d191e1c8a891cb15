//! A child's output, read always and turned into events.
//!
//! Owns the limits that keep a noisy child from costing more than itself: the length of a line and
//! the lines a second. Invariant: a pipe is read whether or not anybody listens, so a child never
//! blocks on its output.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::Instant;

use super::spec::Label;

/// Longest line of an event; the rest of it is left out. Long enough for a deep traceback line.
const LINE_BYTES: usize = 4096;

/// Lines a second that become events, for each stream of a child.
const LINES_PER_SECOND: u32 = 200;

/// Lines of stderr kept for errors.
const TAIL_LINES: usize = 40;

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
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
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
                self.lines.feed(&buffer[..n], |line| self.events.line(line));
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
                self.lines.feed(&buffer[..n], |line| self.events.line(line));
                true
            }
            _ => false,
        }
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
    fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            self.extend(&bytes[..end]);
            self.emit(&mut each);
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.emit(&mut each);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES - self.line.len();
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
    told: u32,
    left_out: u64,
}

impl Events {
    fn line(&mut self, line: &str) {
        if let Some(tail) = &self.tail {
            tail.push(line);
        }
        let now = Instant::now();
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.tell_left_out();
            self.second = now;
            self.told = 0;
        }
        if self.told == LINES_PER_SECOND {
            self.left_out += 1;
            return;
        }
        self.told += 1;
        self.emit(line);
    }

    fn tell_left_out(&mut self) {
        if self.left_out > 0 {
            let lines = std::mem::take(&mut self.left_out);
            self.emit(&format!("… {lines} lines left out: more than {LINES_PER_SECOND} a second"));
        }
    }

    fn emit(&self, line: &str) {
        let Label { pool, worker, call } = &self.label;
        // At the moment the line is read: some microseconds after it was written.
        let call = call.as_ref().and_then(|current| current.0()).map(tracing::field::display);
        match self.stream {
            Stream::Stdout => {
                tracing::info!(target: "snakepit::worker::stdout", %worker, %pool, call, "{line}");
            }
            Stream::Stderr => {
                tracing::info!(target: "snakepit::worker::stderr", %worker, %pool, call, "{line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut out = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.feed(chunk, |line| out.push(line.to_owned()));
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
        let long = vec![b'x'; 3 * LINE_BYTES];
        let out = lines(&[&long, &long, b"\nnext\n"]);
        assert_eq!(out.len(), 2);
        assert!(out[0].len() < LINE_BYTES + 32 && out[0].ends_with("(line cut)"));
        assert_eq!(out[1], "next");
    }
}
