//! The end of a session: the adapter is told, and what its tools kept is let go.

use pyo3::intern;
use pyo3::prelude::*;

use super::Hooks;
use crate::call::Session;

/// Tells the adapter that a session is over, in a copy of the calls' context and without a call.
pub(super) fn end(py: Python<'_>, hooks: &Hooks, session: &Session) {
    let Some(hook) = &hooks.session_ended else { return };
    let told = hooks.context.bind(py).call_method0(intern!(py, "copy")).and_then(|context| {
        let arguments = (hook, &session.id, session.storage(py));
        context.call_method1(intern!(py, "run"), arguments)
    });
    if let Err(error) = told {
        error.write_unraisable(py, Some(hook.bind(py)));
    }
}
