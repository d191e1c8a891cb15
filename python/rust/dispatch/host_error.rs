//! Errors of the host's as Python exceptions.
//!
//! Owns the exception's class and what it carries. Invariant: an error that came from the host goes
//! back to it as it was, whatever Python code does with the exception in between.

use prost::Message as _;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use snakepit_proto::v1;

create_exception!(
    snakepit,
    HostError,
    PyException,
    "A tool of the host's has failed, or could not be called.\n\n\
     `kind`, `category`, `severity` and `retry` are names of the host's own, such as\n\
     `pool_saturated`; `message` is one sentence, `help` says what to do about it (it may be\n\
     empty), and `details` has named particulars."
);

/// Has an exception carry an error of the host's.
pub(super) fn fill(exception: &Bound<'_, PyAny>, error: &v1::HostError) -> PyResult<()> {
    let py = exception.py();
    exception.setattr(intern!(py, "kind"), &error.kind)?;
    exception.setattr(intern!(py, "category"), &error.category)?;
    exception.setattr(intern!(py, "severity"), &error.severity)?;
    exception.setattr(intern!(py, "retry"), &error.retry)?;
    exception.setattr(intern!(py, "message"), &error.message)?;
    exception.setattr(intern!(py, "help"), &error.help)?;
    exception.setattr(intern!(py, "details"), error.details.clone())?;
    exception.setattr(intern!(py, "_error"), PyBytes::new(py, &error.encode_to_vec()))
}

/// The error of the host's that an exception stands for.
pub(super) fn carried(exception: &Bound<'_, PyAny>) -> Option<Box<v1::HostError>> {
    let py = exception.py();
    if !exception.is_instance_of::<HostError>() {
        return None;
    }
    // One that Python code has made by itself carries none.
    let error = exception.getattr(intern!(py, "_error")).ok()?;
    let error = error.cast::<PyBytes>().ok()?;
    v1::HostError::decode(error.as_bytes()).ok().map(Box::new)
}
