//! What becomes of what workers print: how loud it is told, how much of it, and what is kept.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::units::format_size;

/// What becomes of what a pool's workers print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logs {
    /// Level of events of lines on standard output.
    pub stdout: LogLevel,
    /// Level of events of lines on standard error.
    pub stderr: LogLevel,
    /// Lines a second that become events, for each stream of a worker.
    pub lines_per_second: usize,
    /// Bytes of a line; the rest is left out.
    pub max_line: u64,
    /// Lines of standard error that are kept for the error of a worker that dies.
    pub tail: usize,
}

/// How loud something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogLevel {
    /// Not at all.
    Off,
    /// As an error.
    Error,
    /// As a warning.
    Warn,
    /// As what is worth knowing.
    Info,
    /// For debugging.
    Debug,
    /// For following each step.
    Trace,
}

pub(crate) const DEFAULT_LEVEL: LogLevel = LogLevel::Info;
pub(crate) const DEFAULT_LINES_PER_SECOND: u64 = 200;
/// Long enough for a deep traceback's line.
pub(crate) const DEFAULT_MAX_LINE: u64 = 4096;
pub(crate) const DEFAULT_TAIL: u64 = 40;

impl LogLevel {
    const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    pub(crate) const NAMES: [&str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].name();
            at += 1;
        }
        names
    };

    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl Serialize for Logs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stdout", self.stdout.name())?;
        map.serialize_entry("stderr", self.stderr.name())?;
        map.serialize_entry("lines_per_second", &self.lines_per_second)?;
        map.serialize_entry("max_line", &format_size(self.max_line))?;
        map.serialize_entry("tail", &self.tail)?;
        map.end()
    }
}
