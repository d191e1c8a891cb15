//! Results and failures out. Owns the form of a line, the files, and the promise that a failure is
//! on disk before the output counts its line as done.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use snakepit::{Error, JsonText, Value};

use super::lines::{Line, Lines};
use super::{resume, written};
use crate::cli::Outcome;
use crate::cli::diagnostic::Failure;

/// Where results go.
pub(super) struct Sink {
    output: Box<dyn Write + Send>,
    /// Complete lines that a run before this one left, and that this one keeps.
    done: u64,
    resume: bool,
    failures: Option<Failures>,
    /// Once the reader has gone away nothing more is written.
    closed: bool,
}

struct Failures {
    path: PathBuf,
    file: BufWriter<File>,
}

/// One line of the run.
pub(super) struct Record<'a> {
    pub(super) line: &'a Line,
    pub(super) result: &'a Result<Value, Error>,
}

impl Sink {
    /// Opens the output, or standard output for none.
    pub(super) fn open(
        output: Option<&Path>,
        failures: Option<&Path>,
        resume: bool,
        overwrite: bool,
    ) -> Result<Self, Failure> {
        let (output, done): (Box<dyn Write + Send>, u64) = match output {
            None => (Box::new(BufWriter::new(std::io::stdout())), 0),
            Some(path) => {
                let (file, done) = resume::open_output(path, resume, overwrite)?;
                (Box::new(BufWriter::new(file)), done)
            }
        };
        let failures = match failures {
            None => None,
            Some(path) => {
                let file = resume::open_failures(path, resume)?;
                Some(Failures { path: path.to_owned(), file: BufWriter::new(file) })
            }
        };
        Ok(Self { output, done, resume, failures, closed: false })
    }

    /// A sink into memory or the like.
    #[cfg(test)]
    pub(super) fn into_writer(output: impl Write + Send + 'static) -> Self {
        Self { output: Box::new(output), done: 0, resume: false, failures: None, closed: false }
    }

    /// Passes over the inputs of lines that are done; gives how many.
    pub(super) fn skip_done(&mut self, lines: &mut Lines) -> Result<u64, Failure> {
        let (skipped, last) = lines
            .skip(self.done)
            .map_err(|error| Failure::usage(format!("cannot read the input: {error}")))?;
        if skipped < self.done {
            return Err(Failure::usage(format!(
                "the output has {} lines but the input only {skipped}: this is not its input",
                self.done
            )));
        }
        if let Some(failures) = self.failures.as_mut().filter(|_| self.resume) {
            // A failure is written before its line of output; the run may have ended in between.
            let file = resume::keep_failures(&failures.path, last)?;
            failures.file = BufWriter::new(file);
        }
        Ok(skipped)
    }

    /// Writes one line, and the failure if it is one.
    pub(super) fn write(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let number = record.line.number;
        let result = match record.result {
            Ok(value) => writeln!(self.output, "{}", JsonText(value)),
            Err(error) => {
                if let Some(failures) = &mut self.failures {
                    failures.write(record.line, error)?;
                }
                writeln!(self.output, "{}", json!({"line": number, "error": error}))
            }
        };
        self.closed |= written(result)? == Outcome::OutputClosed;
        Ok(())
    }

    /// Hands everything to the system.
    pub(super) fn flush(&mut self) -> Result<Outcome, Failure> {
        if !self.closed {
            self.closed = written(self.output.flush())? == Outcome::OutputClosed;
        }
        Ok(if self.closed { Outcome::OutputClosed } else { Outcome::Fine })
    }
}

impl Failures {
    fn write(&mut self, line: &Line, error: &Error) -> Result<(), Failure> {
        // A line that is no JSON is kept as text.
        let input = match &line.value {
            Ok(value) => JsonText(value).to_string(),
            Err(_) => JsonText(&Value::from(line.text.as_str())).to_string(),
        };
        let error = json!(error);
        let text = format!("{{\"line\":{},\"input\":{input},\"error\":{error}}}", line.number);
        writeln!(self.file, "{text}").and_then(|()| self.file.flush()).map_err(|error| {
            Failure::usage(format!("cannot write {}: {error}", self.path.display()))
        })
    }
}
