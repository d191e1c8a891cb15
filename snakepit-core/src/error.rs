//! The one error type callers see. Its kinds are `kind`'s, how grave each is and what to do about it
//! `taxonomy`'s, Python exceptions `python`'s, the JSON form `json`'s; the conversion from wire
//! messages and process exits belongs to whoever meets those.

mod json;
mod kind;
mod python;
mod python_kind;
mod taxonomy;

use std::collections::BTreeMap;
use std::fmt;

pub use kind::{ErrorKind, Phase};
pub use python::{PythonException, PythonFrame};
pub use python_kind::PythonKind;
pub use taxonomy::{Category, RetryAdvice, Severity};

/// Why something failed.
///
/// `Display` is one sentence; [`help`](Self::help) says what to do about it and
/// [`python`](Self::python) holds the exception a tool raised. Where it belongs, how grave it is
/// and whether to try again is asked of [`category`](Self::category),
/// [`severity`](Self::severity) and [`advice`](Self::advice). It serializes into the JSON form that
/// the command line prints, and is read back from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    /// Where it differs from what the kind implies.
    severity: Option<Severity>,
    message: String,
    help: Option<String>,
    details: BTreeMap<String, String>,
    python: Option<PythonException>,
    cause: Option<Error>,
}

impl Error {
    /// Makes an error; `message` is one sentence, lowercase, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            severity: None,
            message: message.into(),
            help: None,
            details: BTreeMap::new(),
            python: None,
            cause: None,
        }))
    }

    /// A failure of a tool of the host, for the tool to return. Python sees `kind` as the kind of its
    /// `ToolError`; `message` is one sentence, lowercase, without a full stop.
    pub fn tool(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ToolFailed, message).with_detail("kind", kind)
    }

    /// Adds what to do about it; an empty text adds nothing.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into()).filter(|help| !help.is_empty());
        self
    }

    /// Adds one named particular.
    #[must_use]
    pub fn with_detail(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.details.insert(name.into(), value.into());
        self
    }

    /// Adds the exception a tool raised.
    #[must_use]
    pub fn with_python(mut self, exception: PythonException) -> Self {
        self.0.python = Some(exception);
        self
    }

    /// Says how grave it is where that differs from what its kind implies.
    #[must_use]
    pub fn with_severity(mut self, severity: Severity) -> Self {
        self.0.severity = Some(severity);
        self
    }

    /// Adds the error it stems from.
    #[must_use]
    pub fn with_cause(mut self, cause: Self) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The part of the system it belongs to.
    pub fn category(&self) -> Category {
        self.0.kind.category()
    }

    /// How grave it is.
    pub fn severity(&self) -> Severity {
        let used_up = || self.python_kind().is_some_and(PythonKind::is_out_of_memory);
        match self.0.severity {
            Some(severity) => severity,
            None if used_up() => Severity::Critical,
            None => self.0.kind.severity(),
        }
    }

    /// Whether to try again, after a first attempt.
    pub fn advice(&self) -> RetryAdvice {
        self.advice_at(1)
    }

    /// Whether to try again when attempt number `attempt` has failed; the first is 1.
    pub fn advice_at(&self, attempt: u32) -> RetryAdvice {
        RetryAdvice::of(self.category(), self.severity(), attempt)
    }

    /// One sentence for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// Named particulars, such as `parameter` or `worker`.
    pub fn details(&self) -> &BTreeMap<String, String> {
        &self.0.details
    }

    /// The exception a tool raised.
    pub fn python(&self) -> Option<&PythonException> {
        self.0.python.as_ref()
    }

    /// What kind of exception a tool raised.
    pub fn python_kind(&self) -> Option<PythonKind> {
        self.python().map(PythonException::kind)
    }

    /// The error it stems from: of a call that failed because a tool of the host did, the tool's.
    pub fn cause(&self) -> Option<&Self> {
        self.0.cause.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("Error");
        s.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(help) = &self.0.help {
            s.field("help", help);
        }
        if !self.0.details.is_empty() {
            s.field("details", &self.0.details);
        }
        if let Some(python) = &self.0.python {
            s.field("python", &format_args!("{}", python.summary()));
        }
        if let Some(cause) = &self.0.cause {
            s.field("cause", cause);
        }
        s.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}
