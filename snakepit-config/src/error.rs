//! What is wrong with settings, all of it at once. Owns the report's form; finds nothing itself.

use std::fmt;

use serde::Serialize;

use crate::node::Place;

/// Settings that cannot be used: every problem, in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Report(self))]
pub struct ConfigError {
    source_name: Option<String>,
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// What kind of thing.
    pub code: Code,
    /// The setting, as `pool.default.workers`; empty when it is the whole document.
    pub path: String,
    /// One sentence, lowercase, without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Where it stands, when the setting came from text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The environment variable that set it, when one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<Box<str>>,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// The kinds of problems; [`as_str`](Self::as_str) is the stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// The file cannot be read.
    Unreadable,
    /// The text is not what its format asks for.
    Syntax,
    /// The text is larger or nested deeper than any settings are.
    TooLarge,
    /// There is no such key.
    UnknownKey,
    /// A value has the wrong type, form or range.
    InvalidValue,
    /// No profile has that name.
    InvalidProfile,
    /// The number of workers is out of range.
    InvalidPoolSize,
    /// A worker's greatest age has the wrong form or range.
    InvalidWorkerTtl,
    /// The number of calls a worker may serve has the wrong form or range.
    InvalidWorkerMaxRequests,
    /// A setting without a default is absent.
    MissingRequiredFields,
    /// Two pools have one name.
    DuplicatePoolNames,
    /// There is no pool at all.
    NoPoolsConfigured,
}

impl Code {
    /// The kind's stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::TooLarge => "too_large",
            Self::UnknownKey => "unknown_key",
            Self::InvalidValue => "invalid_value",
            Self::InvalidProfile => "invalid_profile",
            Self::InvalidPoolSize => "invalid_pool_size",
            Self::InvalidWorkerTtl => "invalid_worker_ttl",
            Self::InvalidWorkerMaxRequests => "invalid_worker_max_requests",
            Self::MissingRequiredFields => "missing_required_fields",
            Self::DuplicatePoolNames => "duplicate_pool_names",
            Self::NoPoolsConfigured => "no_pools_configured",
        }
    }
}

impl ConfigError {
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        // Problems without a place (something absent) come after those that have one.
        problems.sort_by_key(|p| p.position.map_or((usize::MAX, 0), |at| (at.line, at.column)));
        Self { source_name: None, problems }
    }

    pub(crate) fn one(problem: Problem) -> Self {
        Self::new(vec![problem])
    }

    /// The same problems, found in the text of this name.
    #[must_use]
    pub fn of_source(mut self, source: impl fmt::Display) -> Self {
        self.source_name = Some(source.to_string());
        self
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Every problem; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The file the settings came from, if they came from one.
    pub fn source_name(&self) -> Option<&str> {
        self.source_name.as_deref()
    }
}

impl Problem {
    pub(crate) fn new(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            path: path.into(),
            message: message.into(),
            help: None,
            position: None,
            variable: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn at(mut self, place: Option<Place>) -> Self {
        match place {
            Some(Place::Text(position)) => self.position = Some(position),
            Some(Place::Variable(name)) => self.variable = Some((&*name).into()),
            Some(Place::Default | Place::Builder) | None => {}
        }
        self
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// `path: message (help)`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// `InvalidConfig`; each problem is also a detail under its path.
#[cfg(feature = "core")]
impl From<ConfigError> for snakepit_core::Error {
    fn from(error: ConfigError) -> Self {
        let message = match error.problems() {
            [_] => error.to_string(),
            many => format!("{} problems in the settings:\n{error}", many.len()),
        };
        let start = Self::new(snakepit_core::ErrorKind::InvalidConfig, message);
        error.problems.iter().fold(start, |error, problem| {
            let what = format!("{}: {}", problem.code.as_str(), problem.message);
            error.with_detail(problem.path.clone(), what)
        })
    }
}

struct Report<'a>(&'a ConfigError);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.problems.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            match (&self.0.source_name, problem.position, &problem.variable) {
                (_, _, Some(variable)) => write!(f, "{variable}: ")?,
                (Some(source), Some(at), None) => write!(f, "{source}:{at}: ")?,
                (Some(source), None, None) => write!(f, "{source}: ")?,
                (None, Some(at), None) => write!(f, "{at}: ")?,
                (None, None, None) => {}
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
