//! The running call as its tool sees it.
//!
//! Owns the Python class behind `snakepit.context`, and what waits for tools of the host.
//! Invariant: it reads the call's state, sends progress and calls tools; it never ends the call.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use snakepit_proto::v1;
use snakepit_proto::v1::worker_message::Frame;

use super::session::Session;
use super::state::{CallState, StopReason};
use super::tools::{ToolAnswer, ToolWait};
use crate::codec::{self, Beside, KeyCache};
use crate::dispatch::{Cancelled, tool_error};
use crate::link::{Driver, SLICE, Shared, Wake};
use crate::process;
use crate::shm::{self, Parcel, Sender};
use crate::values::EncodeError;

/// One call, for as long as its tool runs.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct CurrentCall {
    state: Arc<CallState>,
    host: Host,
    /// The deadline on Python's monotonic clock, fixed when it is first asked for.
    deadline: OnceLock<f64>,
    /// What a tool keeps in a call without a session.
    scratch: PyOnceLock<Py<PyDict>>,
}

/// Who hears of progress and serves tools.
enum Host {
    Linked(Link),
    /// Python functions, when there is no host.
    Played(Played),
}

struct Played {
    on_progress: Py<PyAny>,
    on_tool: Option<Py<PyAny>>,
    tools: Vec<Offered>,
}

/// Name, description, JSON Schema of the arguments and of the result.
type Offered = (String, String, String, String);

/// What reaches the host.
#[derive(Clone)]
struct Link {
    shared: Arc<Shared>,
    driver: Arc<Driver>,
}

impl Link {
    /// Who sends the values of a call.
    fn sender<'a>(&'a self, call: &'a CallState) -> Sender<'a> {
        Sender { sharing: &self.shared.sharing, driver: &self.driver, call }
    }
}

impl CurrentCall {
    pub(crate) fn new(state: Arc<CallState>, shared: Arc<Shared>, driver: Arc<Driver>) -> Self {
        Self::with(state, Host::Linked(Link { shared, driver }))
    }

    fn with(state: Arc<CallState>, host: Host) -> Self {
        Self { state, host, deadline: OnceLock::new(), scratch: PyOnceLock::new() }
    }
}

#[pymethods]
impl CurrentCall {
    /// A call without a host, for tests of adapters.
    #[staticmethod]
    #[pyo3(signature = (command, on_progress, *, on_tool=None, tools=None, timeout=None, session=None, metadata=None, streaming=false))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords where it is called")]
    fn local(
        py: Python<'_>,
        command: String,
        on_progress: Py<PyAny>,
        on_tool: Option<Py<PyAny>>,
        tools: Option<Vec<Offered>>,
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
        let tools = tools.unwrap_or_default();
        Self::with(Arc::new(state), Host::Played(Played { on_progress, on_tool, tools }))
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
        match &self.host {
            Host::Linked(link) => {
                let progress = v1::Progress { call_id: self.state.id, done, total, message };
                link.shared.outbox.push_progress(progress);
                Ok(())
            }
            Host::Played(played) => {
                played.on_progress.call1(py, (done, total, message)).map(|_| ())
            }
        }
    }

    /// A numpy array to fill: where the host can read it, if there is such memory.
    fn empty<'py>(
        &self,
        shape: &Bound<'py, PyAny>,
        dtype: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match &self.host {
            Host::Linked(link) => shm::empty_for(shape, dtype, Some(link.sender(&self.state))),
            Host::Played(_) => shm::empty_for(shape, dtype, None),
        }
    }

    /// How many tool calls deep the call is nested.
    #[getter]
    fn depth(&self) -> u32 {
        self.state.depth
    }

    /// The function that runs tools in place of a host, if there is no host.
    #[getter]
    fn on_tool(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.host {
            Host::Linked(_) => None,
            Host::Played(played) => played.on_tool.as_ref().map(|function| function.clone_ref(py)),
        }
    }

    /// What the host offers.
    #[getter]
    fn tools(&self) -> Vec<Offered> {
        let link = match &self.host {
            Host::Linked(link) => link,
            Host::Played(played) => return played.tools.clone(),
        };
        let tools = link.shared.tools.offered();
        let describe = |tool: &v1::Tool| {
            let v1::Tool { name, description, parameters_schema, returns_schema, .. } = tool;
            let (parameters, returns) = (parameters_schema.clone(), returns_schema.clone());
            (name.clone(), description.clone(), parameters, returns)
        };
        tools.iter().map(describe).collect()
    }

    /// Calls a tool of the host and waits for its answer, without the GIL.
    fn call_tool<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        arguments: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let open = self.open_tool(name, arguments, None)?;
        let (wait, driver) = (&open.wait, &open.link.driver);
        while !wait.is_answered() {
            let slice = match (self.state.stop_reason(), self.state.remaining()) {
                (Some(reason), _) => return Err(stopped(reason)),
                (None, Some(left)) => left.min(SLICE),
                (None, None) => SLICE,
            };
            py.detach(|| driver.wait(|_| wait.ready(), slice));
            // The standby may have gone to sleep meanwhile.
            driver.entrust();
            py.check_signals()?;
        }
        open.answer(py)
    }

    /// Calls a tool of the host; the event loop that watches `wake` is woken for the answer.
    fn start_tool(
        &self,
        py: Python<'_>,
        name: &str,
        arguments: &Bound<'_, PyDict>,
        wake: &LoopWake,
    ) -> PyResult<ToolFuture> {
        let open = self.open_tool(name, arguments, Some(Arc::clone(&wake.0)))?;
        // The loop does not drive: somebody has to, from now on and not from the next look.
        py.detach(|| open.link.driver.take_over());
        Ok(ToolFuture(Mutex::new(Some(open))))
    }
}

impl CurrentCall {
    fn open_tool(
        &self,
        name: &str,
        arguments: &Bound<'_, PyDict>,
        event_loop: Option<Arc<Wake>>,
    ) -> PyResult<OpenTool> {
        let Host::Linked(link) = &self.host else {
            return Err(PyRuntimeError::new_err("there is no host whose tools could be called"));
        };
        if process::is_forked() {
            let message = "a process that a tool has forked cannot call the host's tools";
            return Err(PyRuntimeError::new_err(message));
        }
        let limit = link.shared.max_payload_bytes.load(Ordering::Relaxed);
        let parcel = Parcel::new(link.sender(&self.state));
        let encoded = codec::encode(arguments, v1::Codec::Msgpack, limit, parcel)
            .map_err(|error| EncodeError::new_err(error.describe("arguments")))?;
        let wait = link.shared.tools.open(&self.state, name, event_loop);
        let wait = wait.ok_or_else(|| {
            PyRuntimeError::new_err("the call has ended, so it cannot call the host's tools")
        })?;
        let timeout = self.state.remaining();
        let timeout_us = timeout.map_or(0, |left| left.as_micros().max(1) as u64);
        let (arguments, kept) = encoded.into_payload();
        let call = v1::ToolCall {
            tool_call_id: wait.id,
            call_id: self.state.id,
            name: name.to_owned(),
            arguments: Some(arguments),
            timeout_us,
        };
        link.shared.outbox.push_with(Frame::ToolCall(call), kept);
        Ok(OpenTool { wait, link: link.clone() })
    }
}

/// A tool call that was sent. Dropped without an answer, it tells the host that nobody waits.
struct OpenTool {
    wait: Arc<ToolWait>,
    link: Link,
}

impl OpenTool {
    /// What the answer means to whoever waited for it.
    fn answer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.wait.take() {
            Some(ToolAnswer::Value(_, parts, _)) if parts.is_empty() => {
                Ok(py.None().into_bound(py))
            }
            Some(ToolAnswer::Value(codec, parts, beside)) => {
                let beside = Beside { regions: beside.uses(), ..Beside::NOTHING };
                let keys = &mut KeyCache::default();
                codec::decode(py, codec, &parts, beside, keys).map_err(|error| {
                    let what = format!("the result of `{}`", self.wait.name);
                    crate::values::DecodeError::new_err(format!("{what}: {}", error.message()))
                })
            }
            Some(ToolAnswer::Failed(error)) => Err(tool_error(py, &self.wait.name, error)),
            Some(ToolAnswer::Stopped) | None => {
                Err(stopped(self.wait.call.stop_reason().unwrap_or(StopReason::Cancelled)))
            }
        }
    }
}

impl Drop for OpenTool {
    fn drop(&mut self) {
        let shared = &self.link.shared;
        if shared.tools.forget(self.wait.id) {
            let (tool_call_id, call_id) = (self.wait.id, self.wait.call.id);
            shared.outbox.push(Frame::ToolCancel(v1::ToolCancel { tool_call_id, call_id }));
        }
    }
}

fn stopped(reason: StopReason) -> PyErr {
    Cancelled::new_err(match reason {
        StopReason::Cancelled => "the call was cancelled",
        StopReason::Deadline => "the deadline passed",
    })
}

/// A tool call that a coroutine waits for.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct ToolFuture(Mutex<Option<OpenTool>>);

#[pymethods]
impl ToolFuture {
    /// Whether there is an answer.
    #[getter]
    fn done(&self) -> bool {
        self.lock().as_ref().is_none_or(|open| open.wait.is_answered())
    }

    /// The answer; to be taken once, when it is there.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let open = self.lock().take();
        match open {
            Some(open) => open.answer(py),
            None => Err(PyRuntimeError::new_err("the answer was taken already")),
        }
    }

    /// Says that nobody waits any more.
    fn cancel(&self) {
        drop(self.lock().take());
    }
}

impl ToolFuture {
    fn lock(&self) -> MutexGuard<'_, Option<OpenTool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event loop watches for the answers of its tool calls.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct LoopWake(Arc<Wake>);

#[pymethods]
impl LoopWake {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// A descriptor that becomes readable when an answer is there.
    fn fd(&self) -> PyResult<i32> {
        Ok(self.0.fd()?)
    }

    /// Makes that descriptor unreadable again.
    fn drain(&self) {
        self.0.drain();
    }
}
