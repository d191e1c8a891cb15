//! Wire messages and core's vocabulary, turned into each other. Pure functions.

use std::collections::HashMap;
use std::time::Duration;

use snakepit_core::{
    CancelReason, Codec, Error, ErrorKind, Phase, Progress, PythonException, PythonFrame, Severity,
    Tool,
};
use snakepit_proto::v1;

pub(crate) fn codec_to_wire(codec: Codec) -> v1::Codec {
    match codec {
        Codec::Json => v1::Codec::Json,
        Codec::Raw => v1::Codec::Raw,
        // `Codec` may grow; whatever is added must get its wire form here first.
        _ => v1::Codec::Msgpack,
    }
}

pub(crate) fn codec_from_wire(codec: i32) -> Option<Codec> {
    match v1::Codec::try_from(codec).ok()? {
        v1::Codec::Unspecified => None,
        v1::Codec::Msgpack => Some(Codec::MsgPack),
        v1::Codec::Json => Some(Codec::Json),
        v1::Codec::Raw => Some(Codec::Raw),
    }
}

pub(crate) fn reason_to_wire(reason: CancelReason) -> v1::CancelReason {
    match reason {
        CancelReason::Dropped => v1::CancelReason::Dropped,
        CancelReason::Deadline => v1::CancelReason::Deadline,
        CancelReason::Shutdown => v1::CancelReason::Shutdown,
        // `CancelReason` may grow; the worker treats an unnamed reason as any other.
        _ => v1::CancelReason::Unspecified,
    }
}

/// Whole microseconds; time that is set never becomes 0, which means "not set".
pub(crate) fn timeout_to_wire(timeout: Option<Duration>) -> u64 {
    timeout.map_or(0, |left| u64::try_from(left.as_micros()).unwrap_or(u64::MAX).max(1))
}

pub(crate) fn progress(progress: v1::Progress) -> Progress {
    Progress {
        done: progress.done,
        total: Some(progress.total).filter(|total| *total > 0.0),
        message: progress.message,
    }
}

/// What an event measured, as a JSON object.
pub(crate) fn measurements(measurements: &HashMap<String, v1::Number>) -> serde_json::Value {
    let number = |number: &v1::Number| match number.value {
        Some(v1::number::Value::Integer(integer)) => integer.into(),
        Some(v1::number::Value::Real(real)) => real.into(),
        None => serde_json::Value::Null,
    };
    measurements.iter().map(|(name, value)| (name.clone(), number(value))).collect()
}

/// The error of a call; `streaming` says what the caller had asked for.
pub(crate) fn error(error: v1::Error, streaming: bool) -> Error {
    let kind = match error.kind() {
        v1::ErrorKind::Python => ErrorKind::Python,
        v1::ErrorKind::UnknownCommand => ErrorKind::UnknownCommand,
        v1::ErrorKind::InvalidArguments => ErrorKind::InvalidArguments,
        v1::ErrorKind::Decode => ErrorKind::DecodeFailed,
        v1::ErrorKind::Encode => ErrorKind::EncodeFailed,
        v1::ErrorKind::PayloadTooLarge => ErrorKind::PayloadTooLarge,
        v1::ErrorKind::Cancelled => ErrorKind::Cancelled,
        v1::ErrorKind::Deadline => ErrorKind::Timeout(Phase::Call),
        v1::ErrorKind::StreamingMismatch if streaming => ErrorKind::StreamingNotSupported,
        v1::ErrorKind::StreamingMismatch => ErrorKind::StreamingRequired,
        v1::ErrorKind::ShmUnavailable => ErrorKind::ShmUnavailable,
        v1::ErrorKind::Internal | v1::ErrorKind::Unspecified => ErrorKind::Internal,
    };
    let mut out = Error::new(kind, error.message).with_help(error.help);
    for (name, value) in error.details {
        out = out.with_detail(name, value);
    }
    match error.exception {
        Some(exception) => out.with_python(python_exception(exception)),
        None => out,
    }
}

pub(crate) fn python_exception(exception: v1::PythonException) -> PythonException {
    // prost refuses messages nested deeper than 100, which bounds this recursion.
    let mut out = PythonException::default();
    out.type_name = exception.type_name;
    out.module = exception.module;
    out.message = exception.message;
    out.args = exception.args;
    out.bases = exception.bases;
    out.frames = exception.frames.into_iter().map(python_frame).collect();
    out.notes = exception.notes;
    out.cause = exception.cause.map(|cause| Box::new(python_exception(*cause)));
    out.explicit_cause = exception.explicit_cause;
    out.members = exception.members.into_iter().map(python_exception).collect();
    out.host_error = exception.host_error.map(|error| Box::new(host_error(*error)));
    out
}

/// An error of the host's that a worker gives back.
pub(crate) fn host_error(error: v1::HostError) -> Error {
    // A kind that is not known cannot come from this release.
    let kind = match ErrorKind::from_code(&error.kind).unwrap_or(ErrorKind::System) {
        ErrorKind::WorkerLost { .. } => {
            ErrorKind::WorkerLost { maybe_executed: error.maybe_executed }
        }
        kind => kind,
    };
    let mut out = Error::new(kind, error.message).with_help(error.help);
    for (name, value) in error.details {
        out = out.with_detail(name, value);
    }
    if let Some(exception) = error.exception {
        out = out.with_python(python_exception(*exception));
    }
    match Severity::from_name(&error.severity).filter(|severity| *severity != out.severity()) {
        Some(severity) => out.with_severity(severity),
        None => out,
    }
}

/// Deepest chain of exceptions that a worker is given to hold. It comes back inside another that is
/// 16 deep at most, and prost refuses what is nested deeper than 100.
const MAX_DEPTH: usize = 32;

/// An error of the host's for a worker to hold.
pub(crate) fn host_error_to_wire(error: &Error) -> v1::HostError {
    host_error_at(error, 0)
}

fn host_error_at(error: &Error, depth: usize) -> v1::HostError {
    v1::HostError {
        kind: error.kind().code().to_owned(),
        category: error.category().name().to_owned(),
        severity: error.severity().name().to_owned(),
        retry: error.advice().name().to_owned(),
        message: error.message().to_owned(),
        help: error.help().unwrap_or_default().to_owned(),
        details: error.details().clone().into_iter().collect(),
        exception: error
            .python()
            .and_then(|exception| python_to_wire(exception, depth + 1))
            .map(Box::new),
        maybe_executed: error.kind() == ErrorKind::WorkerLost { maybe_executed: true },
    }
}

/// None beyond what may be held.
fn python_to_wire(exception: &PythonException, depth: usize) -> Option<v1::PythonException> {
    if depth > MAX_DEPTH {
        return None;
    }
    let frame = |frame: &PythonFrame| v1::PythonFrame {
        file: frame.file.clone(),
        line: frame.line,
        function: frame.function.clone(),
        source: frame.source.clone(),
    };
    let inner = |exception: &PythonException| python_to_wire(exception, depth + 1);
    let error = exception.host_error.as_deref().filter(|_| depth < MAX_DEPTH);
    Some(v1::PythonException {
        type_name: exception.type_name.clone(),
        module: exception.module.clone(),
        message: exception.message.clone(),
        args: exception.args.clone(),
        bases: exception.bases.clone(),
        frames: exception.frames.iter().map(frame).collect(),
        notes: exception.notes.clone(),
        cause: exception.cause.as_deref().and_then(inner).map(Box::new),
        explicit_cause: exception.explicit_cause,
        members: exception.members.iter().filter_map(inner).collect(),
        host_error: error.map(|error| Box::new(host_error_at(error, depth + 1))),
    })
}

#[expect(clippy::field_reassign_with_default, reason = "core's types are non-exhaustive")]
fn python_frame(frame: v1::PythonFrame) -> PythonFrame {
    let mut out = PythonFrame::default();
    out.file = frame.file;
    out.line = frame.line;
    out.function = frame.function;
    out.source = frame.source;
    out
}

/// An error as the Python code that called a tool sees it.
pub(crate) fn tool_error(tool_call_id: u64, error: &Error) -> v1::ToolError {
    v1::ToolError {
        tool_call_id,
        error: Some(Box::new(host_error_to_wire(error))),
        traceback: error.python().map(PythonException::traceback).unwrap_or_default(),
    }
}

/// A tool of the host as a worker is told of it.
pub(crate) fn tool_to_wire(tool: &Tool) -> v1::Tool {
    let text = |schema: &serde_json::Value| match schema {
        serde_json::Value::Null => String::new(),
        schema => schema.to_string(),
    };
    v1::Tool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters_schema: text(&tool.parameters),
        returns_schema: text(&tool.returns),
        streaming: tool.streaming,
    }
}

/// A worker's account of why it cannot start.
pub(crate) fn start_failure(failure: v1::StartFailure) -> Error {
    let phase = match failure.phase() {
        v1::StartPhase::Import => "importing the adapter",
        v1::StartPhase::Discover => "reading the adapter's tools",
        v1::StartPhase::Preload => "the adapter's `preload`",
        v1::StartPhase::Setup => "the adapter's `setup`",
        v1::StartPhase::Unspecified => "starting",
    };
    let message = format!("{phase} failed: {}", failure.message);
    let error = Error::new(ErrorKind::AdapterFailed, message).with_help(failure.help);
    match failure.exception {
        Some(exception) => error.with_python(python_exception(exception)),
        None => error,
    }
}

/// A tool as a worker describes it.
pub(crate) fn tool(tool: v1::Tool) -> Result<Tool, serde_json::Error> {
    let schema = |text: &str, absent| match text {
        "" => Ok(absent),
        text => serde_json::from_str(text),
    };
    let mut out = Tool::new(tool.name);
    out.description = tool.description;
    out.parameters = schema(&tool.parameters_schema, serde_json::json!({"type": "object"}))?;
    out.returns = schema(&tool.returns_schema, serde_json::Value::Null)?;
    out.streaming = tool.streaming;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_nearly_up_is_still_a_limit() {
        assert_eq!(timeout_to_wire(None), 0);
        assert_eq!(timeout_to_wire(Some(Duration::ZERO)), 1);
        assert_eq!(timeout_to_wire(Some(Duration::from_millis(2))), 2000);
        assert_eq!(timeout_to_wire(Some(Duration::MAX)), u64::MAX);
    }

    #[test]
    fn an_error_of_the_hosts_crosses_and_comes_back() {
        let mut cause = PythonException::default();
        cause.type_name = "KeyError".to_owned();
        cause.frames = vec![python_frame(v1::PythonFrame { line: 3, ..Default::default() })];
        let mut exception = cause.clone();
        exception.cause = Some(Box::new(cause.clone()));
        exception.explicit_cause = true;
        exception.members = vec![cause];
        let inner = Error::new(ErrorKind::WorkerLost { maybe_executed: true }, "gone")
            .with_severity(Severity::Warning);
        exception.host_error = Some(Box::new(inner));
        let error = Error::new(ErrorKind::Python, "it failed")
            .with_help("try this")
            .with_detail("name", "value")
            .with_python(exception);
        assert_eq!(host_error(host_error_to_wire(&error)), error);
    }

    #[test]
    fn a_long_story_is_cut_before_it_is_too_deep_for_a_frame() {
        use prost::Message;
        let mut error = Error::new(ErrorKind::Python, "innermost");
        for _ in 0..200 {
            let mut exception = PythonException::default();
            exception.host_error = Some(Box::new(error));
            error = Error::new(ErrorKind::Python, "outer").with_python(exception);
        }
        let bytes = host_error_to_wire(&error).encode_to_vec();
        v1::HostError::decode(bytes.as_slice()).unwrap();
    }

    #[test]
    fn a_streaming_mismatch_names_what_the_caller_did_wrong() {
        let wire =
            v1::Error { kind: v1::ErrorKind::StreamingMismatch.into(), ..Default::default() };
        assert_eq!(error(wire.clone(), true).kind(), ErrorKind::StreamingNotSupported);
        assert_eq!(error(wire, false).kind(), ErrorKind::StreamingRequired);
    }
}
