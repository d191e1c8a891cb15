//! Running calls on a Python thread.
//!
//! Owns the loop that takes calls from the queue, and what becomes of each; the thread drives the
//! link while it has none. Invariant: every call taken from the queue is answered exactly once, and
//! then finished.

mod chunks;
mod exception;
mod failure;
mod health;
mod invoke;
mod stream;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pyo3::prelude::*;
use rustc_hash::FxHashMap;
use snakepit_proto::v1;
use snakepit_proto::v1::worker_message::Frame;

use crate::call::Next;
use crate::codec::KeyCache;
use crate::link::{Driver, Shared, Signals};
use crate::python;
use crate::tool::Tool;
pub(crate) use chunks::ChunkSink;
pub(crate) use exception::describe_value as describe_exception;
pub(crate) use failure::Cancelled;

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
}

/// Runs calls on this thread until the queue says stop.
pub(crate) fn run(
    py: Python<'_>,
    shared: &Arc<Shared>,
    driver: &Driver,
    slot: usize,
    tools: Vec<Py<Tool>>,
    hooks: &Hooks,
) -> PyResult<()> {
    let tools = tools.into_iter().map(|tool| (tool.get().name.clone(), tool)).collect();
    let mut dispatcher = Dispatcher {
        shared,
        driver,
        slot,
        tools: &tools,
        hooks,
        keys: KeyCache::default(),
        gil: GilSampler::new(py)?,
    };
    let signals = Signals::listen(py, shared, driver)?;
    let mut driven = Instant::now();
    loop {
        match shared.queue.next(slot) {
            Next::Call(call) => {
                driver.entrust();
                let more = dispatcher.run_call(py, call);
                dispatcher.gil.sample(py, shared)?;
                if more && driver.is_turn_due(driven) {
                    py.detach(|| driver.turn());
                    driven = Instant::now();
                }
            }
            Next::Check(id) => {
                driver.entrust();
                let failure = health::check(py, hooks);
                let report = v1::HealthReport { check_id: id, failure };
                shared.outbox.push(Frame::HealthReport(report));
                shared.queue.checked();
                dispatcher.gil.sample(py, shared)?;
            }
            Next::Expired(state) => {
                let failure = failure::Failure::expired();
                shared.outbox.push(Frame::Error(failure.into_frame(state.id, None)));
            }
            Next::Drained => shared.outbox.push(Frame::DrainDone(v1::DrainDone {})),
            Next::Idle => {
                py.detach(|| driver.wait(shared.queue.ready(slot), signals.longest_wait()));
                driven = Instant::now();
                py.check_signals()?;
            }
            Next::Stop => return Ok(()),
        }
    }
}

/// One thread that runs calls, one after the other.
struct Dispatcher<'a> {
    shared: &'a Arc<Shared>,
    driver: &'a Driver,
    slot: usize,
    tools: &'a FxHashMap<String, Py<Tool>>,
    hooks: &'a Hooks,
    keys: KeyCache,
    gil: GilSampler,
}

/// Looks whether the GIL came back, which only loading a module can cause.
struct GilSampler {
    /// None where the GIL is always on.
    modules: Option<usize>,
}

impl GilSampler {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let free_threaded = python::is_free_threaded_build(py)?;
        Ok(Self { modules: if free_threaded { Some(python::loaded_modules(py)?) } else { None } })
    }

    fn sample(&mut self, py: Python<'_>, shared: &Shared) -> PyResult<()> {
        let Some(before) = self.modules else {
            return Ok(());
        };
        let now = python::loaded_modules(py)?;
        if now != before {
            self.modules = Some(now);
            shared.gil_enabled.store(python::is_gil_enabled(py)?, Ordering::Relaxed);
        }
        Ok(())
    }
}
