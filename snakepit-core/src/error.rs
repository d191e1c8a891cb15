//! The one error type callers see. Owns its kinds and how grave each is; the conversion from wire
//! messages and process exits belongs to whoever meets those.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Why something failed.
///
/// `Display` is one sentence; [`help`](Self::help) says what to do about it and
/// [`python`](Self::python) holds the exception a tool raised.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    help: Option<String>,
    details: BTreeMap<String, String>,
    python: Option<PythonException>,
}

/// What went wrong, by name; [`code`](Self::code) is the name's stable text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong.
    InvalidConfig,
    /// There is no interpreter where one was named.
    InterpreterNotFound,
    /// The interpreter cannot run workers.
    InterpreterUnsupported,
    /// The interpreter has no worker package.
    WorkerPackageMissing,
    /// Host and worker package come from different releases.
    VersionMismatch,
    /// The adapter could not be imported or set up.
    AdapterFailed,
    /// A worker ended before it was ready, or could not be launched.
    StartFailed,
    /// There is no pool of that name.
    PoolNotFound,
    /// The pool takes no calls any more.
    PoolClosed,
    /// The pool's queue is full.
    PoolSaturated,
    /// There is no worker of that id.
    WorkerNotFound,
    /// The named worker runs one call at a time, and has one.
    WorkerBusy,
    /// The named worker runs several calls at a time, and all its slots are taken.
    WorkerAtCapacity,
    /// Time ran out, in the named phase.
    Timeout(Phase),
    /// The call was cancelled.
    Cancelled,
    /// The worker died while it had the call.
    WorkerLost {
        /// Whether the tool had been entered, and may have had effects.
        maybe_executed: bool,
    },
    /// The adapter has no tool of that name.
    UnknownCommand,
    /// The arguments do not fit the tool.
    InvalidArguments,
    /// A value could not be encoded.
    EncodeFailed,
    /// Bytes could not be decoded.
    DecodeFailed,
    /// A payload is over the limit.
    PayloadTooLarge,
    /// A stream was asked of a tool that yields none.
    StreamingNotSupported,
    /// One value was asked of a tool that yields a stream.
    StreamingRequired,
    /// The tool raised an exception.
    Python,
    /// The other side of a link broke the protocol.
    Protocol,
    /// The operating system refused something.
    System,
    /// A defect of Snakepit itself.
    Internal,
}

/// What a timeout was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A free slot.
    Queue,
    /// The call's result.
    Call,
    /// The next chunk of a stream.
    StreamIdle,
    /// A worker's readiness.
    Start,
    /// The end of calls in flight.
    Drain,
}

/// Which part of the system a failure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// Settings and start-up.
    Initialization,
    /// Reaching a worker.
    Connection,
    /// Talking to a worker.
    Communication,
    /// Time.
    Timeout,
    /// Something is used up.
    Resource,
    /// A worker's health.
    HealthCheck,
    /// A session's worker.
    Session,
    /// What the caller handed in.
    Validation,
    /// The tool itself.
    Python,
    /// The pool.
    Pool,
    /// The operating system, or a defect.
    System,
}

impl ErrorKind {
    /// The kind's stable name, for logs and JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid_config",
            Self::InterpreterNotFound => "interpreter_not_found",
            Self::InterpreterUnsupported => "interpreter_unsupported",
            Self::WorkerPackageMissing => "worker_package_missing",
            Self::VersionMismatch => "version_mismatch",
            Self::AdapterFailed => "adapter_failed",
            Self::StartFailed => "start_failed",
            Self::PoolNotFound => "pool_not_found",
            Self::PoolClosed => "pool_closed",
            Self::PoolSaturated => "pool_saturated",
            Self::WorkerNotFound => "worker_not_found",
            Self::WorkerBusy => "worker_busy",
            Self::WorkerAtCapacity => "worker_at_capacity",
            Self::Timeout(Phase::Queue) => "queue_timeout",
            Self::Timeout(Phase::Call) => "call_timeout",
            Self::Timeout(Phase::StreamIdle) => "stream_idle_timeout",
            Self::Timeout(Phase::Start) => "start_timeout",
            Self::Timeout(Phase::Drain) => "drain_timeout",
            Self::Cancelled => "cancelled",
            Self::WorkerLost { .. } => "worker_lost",
            Self::UnknownCommand => "unknown_command",
            Self::InvalidArguments => "invalid_arguments",
            Self::EncodeFailed => "encode_failed",
            Self::DecodeFailed => "decode_failed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::StreamingNotSupported => "streaming_not_supported",
            Self::StreamingRequired => "streaming_required",
            Self::Python => "python",
            Self::Protocol => "protocol",
            Self::System => "system",
            Self::Internal => "internal",
        }
    }

    /// The kind of that name; `None` if there is none, as when a later release has made it up.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// A new kind goes here too.
    const ALL: [Self; 31] = [
        Self::InvalidConfig,
        Self::InterpreterNotFound,
        Self::InterpreterUnsupported,
        Self::WorkerPackageMissing,
        Self::VersionMismatch,
        Self::AdapterFailed,
        Self::StartFailed,
        Self::PoolNotFound,
        Self::PoolClosed,
        Self::PoolSaturated,
        Self::WorkerNotFound,
        Self::WorkerBusy,
        Self::WorkerAtCapacity,
        Self::Timeout(Phase::Queue),
        Self::Timeout(Phase::Call),
        Self::Timeout(Phase::StreamIdle),
        Self::Timeout(Phase::Start),
        Self::Timeout(Phase::Drain),
        Self::Cancelled,
        Self::WorkerLost { maybe_executed: true },
        Self::UnknownCommand,
        Self::InvalidArguments,
        Self::EncodeFailed,
        Self::DecodeFailed,
        Self::PayloadTooLarge,
        Self::StreamingNotSupported,
        Self::StreamingRequired,
        Self::Python,
        Self::Protocol,
        Self::System,
        Self::Internal,
    ];

    /// The part of the system this kind belongs to.
    pub fn category(self) -> Category {
        match self {
            Self::InvalidConfig
            | Self::InterpreterNotFound
            | Self::InterpreterUnsupported
            | Self::WorkerPackageMissing
            | Self::VersionMismatch
            | Self::AdapterFailed
            | Self::StartFailed => Category::Initialization,
            Self::PoolNotFound | Self::PoolClosed | Self::WorkerNotFound | Self::Cancelled => {
                Category::Pool
            }
            Self::PoolSaturated | Self::WorkerBusy | Self::WorkerAtCapacity => Category::Resource,
            Self::Timeout(_) => Category::Timeout,
            Self::WorkerLost { .. } => Category::Connection,
            Self::Protocol => Category::Communication,
            Self::UnknownCommand
            | Self::InvalidArguments
            | Self::EncodeFailed
            | Self::DecodeFailed
            | Self::PayloadTooLarge
            | Self::StreamingNotSupported
            | Self::StreamingRequired => Category::Validation,
            Self::Python => Category::Python,
            Self::System | Self::Internal => Category::System,
        }
    }
}

impl Error {
    /// Makes an error; `message` is one sentence, lowercase, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            help: None,
            details: BTreeMap::new(),
            python: None,
        }))
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

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The part of the system it belongs to.
    pub fn category(&self) -> Category {
        self.0.kind.category()
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
        s.finish()
    }
}

impl std::error::Error for Error {}

/// The stable JSON form: `kind`, `category`, `message`, and where present `help`, `details`,
/// `maybe_executed` and `python`.
impl Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.0.kind.code())?;
        map.serialize_entry("category", self.category().name())?;
        map.serialize_entry("message", &self.0.message)?;
        if let Some(help) = &self.0.help {
            map.serialize_entry("help", help)?;
        }
        if let ErrorKind::WorkerLost { maybe_executed } = self.0.kind {
            map.serialize_entry("maybe_executed", &maybe_executed)?;
        }
        if !self.0.details.is_empty() {
            map.serialize_entry("details", &self.0.details)?;
        }
        if let Some(python) = &self.0.python {
            map.serialize_entry("python", python)?;
        }
        map.end()
    }
}

impl Category {
    /// The category's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initialization => "initialization",
            Self::Connection => "connection",
            Self::Communication => "communication",
            Self::Timeout => "timeout",
            Self::Resource => "resource",
            Self::HealthCheck => "health_check",
            Self::Session => "session",
            Self::Validation => "validation",
            Self::Python => "python",
            Self::Pool => "pool",
            Self::System => "system",
        }
    }
}

/// An exception that Python code raised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PythonException {
    /// Type name, as `ValueError`.
    pub type_name: String,
    /// Module of the type, as `builtins`.
    pub module: String,
    /// Text of the exception.
    pub message: String,
    /// `repr` of each argument, shortened.
    pub args: Vec<String>,
    /// Names of the type's base classes, nearest first.
    pub bases: Vec<String>,
    /// The traceback, outermost frame first.
    pub frames: Vec<PythonFrame>,
    /// Lines added by `add_note`.
    pub notes: Vec<String>,
    /// The exception it was raised from, or while handling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<PythonException>>,
    /// Whether `cause` was given explicitly (`raise … from …`).
    pub explicit_cause: bool,
    /// The members of an exception group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PythonException>,
}

/// One line of a Python traceback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PythonFrame {
    /// Source file.
    pub file: String,
    /// Line number, from 1; 0 if not known.
    pub line: u32,
    /// Function.
    pub function: String,
    /// The source line; empty if not known.
    pub source: String,
}

impl PythonException {
    /// `Type: message`, as the last line of a traceback.
    pub fn summary(&self) -> String {
        let name = match self.module.as_str() {
            "" | "builtins" | "__main__" => self.type_name.clone(),
            module => format!("{module}.{}", self.type_name),
        };
        if self.message.is_empty() { name } else { format!("{name}: {}", self.message) }
    }

    /// Whether it is of the named type or of one derived from it.
    pub fn is_a(&self, type_name: &str) -> bool {
        self.type_name == type_name || self.bases.iter().any(|base| base == type_name)
    }

    /// The traceback as Python prints it, causes first.
    pub fn traceback(&self) -> String {
        let mut out = String::new();
        self.write_traceback(&mut out);
        out
    }

    fn write_traceback(&self, out: &mut String) {
        use fmt::Write;
        if let Some(cause) = &self.cause {
            cause.write_traceback(out);
            out.push_str(if self.explicit_cause {
                "\nThe above exception was the direct cause of the following exception:\n\n"
            } else {
                "\nDuring handling of the above exception, another exception occurred:\n\n"
            });
        }
        if !self.frames.is_empty() {
            out.push_str("Traceback (most recent call last):\n");
        }
        for frame in &self.frames {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  File \"{}\", line {}, in {}",
                frame.file, frame.line, frame.function
            );
            if !frame.source.is_empty() {
                let _ = writeln!(out, "    {}", frame.source);
            }
        }
        let _ = writeln!(out, "{}", self.summary());
        for note in &self.notes {
            let _ = writeln!(out, "{note}");
        }
        for (number, member) in self.members.iter().enumerate() {
            let _ = writeln!(out, "---------------- {} ----------------", number + 1);
            member.write_traceback(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind), "{}", kind.code());
        }
        assert_eq!(ErrorKind::from_code("nonsense"), None);
    }
}
