//! Errors of the host's tools, in Python and on the way out of it.
//!
//! Owns the making of `snakepit.ToolError` and the search for the tool call behind an exception.
//! Invariant: a call that fails because of a tool call names it, so that the host can give its caller
//! the error it began with.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use snakepit_proto::v1;

use super::host_error;

/// Exceptions looked at behind one, so that a circle ends.
const MOST_LOOKED_AT: usize = 64;

/// The kind of failures that tools name themselves.
const TOOL_FAILED: &str = "tool_failed";

/// The Python class; there once a tool call has failed.
static TOOL_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The exception for whoever called the tool.
pub(crate) fn tool_error(py: Python<'_>, tool: &str, error: v1::ToolError) -> PyErr {
    make(py, tool, error).map_or_else(|failure| failure, PyErr::from_value)
}

fn make<'py>(py: Python<'py>, tool: &str, told: v1::ToolError) -> PyResult<Bound<'py, PyAny>> {
    let class = TOOL_ERROR.import(py, "snakepit._host_tool", "ToolError")?;
    let error = told.error.unwrap_or_default();
    let options = PyDict::new(py);
    options.set_item("tool", tool)?;
    let exception = class.call((&error.message,), Some(&options))?;
    host_error::fill(&exception, &error)?;
    if let Some(own) = error.details.get("kind").filter(|_| error.kind == TOOL_FAILED) {
        // A tool names the kind of its own failures itself.
        exception.setattr(intern!(py, "kind"), own)?;
        exception.getattr(intern!(py, "details"))?.del_item("kind")?;
    }
    exception.setattr(intern!(py, "_tool_call_id"), told.tool_call_id)?;
    if !told.traceback.is_empty() {
        let note = format!("It stems from another call:\n{}", told.traceback.trim_end());
        exception.call_method1(intern!(py, "add_note"), (note,))?;
    }
    Ok(exception)
}

/// The tool call whose failure an exception stems from: the exception itself, what it was raised
/// from, or a member of a group; 0 if there is none.
pub(super) fn tool_call_behind(py: Python<'_>, error: &PyErr) -> u64 {
    let Some(class) = TOOL_ERROR.get(py) else {
        return 0;
    };
    let class = class.bind(py);
    let mut next = vec![error.value(py).clone().into_any()];
    for _ in 0..MOST_LOOKED_AT {
        let Some(exception) = next.pop() else {
            return 0;
        };
        if exception.is_instance(class).unwrap_or(false) {
            let id = exception.getattr(intern!(py, "_tool_call_id"));
            return id.and_then(|id| id.extract()).unwrap_or(0);
        }
        // Last in, first out: an explicit cause comes before the rest.
        let members = exception.getattr(intern!(py, "exceptions"));
        if let Ok(members) = members.and_then(|members| members.extract::<Vec<_>>()) {
            next.extend(members);
        }
        for link in ["__context__", "__cause__"] {
            next.extend(exception.getattr(link).ok().filter(|linked| !linked.is_none()));
        }
    }
    0
}
