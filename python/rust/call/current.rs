//! The running call as its tool sees it.
//!
//! Owns the Python class behind `snakepit.context`. Invariant: it reads the call's state and
//! sends progress; it never ends the call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use snakepit_proto::v1;

use super::session::Session;
use super::state::{CallState, StopReason};
use crate::link::Outbox;

/// One call, for as long as its tool runs.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct CurrentCall {
    state: Arc<CallState>,
    progress: ProgressTo,
    /// The deadline on Python's monotonic clock, fixed when it is first asked for.
    deadline: OnceLock<f64>,
    /// What a tool keeps in a call without a session.
    scratch: PyOnceLock<Py<PyDict>>,
}

/// Where progress goes.
enum ProgressTo {
    Host(Arc<Outbox>),
    /// A Python function, when there is no host.
    Function(Py<PyAny>),
}

impl CurrentCall {
    pub(crate) fn new(state: Arc<CallState>, outbox: Arc<Outbox>) -> Self {
        Self::with(state, ProgressTo::Host(outbox))
    }

    fn with(state: Arc<CallState>, progress: ProgressTo) -> Self {
        Self { state, progress, deadline: OnceLock::new(), scratch: PyOnceLock::new() }
    }
}

#[pymethods]
impl CurrentCall {
    /// A call without a host, for tests of adapters.
    #[staticmethod]
    #[pyo3(signature = (command, on_progress, *, timeout=None, session=None, metadata=None, streaming=false))]
    fn local(
        py: Python<'_>,
        command: String,
        on_progress: Py<PyAny>,
        timeout: Option<f64>,
        session: Option<(String, Py<PyDict>)>,
        metadata: Option<HashMap<String, String>>,
        streaming: bool,
    ) -> Self {
        let timeout = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let mut state = CallState::new(1, command, timeout);
        state.session = session.map(|(id, storage)| Arc::new(Session::of(py, id, storage)));
        state.metadata = metadata.unwrap_or_default();
        state.streaming = streaming;
        Self::with(Arc::new(state), ProgressTo::Function(on_progress))
    }

    /// Cancels a call that has no host.
    fn cancel(&self) {
        self.state.stop(StopReason::Cancelled);
    }

    #[getter]
    fn call_id(&self) -> u64 {
        self.state.id
    }

    #[getter]
    fn command(&self) -> &str {
        &self.state.command
    }

    #[getter]
    fn session_id(&self) -> Option<&str> {
        self.state.session.as_ref().map(|session| &*session.id)
    }

    /// What is kept for the session in this worker; without one, for the call.
    #[getter]
    fn session(&self, py: Python<'_>) -> Py<PyDict> {
        match &self.state.session {
            Some(session) => session.storage(py),
            None => self.scratch.get_or_init(py, || PyDict::new(py).unbind()).clone_ref(py),
        }
    }

    /// Whether the caller takes a stream.
    #[getter]
    fn streaming(&self) -> bool {
        self.state.streaming
    }

    #[getter]
    fn traceparent(&self) -> Option<&str> {
        Some(&*self.state.traceparent).filter(|text| !text.is_empty())
    }

    #[getter]
    fn metadata(&self) -> HashMap<String, String> {
        self.state.metadata.clone()
    }

    /// The deadline in seconds of `time.monotonic()`.
    #[getter]
    fn deadline(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let Some(remaining) = self.state.remaining() else {
            return Ok(None);
        };
        if let Some(deadline) = self.deadline.get() {
            return Ok(Some(*deadline));
        }
        let time = py.import(intern!(py, "time"))?;
        let now: f64 = time.call_method0(intern!(py, "monotonic"))?.extract()?;
        Ok(Some(*self.deadline.get_or_init(|| now + remaining.as_secs_f64())))
    }

    /// Seconds left.
    #[getter]
    fn remaining(&self) -> Option<f64> {
        self.state.remaining().map(|remaining| remaining.as_secs_f64())
    }

    /// Whether nobody waits for the result any more.
    #[getter]
    fn cancelled(&self) -> bool {
        self.state.stop_reason().is_some()
    }

    /// Whether it is the deadline that ended the call.
    #[getter]
    fn timed_out(&self) -> bool {
        self.state.stop_reason() == Some(StopReason::Deadline)
    }

    fn progress(&self, py: Python<'_>, done: f64, total: f64, message: String) -> PyResult<()> {
        match &self.progress {
            ProgressTo::Host(outbox) => {
                outbox.push_progress(v1::Progress { call_id: self.state.id, done, total, message });
                Ok(())
            }
            ProgressTo::Function(function) => {
                function.call1(py, (done, total, message)).map(|_| ())
            }
        }
    }
}
