//! One call, from its bytes to its answer.
//!
//! Owns the order of the steps. Invariant: the answer is in the outbox before the call counts as
//! finished, and the objects of a call are let go only after that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use snakepit_proto::v1;
use snakepit_proto::v1::worker_message::Frame;

use super::Dispatcher;
use super::chunks::Chunks;
use super::failure::Failure;
use super::stream;
use crate::call::{CallState, CurrentCall, Pending};
use crate::codec::{self, Beside, Place};
use crate::link::Driver;
use crate::shm::{Kept, Parcel, Sender};
use crate::tool::{ANY_NAME, Kind, Tool};

/// A call that is being run.
pub(super) struct Running<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) state: &'a Arc<CallState>,
    /// This call's own copy of the context.
    pub(super) context: Bound<'py, PyAny>,
    pub(super) current: Bound<'py, CurrentCall>,
    pub(super) runner: &'a Py<PyAny>,
    pub(super) driver: &'a Arc<Driver>,
}

impl Dispatcher<'_> {
    /// Runs one call and answers it; returns whether others wait.
    pub(super) fn run_call(&mut self, py: Python<'_>, call: Pending) -> bool {
        let state = call.state.clone();
        let mut entered = None;
        let (frame, kept) = self.answer(py, call, &mut entered).unwrap_or_else(|failure| {
            (Frame::Error(failure.into_frame(state.id, entered)), Kept::new())
        });
        self.shared.outbox.push_with(frame, kept);
        self.shared.tools.end(&state);
        self.shared.queue.finish(self.slot)
    }

    fn answer(
        &mut self,
        py: Python<'_>,
        call: Pending,
        entered: &mut Option<Instant>,
    ) -> Result<(Frame, Kept), Failure> {
        let Pending { state, codec, arguments, beside } = call;
        let Some(tool) = self.tools.get(&state.command).or_else(|| self.tools.get(ANY_NAME)) else {
            let names = self.tools.keys().map(String::as_str);
            return Err(Failure::unknown_command(&state.command, names));
        };
        let tool = tool.get();
        if !tool.kind.fits(state.streaming) {
            return Err(Failure::streaming_mismatch(&state.command, tool.kind.is_streaming()));
        }
        let values = if arguments.is_empty() {
            py.None().into_bound(py)
        } else {
            let takes_memory = |place: Place<'_>| tool.takes_memory(place);
            let beside = Beside { regions: beside.uses(), takes_memory: &takes_memory };
            codec::decode(py, codec, &arguments, beside, &mut self.keys)
                .map_err(|error| Failure::decode(&error))?
        };
        // The receive buffers can be large; the objects do not need them, and keep what they need of
        // what lies beside.
        drop((arguments, beside));
        let (args, kwargs) =
            tool.bind(values).map_err(|refusal| Failure::arguments(tool, refusal))?;
        let running = self.prepare(py, &state).map_err(|error| Failure::internal(py, &error))?;
        let limit = self.shared.max_payload_bytes.load(Ordering::Relaxed);
        let started = *entered.insert(Instant::now());
        let result = running
            .enter(tool, args, kwargs)
            .map_err(|error| Failure::raised(py, &error, &state))?;
        if state.streaming {
            let (shared, driver) = (self.shared.clone(), self.driver.clone());
            let chunks = Chunks::new(state.clone(), shared, driver, codec);
            let chunks = stream::run(&running, tool, &result, chunks)?;
            let run_us = started.elapsed().as_micros() as u64;
            let end = v1::ChunkEnd { call_id: state.id, chunks, run_us };
            return Ok((Frame::ChunkEnd(end), Kept::new()));
        }
        if tool.kind.is_either() && stream::is_stream(&result) {
            return Err(Failure::streaming_mismatch(&state.command, true));
        }
        let run_us = started.elapsed().as_micros() as u64;
        let sender = Sender { sharing: &self.shared.sharing, driver: self.driver, call: &state };
        let encoded = codec::encode(&result, codec, limit, Parcel::new(sender))
            .map_err(|error| Failure::encode(&error, "result"))?;
        let (value, kept) = encoded.into_payload();
        let result = v1::Result { call_id: state.id, value: Some(value), run_us };
        Ok((Frame::Result(result), kept))
    }

    /// Makes this call's own context, with the call in it.
    fn prepare<'a, 'py>(
        &'a self,
        py: Python<'py>,
        state: &'a Arc<CallState>,
    ) -> PyResult<Running<'a, 'py>> {
        let context = self.hooks.context.bind(py).call_method0(intern!(py, "copy"))?;
        let (shared, driver) = (self.shared.clone(), self.driver.clone());
        let current = CurrentCall::new(state.clone(), shared, driver);
        let current = Bound::new(py, current)?;
        let set = self.hooks.current.bind(py).getattr(intern!(py, "set"))?;
        context.call_method1(intern!(py, "run"), (set, &current))?;
        let (runner, driver) = (&self.hooks.runner, self.driver);
        Ok(Running { py, state, context, current, runner, driver })
    }
}

impl<'py> Running<'_, 'py> {
    /// Calls the tool; of a coroutine tool this is its result, of a generator the generator.
    fn enter(
        &self,
        tool: &Tool,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        let function = tool.function.bind(py);
        let entered = if args.is_empty() {
            let args = PyTuple::new(py, [function])?;
            self.context.call_method(intern!(py, "run"), args, kwargs.as_ref())
        } else {
            let args: Vec<_> = std::iter::once(function.clone()).chain(args.iter()).collect();
            let args = PyTuple::new(py, args)?;
            self.context.call_method(intern!(py, "run"), args, kwargs.as_ref())
        }?;
        if tool.kind != Kind::Coroutine {
            return Ok(entered);
        }
        let runner = self.runner.call0(py)?;
        let run = (entered, &self.context, &self.current);
        Ok(runner.call_method1(py, intern!(py, "run"), run)?.into_bound(py))
    }

    /// Calls something in this call's context.
    pub(super) fn call(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.context.call_method1(intern!(self.py, "run"), (function,))
    }
}
