//! How a call can fail, before it becomes a frame.
//!
//! Owns the mapping from what went wrong to the kinds of the contract. Invariant: every failure
//! says what to do about it where there is something to do.

use std::collections::HashMap;
use std::time::Instant;

use pyo3::create_exception;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use snakepit_proto::v1::{self, ErrorKind};

use super::exception;
use super::tool_error::tool_call_behind;
use crate::call::{CallState, StopReason};
use crate::codec::{DecodeError, EncodeError};
use crate::tool::{Refusal, Tool, nearest};

create_exception!(
    snakepit,
    Cancelled,
    PyBaseException,
    "Raised by `context.check_cancelled()` when nobody waits for the call any more.\n\n\
     It is no `Exception`, so that a tool's own `except Exception` does not hold it up."
);

/// Why a call has no result.
#[derive(Debug)]
pub(super) struct Failure {
    kind: ErrorKind,
    message: String,
    help: String,
    exception: Option<Box<v1::PythonException>>,
    details: HashMap<String, String>,
    /// The failed tool call of the host that it stems from; 0 if from none.
    tool_call_id: u64,
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            help: String::new(),
            exception: None,
            details: HashMap::new(),
            tool_call_id: 0,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    fn detail(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.details.insert(name.to_owned(), value);
        }
        self
    }

    /// The deadline passed while the call waited.
    pub(super) fn expired() -> Self {
        Self::new(ErrorKind::Deadline, "the deadline passed before the call was started")
    }

    /// The call ended because it was told to.
    pub(super) fn stopped(reason: StopReason) -> Self {
        match reason {
            StopReason::Cancelled => Self::new(ErrorKind::Cancelled, "the call was cancelled"),
            StopReason::Deadline => {
                Self::new(ErrorKind::Deadline, "the tool stopped because its deadline passed")
            }
        }
    }

    pub(super) fn unknown_command<'a>(command: &str, tools: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<_> = tools.collect();
        names.sort_unstable();
        let near = nearest(command, names.iter().copied());
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "the adapter has no tools".to_owned(),
            None => format!("its tools are {}", names.join(", ")),
        };
        Self::new(ErrorKind::UnknownCommand, format!("the adapter has no tool `{command}`"))
            .help(help)
            .detail("nearest", near.unwrap_or_default())
            .detail("tools", names.join(", "))
    }

    pub(super) fn streaming_mismatch(command: &str, streams: bool) -> Self {
        let (message, help) = if streams {
            ("yields a stream of items", "call it as a stream")
        } else {
            ("returns one value", "call it without streaming, or make it a generator")
        };
        Self::new(ErrorKind::StreamingMismatch, format!("tool `{command}` {message}")).help(help)
    }

    pub(super) fn decode(error: &DecodeError) -> Self {
        let message = format!("the arguments cannot be decoded: {}", error.message());
        Self::new(ErrorKind::Decode, message)
    }

    pub(super) fn arguments(tool: &Tool, refusal: Refusal) -> Self {
        Self::new(ErrorKind::InvalidArguments, format!("`{}`: {}", tool.name, refusal.message))
            .help(refusal.help)
            .detail("parameter", refusal.parameter)
            .detail("expected", refusal.expected)
    }

    /// `root` is what the object is called: `result` or `chunk`.
    pub(super) fn encode(error: &EncodeError, root: &str) -> Self {
        if error.is_too_large() {
            return Self::new(ErrorKind::PayloadTooLarge, error.describe(root))
                .help("return less, or raise the pool's payload limit");
        }
        if error.is_unshared() {
            return Self::new(ErrorKind::ShmUnavailable, error.describe(root))
                .help("raise the pool's `shm.quota`, or set `shm.mode` to \"auto\"");
        }
        Self::new(ErrorKind::Encode, error.describe(root))
            .help("return plain values, or give the type a `to_dict` method")
            .detail("path", error.path(root))
            .detail("type", error.type_name().unwrap_or_default())
    }

    /// The tool raised.
    pub(super) fn raised(py: Python<'_>, error: &PyErr, call: &CallState) -> Self {
        if error.is_instance_of::<Cancelled>(py) {
            return Self::stopped(call.stop_reason().unwrap_or(StopReason::Cancelled));
        }
        let exception = exception::describe(py, error);
        let message = match &*exception.message {
            "" => exception.type_name.clone(),
            text => format!("{}: {text}", exception.type_name),
        };
        Self {
            exception: Some(Box::new(exception)),
            tool_call_id: tool_call_behind(py, error),
            ..Self::new(ErrorKind::Python, message)
        }
    }

    /// Something of the worker's own raised.
    pub(super) fn internal(py: Python<'_>, error: &PyErr) -> Self {
        Self {
            exception: Some(Box::new(exception::describe(py, error))),
            ..Self::new(ErrorKind::Internal, format!("the worker itself failed: {error}"))
        }
    }

    /// The frame; `entered` is when the tool was entered, if it was.
    pub(super) fn into_frame(self, call_id: u64, entered: Option<Instant>) -> v1::Error {
        v1::Error {
            call_id,
            kind: self.kind.into(),
            message: self.message,
            help: self.help,
            exception: self.exception.map(|exception| *exception),
            details: self.details,
            run_us: entered.map_or(0, |entered| entered.elapsed().as_micros() as u64),
            started: entered.is_some(),
            tool_call_id: self.tool_call_id,
        }
    }
}
