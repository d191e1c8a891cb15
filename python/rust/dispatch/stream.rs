//! Running generators.
//!
//! Owns the back pressure: the generator is asked for the next item only when the one before has
//! left. Invariant: however the stream ends, the generator is closed, so its `finally` runs.

use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;

use super::chunks::{ChunkSink, Chunks};
use super::failure::Failure;
use super::invoke::Running;
use crate::link::SLICE;
use crate::tool::{Kind, Tool};

/// Sends every item of a generator; returns how many there were.
pub(super) fn run(
    running: &Running<'_, '_>,
    tool: &Tool,
    generator: &Bound<'_, PyAny>,
    chunks: Chunks,
) -> Result<u64, Failure> {
    if tool.kind == Kind::AsyncGenerator || (tool.kind.is_either() && is_async(generator)) {
        return run_async(running, generator, chunks);
    }
    let py = running.py;
    let generator = generator.as_any().clone();
    let result = run_sync(running, &generator, chunks);
    if result.is_err() {
        // One that has ended or raised is closed already, and closing it again does nothing.
        let closed = generator.getattr(intern!(py, "close")).and_then(|c| running.call(&c));
        if let Err(error) = closed {
            error.write_unraisable(py, Some(&generator));
        }
    }
    result
}

fn run_sync(
    running: &Running<'_, '_>,
    generator: &Bound<'_, PyAny>,
    mut chunks: Chunks,
) -> Result<u64, Failure> {
    let py = running.py;
    let raised = |error: PyErr| Failure::raised(py, &error, running.state);
    let next = generator.getattr(intern!(py, "__next__")).map_err(raised)?;
    // The first chunk leaves at once: somebody waits for it.
    let mut is_first = true;
    loop {
        stop_if_told(running)?;
        match running.call(&next) {
            Ok(item) => chunks.put(&item)?,
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => return Ok(chunks.sent()),
            Err(error) => return Err(raised(error)),
        }
        while !chunks.try_send() {
            stop_if_told(running)?;
            let slice = running.state.remaining().map_or(SLICE, |left| left.min(SLICE));
            py.detach(|| running.driver.wait(|_| running.state.credit_or_stop(), slice));
            py.check_signals().map_err(raised)?;
            is_first = false;
            // The standby may have gone to sleep meanwhile.
            running.driver.entrust();
        }
        if is_first || running.driver.is_turn_due() {
            py.detach(|| running.driver.turn());
            is_first = false;
        }
    }
}

/// Whether a tool's result is a generator, of either sort.
pub(super) fn is_stream(result: &Bound<'_, PyAny>) -> bool {
    is_async(result) || result.hasattr(intern!(result.py(), "__next__")).unwrap_or(false)
}

fn is_async(result: &Bound<'_, PyAny>) -> bool {
    result.hasattr(intern!(result.py(), "__anext__")).unwrap_or(false)
}

fn stop_if_told(running: &Running<'_, '_>) -> Result<(), Failure> {
    match running.state.stop_reason() {
        Some(reason) => Err(Failure::stopped(reason)),
        None => Ok(()),
    }
}

fn run_async(
    running: &Running<'_, '_>,
    generator: &Bound<'_, PyAny>,
    chunks: Chunks,
) -> Result<u64, Failure> {
    let py = running.py;
    let sink =
        Bound::new(py, ChunkSink::new(chunks)).map_err(|error| Failure::internal(py, &error))?;
    let streamed = running.runner.call0(py).and_then(|runner| {
        let run = (generator, &running.context, &running.current, &sink);
        runner.call_method1(py, intern!(py, "stream"), run)
    });
    match (sink.get().take_failure(), streamed) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(Failure::raised(py, &error, running.state)),
        (None, Ok(_)) => Ok(sink.get().sent()),
    }
}
