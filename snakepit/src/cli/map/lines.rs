//! JSON lines in, one at a time and never all at once. Owns line numbers and what a line that is not
//! JSON becomes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use snakepit::Value;
use tokio::sync::mpsc;

use crate::cli::diagnostic::Failure;

/// Lines read ahead: reading and parsing hide behind the calls.
const READ_AHEAD: usize = 256;

/// Input that is read from the calling thread until [`start`](Self::start).
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    bytes: Option<u64>,
    /// Physical lines read so far.
    number: u64,
    buffer: Vec<u8>,
}

/// One line with something on it.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number in the input, from 1.
    pub(super) number: u64,
    /// Its size with the line end, in bytes.
    pub(super) bytes: u64,
    /// The text without the line end.
    pub(super) text: String,
    /// What it says, or why it says nothing.
    pub(super) value: Result<Value, String>,
}

/// Why there are no more lines.
#[derive(Debug)]
pub(super) struct ReadFailed(pub(super) String);

impl Lines {
    /// Opens a file, or standard input for none and `-`.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self::new(BufReader::new(std::io::stdin())));
        };
        let failed = |error: std::io::Error| {
            Failure::usage(format!("cannot read {}: {error}", path.display()))
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{} is a directory", path.display())));
        }
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self { bytes, ..Self::new(BufReader::with_capacity(1 << 16, file)) })
    }

    pub(super) fn new(reader: impl BufRead + Send + 'static) -> Self {
        Self { reader: Box::new(reader), bytes: None, number: 0, buffer: Vec::new() }
    }

    /// Size of the input, where it is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Passes over lines that a run before this one has done; gives how many there were and the
    /// number of the last one.
    pub(super) fn skip(&mut self, lines: u64) -> std::io::Result<(u64, u64)> {
        let mut skipped = 0;
        while skipped < lines {
            match self.read()? {
                Some(bytes) => {
                    skipped += 1;
                    if let Some(left) = &mut self.bytes {
                        *left = left.saturating_sub(bytes);
                    }
                }
                None => break,
            }
        }
        Ok((skipped, self.number))
    }

    /// Reads on from a thread of its own, which nobody waits for: standard input may never end.
    pub(super) fn start(mut self) -> mpsc::Receiver<Result<Line, ReadFailed>> {
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        std::thread::spawn(move || {
            loop {
                let line = match self.read() {
                    Ok(Some(bytes)) => Ok(self.line(bytes)),
                    Ok(None) => return,
                    Err(error) => Err(ReadFailed(format!("cannot read the input: {error}"))),
                };
                let last = line.is_err();
                // Nobody listens once the run is over.
                if sender.blocking_send(line).is_err() || last {
                    return;
                }
            }
        });
        receiver
    }

    /// Reads up to the end of the next line that is not blank; gives its size.
    fn read(&mut self) -> std::io::Result<Option<u64>> {
        let mut bytes = 0;
        loop {
            self.buffer.clear();
            let read = self.reader.read_until(b'\n', &mut self.buffer)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            bytes += read as u64;
            if !self.buffer.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(bytes));
            }
        }
    }

    fn line(&self, bytes: u64) -> Line {
        let text = self.buffer.trim_ascii();
        // A byte order mark is not JSON, but some programs begin every file with one.
        let text = if self.number == 1 {
            text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
        } else {
            text
        };
        let (text, value) = match std::str::from_utf8(text) {
            Ok(text) => {
                let value = Value::from_json_text(text).map_err(|error| error.to_string());
                (text.to_owned(), value)
            }
            Err(error) => (String::from_utf8_lossy(text).into_owned(), Err(error.to_string())),
        };
        Line { number: self.number, bytes, text, value }
    }
}
