//! Running calls on Python threads.
//!
//! Owns the loop that takes calls from the queue, on as many threads as there are slots, and what
//! becomes of each call; a thread drives the link while it has none. Invariant: every call taken from
//! the queue is answered exactly once, and then finished.

mod chunks;
mod exception;
mod failure;
mod health;
mod host_error;
mod invoke;
mod session;
mod stream;
mod tool_error;

use std::sync::Arc;

use pyo3::prelude::*;
use rustc_hash::FxHashMap;
use snakepit_proto::v1;
use snakepit_proto::v1::worker_message::Frame;

use crate::call::Next;
use crate::codec::KeyCache;
use crate::link::{Driver, Gil, Shared, Signals};
use crate::tool::Tool;
use crate::{process, python, turns};
pub(crate) use chunks::ChunkSink;
pub(crate) use exception::describe_value as describe_exception;
pub(crate) use failure::Cancelled;
pub(crate) use host_error::HostError;
pub(crate) use tool_error::tool_error;

/// What the Python half of the worker lends to the native one.
#[derive(FromPyObject)]
pub(crate) struct Hooks {
    /// The context variable that holds the running call.
    #[pyo3(attribute)]
    current: Py<PyAny>,
    /// The context every call starts from a copy of.
    #[pyo3(attribute)]
    context: Py<PyAny>,
    /// Returns the event loop's runner; it exists once somebody has asked.
    #[pyo3(attribute)]
    runner: Py<PyAny>,
    /// Asks the adapter how it is.
    #[pyo3(attribute)]
    health: Py<PyAny>,
    /// Tells the adapter that a session is over, if it wants to know.
    #[pyo3(attribute)]
    session_ended: Option<Py<PyAny>>,
    /// Says which module has turned the GIL on, None if it is off.
    #[pyo3(attribute)]
    gil: Py<PyAny>,
}

impl Hooks {
    /// The GIL's state now, where it can be off.
    pub(crate) fn gil(&self, py: Python<'_>) -> PyResult<Gil> {
        let module: Option<String> = self.gil.call0(py)?.extract(py)?;
        Ok(Gil { enabled: module.is_some(), module: module.unwrap_or_default() })
    }
}

/// What the dispatch threads of a worker have in common.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct Serving {
    shared: Arc<Shared>,
    driver: Arc<Driver>,
    tools: FxHashMap<String, Py<Tool>>,
    hooks: Hooks,
}

impl Serving {
    pub(crate) fn new(
        shared: Arc<Shared>,
        driver: Arc<Driver>,
        tools: Vec<Py<Tool>>,
        hooks: Hooks,
    ) -> Self {
        let tools = tools.into_iter().map(|tool| (tool.get().name.clone(), tool)).collect();
        Self { shared, driver, tools, hooks }
    }
}

#[pymethods]
impl Serving {
    /// Runs calls on this thread until the host says `Shutdown`. Slot 0 is the main thread's.
    fn run(&self, py: Python<'_>, slot: usize) -> PyResult<()> {
        if slot != 0 {
            process::leave_signals_to_main_thread();
        }
        let ran = run(py, self, slot);
        // What follows is Python's, and may take its time.
        self.driver.entrust();
        ran
    }
}

fn run(py: Python<'_>, serving: &Serving, slot: usize) -> PyResult<()> {
    let Serving { shared, driver, tools, hooks } = serving;
    let keys = KeyCache::default();
    let mut dispatcher = Dispatcher { shared, driver, slot, tools, hooks, keys };
    let mut gil = GilSampler::new(py)?;
    let mut signals = Signals::of(slot);
    turns::keep_short();
    loop {
        match shared.queue.next(slot) {
            Next::Call(call) => {
                driver.entrust();
                let more = dispatcher.run_call(py, call);
                gil.sample(py, serving)?;
                if more && driver.is_turn_due() {
                    py.detach(|| driver.turn());
                }
            }
            Next::Check(id) => {
                driver.entrust();
                let failure = health::check(py, hooks);
                let report = v1::HealthReport { check_id: id, failure };
                shared.outbox.push(Frame::HealthReport(report));
                shared.queue.done_aside();
                gil.sample(py, serving)?;
            }
            Next::SessionEnd(session) => {
                driver.entrust();
                session::end(py, hooks, &session);
                shared.queue.done_aside();
                gil.sample(py, serving)?;
            }
            Next::Expired(state) => {
                let failure = failure::Failure::expired();
                shared.outbox.push(Frame::Error(failure.into_frame(state.id, None)));
            }
            Next::Drained => shared.outbox.push(Frame::DrainDone(v1::DrainDone {})),
            Next::Idle => {
                let limit = signals.longest_wait();
                let ready = |drives| shared.queue.ready(slot, drives);
                let in_time = py.detach(|| driver.wait(ready, limit));
                py.check_signals()?;
                if !in_time {
                    signals.rested(py, shared, driver)?;
                }
            }
            Next::Stop => return Ok(()),
        }
    }
}

/// One thread that runs calls, one after the other.
struct Dispatcher<'a> {
    shared: &'a Arc<Shared>,
    driver: &'a Arc<Driver>,
    slot: usize,
    tools: &'a FxHashMap<String, Py<Tool>>,
    hooks: &'a Hooks,
    keys: KeyCache,
}

/// Looks whether the GIL came back, which only loading a module can cause.
struct GilSampler {
    /// None where the GIL is always on.
    modules: Option<usize>,
}

impl GilSampler {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let free_threaded = python::describe(py)?.free_threaded_build;
        Ok(Self { modules: if free_threaded { Some(python::loaded_modules(py)?) } else { None } })
    }

    fn sample(&mut self, py: Python<'_>, serving: &Serving) -> PyResult<()> {
        let Some(before) = self.modules else {
            return Ok(());
        };
        let now = python::loaded_modules(py)?;
        if now == before {
            return Ok(());
        }
        self.modules = Some(now);
        let gil = serving.hooks.gil(py)?;
        if serving.shared.note_gil(gil) {
            // The next beat may be far away: beside calls there is none.
            serving.shared.beat(0);
        }
        Ok(())
    }
}
