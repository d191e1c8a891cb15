//! The state of one link, seen by its owner, its reader and its outgoing stream.
//!
//! Owns the in-flight table and the one short lock it shares with the outbox. Invariants: no
//! [`Reply`] is ever told anything while the lock is held; once the link has ended nothing enters
//! the table; only the reader takes entries out while the link lives.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use rustc_hash::FxHashMap;
use snakepit_core::{
    Call, CallEvent, CallId, Error, ErrorKind, Payload, PoolName, Reply, SessionId, Teller,
    WorkerId,
};
use snakepit_proto::v1;
use snakepit_proto::v1::host_message::Frame;
use snakepit_shm::ControlReader;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::convert;
use crate::io::Closer;
use crate::loans::{Loans, Sending, sending};
use crate::outbox::Outbox;
use crate::server::LinkOptions;
use crate::traffic::Traffic;

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEnd {
    /// The worker's end was closed: it died, or it went after it was asked to.
    WorkerGone,
    /// The worker broke the protocol; the text says which rule.
    Broken(String),
    /// The host closed it.
    Closed,
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerGone => f.write_str("it closed its link"),
            Self::Broken(rule) => write!(f, "it broke the protocol: {rule}"),
            Self::Closed => f.write_str("its link was closed by the host"),
        }
    }
}

/// A call that was sent and has not had its last event.
pub(crate) struct InFlight {
    pub(crate) reply: Reply,
    /// Index of the next chunk, for a call whose result is a stream.
    pub(crate) next_chunk: Option<u64>,
    /// A frame of it waits for the rest of its payload: its tool was entered.
    pub(crate) spoken: bool,
    /// The last errors of tool calls it has made, by their numbers: it may fail because of one.
    tool_errors: VecDeque<(u64, Error)>,
}

/// Failed tool calls of one call whose errors are kept.
const TOOL_ERRORS: usize = 16;

impl InFlight {
    /// The error of a tool call that failed.
    pub(crate) fn take_tool_error(&mut self, tool_call_id: u64) -> Option<Error> {
        let position = self.tool_errors.iter().position(|(id, _)| *id == tool_call_id)?;
        self.tool_errors.remove(position).map(|(_, error)| error)
    }
}

pub(crate) struct Shared {
    pub(crate) pool: PoolName,
    pub(crate) worker_id: WorkerId,
    pub(crate) heartbeat: Duration,
    pub(crate) max_payload_bytes: u64,
    control: ControlReader,
    closer: Closer,
    pub(crate) loans: Option<Loans>,
    state: Mutex<State>,
    pub(crate) vitals: Vitals,
    pub(crate) traffic: Arc<Traffic>,
    drained: watch::Sender<bool>,
    ended: watch::Sender<Option<LinkEnd>>,
}

struct State {
    intake: Intake,
    outbox: Outbox,
    in_flight: FxHashMap<u64, InFlight>,
    /// Calls refused by `submit`, which must not tell their replies itself.
    refused: Vec<(Reply, Error)>,
    pings: FxHashMap<u64, oneshot::Sender<()>>,
    checks: FxHashMap<u64, oneshot::Sender<Result<(), String>>>,
    last_nonce: u64,
    farewell: Option<String>,
    closed_by_host: bool,
    /// Set while the outgoing stream waits for something to send.
    waker: Option<Waker>,
}

#[derive(PartialEq)]
enum Intake {
    Open,
    Draining,
    Ended,
}

/// What the outgoing stream does next.
#[expect(clippy::large_enum_variant, reason = "lives on the stack; a box would be an allocation")]
pub(crate) enum Next {
    Batch,
    Fragment(Frame),
    Farewell(String),
    Wait,
    End,
}

/// Last signs of life, readable from any thread.
pub(crate) struct Vitals {
    origin: Instant,
    // All of these are independent figures for people and timers; nothing is published through
    // them, so every access is relaxed.
    seen_us: AtomicU64,
    running: AtomicU32,
    queued: AtomicU32,
    gil: watch::Sender<Gil>,
}

/// The GIL of a worker's interpreter, as its worker saw it last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gil {
    /// Whether it is on.
    pub enabled: bool,
    /// The module that turned it on where it can be off; empty if it is off, or not known.
    pub module: String,
}

impl Vitals {
    pub(crate) fn seen(&self) {
        let elapsed = self.origin.elapsed().as_micros() as u64;
        self.seen_us.store(elapsed, Ordering::Relaxed);
    }

    pub(crate) fn beat(&self, beat: &v1::Heartbeat) {
        self.running.store(beat.running, Ordering::Relaxed);
        self.queued.store(beat.queued, Ordering::Relaxed);
        self.set_gil(beat.gil_enabled, &beat.gil_module);
    }

    pub(crate) fn set_gil(&self, enabled: bool, module: &str) {
        self.gil.send_if_modified(|gil| {
            let is_news = gil.enabled != enabled || gil.module != module;
            if is_news {
                *gil = Gil { enabled, module: module.to_owned() };
            }
            is_news
        });
    }

    pub(crate) fn gil(&self) -> watch::Receiver<Gil> {
        self.gil.subscribe()
    }

    pub(crate) fn last_seen(&self) -> Instant {
        self.origin + Duration::from_micros(self.seen_us.load(Ordering::Relaxed))
    }

    pub(crate) fn read(&self) -> (u32, u32, bool) {
        let running = self.running.load(Ordering::Relaxed);
        let queued = self.queued.load(Ordering::Relaxed);
        (running, queued, self.gil.borrow().enabled)
    }
}

impl Shared {
    pub(crate) fn new(options: LinkOptions, closer: Closer, traffic: Arc<Traffic>) -> Self {
        let LinkOptions { pool, worker_id, control, heartbeat, max_payload_bytes, memory } =
            options;
        let loans = memory.map(|(memory, channel)| Loans::new(memory, channel));
        Self {
            pool,
            worker_id,
            heartbeat,
            max_payload_bytes,
            control,
            closer,
            loans,
            state: Mutex::new(State {
                intake: Intake::Open,
                outbox: Outbox::default(),
                in_flight: FxHashMap::default(),
                refused: Vec::new(),
                pings: FxHashMap::default(),
                checks: FxHashMap::default(),
                last_nonce: 0,
                farewell: None,
                closed_by_host: false,
                waker: None,
            }),
            vitals: Vitals {
                origin: Instant::now(),
                seen_us: AtomicU64::new(0),
                running: AtomicU32::new(0),
                queued: AtomicU32::new(0),
                gil: watch::Sender::default(),
            },
            traffic,
            drained: watch::Sender::new(false),
            ended: watch::Sender::new(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two steps that belong together, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a call. See `snakepit_core::Worker::submit`.
    pub(crate) fn submit(
        &self,
        call: &Call,
        timeout: Option<Duration>,
        reply: Reply,
    ) -> Result<(), Reply> {
        let request = &call.request;
        let mut frame = v1::Call {
            call_id: call.id.get(),
            command: request.command.as_ref().to_owned(),
            arguments: None,
            timeout_us: convert::timeout_to_wire(timeout),
            session_id: request.session.as_ref().map_or("", SessionId::as_str).to_owned(),
            streaming: call.stream_credit.is_some(),
            credit: call.stream_credit.unwrap_or(0),
            traceparent: request.traceparent.as_deref().unwrap_or_default().to_owned(),
            metadata: request.metadata.iter().cloned().collect(),
            depth: request.depth(),
        };
        let size = request.arguments.len() as u64;
        // Before the lock: what cannot be lent is encoded anew.
        let sending = match size {
            size if size > self.max_payload_bytes => Err(too_large(size, self.max_payload_bytes)),
            _ => sending(self.loans.as_ref(), &request.arguments),
        };
        let mut state = self.state();
        if state.intake != Intake::Open {
            drop(state);
            self.withdraw(sending);
            return Err(reply);
        }
        match sending {
            Ok(sending) => frame.arguments = Some(state.outbox.attach(sending)),
            Err(error) => {
                state.refused.push((reply, error));
                return Ok(());
            }
        }
        let entry = InFlight {
            reply,
            next_chunk: call.stream_credit.map(|_| 0),
            spoken: false,
            tool_errors: VecDeque::new(),
        };
        let before = state.in_flight.insert(frame.call_id, entry);
        debug_assert!(before.is_none(), "call ids are unique in a pool");
        state.outbox.push(Frame::Call(frame));
        Ok(())
    }

    /// Takes back what was lent for a frame that is not sent.
    fn withdraw(&self, sending: Result<Sending<'_>, Error>) {
        if let (Some(loans), Ok(sending)) = (&self.loans, sending) {
            loans.withdraw(&sending.references);
        }
    }

    /// Queues the answer to a tool call.
    pub(crate) fn answer_tool(&self, call: CallId, id: u64, result: Result<Payload, Error>) {
        let limit = self.max_payload_bytes;
        let result = result.and_then(|value| match value.len() as u64 {
            size if size > limit => Err(result_too_large(size, limit)),
            _ => Ok(value),
        });
        let sending = match &result {
            Ok(value) => sending(self.loans.as_ref(), value),
            Err(error) => Err(error.clone()),
        };
        let mut state = self.state();
        if state.intake == Intake::Ended {
            drop(state);
            self.withdraw(sending);
            return;
        }
        let frame = match sending {
            Ok(sending) => {
                let value = Some(state.outbox.attach(sending));
                Frame::ToolResult(v1::ToolResult { tool_call_id: id, value })
            }
            Err(error) => {
                let frame = convert::tool_error(id, &error);
                if let Some(entry) = state.in_flight.get_mut(&call.get()) {
                    if entry.tool_errors.len() == TOOL_ERRORS {
                        entry.tool_errors.pop_front();
                    }
                    entry.tool_errors.push_back((id, error));
                }
                Frame::ToolError(frame)
            }
        };
        state.outbox.push(frame);
    }

    /// Queues a frame that asks nothing of the in-flight table.
    pub(crate) fn push(&self, frame: Frame) {
        let mut state = self.state();
        if state.intake != Intake::Ended {
            state.outbox.push(frame);
        }
    }

    /// Wakes the outgoing stream if it waits and there is something for it.
    pub(crate) fn flush(&self) {
        let waker = {
            let mut state = self.state();
            if state.outbox.is_empty() && state.refused.is_empty() {
                None
            } else {
                state.waker.take()
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What the outgoing stream does next; `batch` is empty and receives what is ready.
    pub(crate) fn next_out(&self, batch: &mut VecDeque<Frame>, cx: &Context<'_>) -> Next {
        let mut state = self.state();
        if !state.refused.is_empty() {
            let refused = std::mem::take(&mut state.refused);
            drop(state);
            refuse(refused);
            // Their last events may have dispatched the next calls.
            state = self.state();
        }
        if let Some(loans) = &self.loans {
            for frame in loans.notices() {
                state.outbox.push(frame);
            }
        }
        state.outbox.take_frames(batch);
        if !batch.is_empty() {
            return Next::Batch;
        }
        if let Some(text) = state.farewell.take() {
            return Next::Farewell(text);
        }
        if state.intake == Intake::Ended {
            return Next::End;
        }
        if let Some(fragment) = state.outbox.next_fragment() {
            return Next::Fragment(fragment);
        }
        state.waker = Some(cx.waker().clone());
        if let Some(loans) = &self.loans {
            loans.wait(cx.waker());
        }
        Next::Wait
    }

    pub(crate) fn take(&self, call_id: u64) -> Option<InFlight> {
        self.state().in_flight.remove(&call_id)
    }

    /// What tells of a call's tool calls; none if it is not in flight.
    pub(crate) fn teller(&self, call_id: u64) -> Option<Teller> {
        self.state().in_flight.get(&call_id).map(|entry| entry.reply.teller())
    }

    /// Puts an entry back that was taken to tell something that was not its last event.
    pub(crate) fn put_back(&self, call_id: u64, entry: InFlight) {
        self.state().in_flight.insert(call_id, entry);
    }

    /// Notes that the worker has begun to answer a call. Until the answer is whole other calls may
    /// come and go, more than the control page remembers.
    pub(crate) fn note_spoken(&self, call_id: u64) {
        if let Some(entry) = self.state().in_flight.get_mut(&call_id) {
            entry.spoken = true;
        }
    }

    /// Number of calls in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.state().in_flight.len()
    }

    /// Takes no calls any more and asks the worker to finish those it has.
    pub(crate) fn drain(&self, deadline: Option<Duration>) {
        {
            let mut state = self.state();
            if state.intake != Intake::Open {
                return;
            }
            state.intake = Intake::Draining;
            let deadline_ms = deadline.map_or(0, |d| d.as_millis().max(1) as u64);
            state.outbox.push(Frame::Drain(v1::Drain { deadline_ms }));
        }
        self.flush();
    }

    /// Takes no calls any more and asks the worker to exit.
    pub(crate) fn shutdown(&self, grace: Duration) {
        {
            let mut state = self.state();
            if state.intake == Intake::Ended {
                return;
            }
            state.intake = Intake::Draining;
            let grace_ms = grace.as_millis() as u64;
            state.outbox.push(Frame::Shutdown(v1::Shutdown { grace_ms }));
        }
        self.flush();
    }

    pub(crate) fn ping(&self) -> oneshot::Receiver<()> {
        self.ask(|state| &mut state.pings, |nonce| Frame::Ping(v1::Ping { nonce }))
    }

    /// Sends a question under a number of its own. The answer comes through the receiver, which
    /// fails when the link ends.
    fn ask<T>(
        &self,
        asked: impl FnOnce(&mut State) -> &mut FxHashMap<u64, oneshot::Sender<T>>,
        question: impl FnOnce(u64) -> Frame,
    ) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state();
            if state.intake != Intake::Ended {
                state.last_nonce += 1;
                let nonce = state.last_nonce;
                asked(&mut state).insert(nonce, answer);
                state.outbox.push(question(nonce));
            }
        }
        self.flush();
        answered
    }

    pub(crate) fn pong(&self, nonce: u64) {
        if let Some(pong) = self.state().pings.remove(&nonce) {
            // Whoever asked may have stopped waiting.
            let _ = pong.send(());
        }
    }

    pub(crate) fn check_health(&self) -> oneshot::Receiver<Result<(), String>> {
        let question = |check_id| Frame::HealthCheck(v1::HealthCheck { check_id });
        self.ask(|state| &mut state.checks, question)
    }

    pub(crate) fn health_report(&self, report: v1::HealthReport) {
        if let Some(check) = self.state().checks.remove(&report.check_id) {
            let failure = report.failure;
            // Whoever asked may have stopped waiting.
            let _ = check.send(if failure.is_empty() { Ok(()) } else { Err(failure) });
        }
    }

    pub(crate) fn drain_done(&self) {
        self.drained.send_replace(true);
    }

    pub(crate) fn drained(&self) -> watch::Receiver<bool> {
        self.drained.subscribe()
    }

    pub(crate) fn ended(&self) -> watch::Receiver<Option<LinkEnd>> {
        self.ended.subscribe()
    }

    /// Closes the socket on the owner's behalf; the reader then sees its end and ends the link.
    pub(crate) fn close(&self) {
        self.state().closed_by_host = true;
        self.hang_up();
    }

    /// Closes the socket because the transport is done with it.
    pub(crate) fn hang_up(&self) {
        self.closer.close();
    }

    /// Says why before the stream ends.
    pub(crate) fn farewell(&self, text: String) {
        self.state().farewell = Some(text);
    }

    /// Ends the link: nothing enters any more, and whoever waits for the end is told. Called by
    /// the reader, once.
    pub(crate) fn end(&self, end: LinkEnd) {
        let (waker, refused, closed_by_host) = {
            let mut state = self.state();
            state.intake = Intake::Ended;
            state.pings.clear();
            state.checks.clear();
            let refused = std::mem::take(&mut state.refused);
            (state.waker.take(), refused, state.closed_by_host)
        };
        refuse(refused);
        if let Some(waker) = waker {
            waker.wake();
        }
        let end = match end {
            LinkEnd::WorkerGone if closed_by_host => LinkEnd::Closed,
            end => end,
        };
        self.ended.send_replace(Some(end));
    }

    /// Tells every call that is still in flight what became of it: `Returned` if its tool was
    /// never entered, else `lost`. The worker must be unable to start anything by now.
    pub(crate) fn settle(&self, lost: &Error) {
        self.resolve(|call_id| self.control.was_started(call_id), lost);
        if let Some(loans) = &self.loans {
            loans.close();
        }
    }

    /// As [`settle`](Self::settle) for a worker that may still be running: any call may start.
    pub(crate) fn abandon(&self, lost: &Error) {
        self.resolve(|_| true, lost);
    }

    fn resolve(&self, was_started: impl Fn(u64) -> bool, lost: &Error) {
        let in_flight = std::mem::take(&mut self.state().in_flight);
        // By call id, so that calls go back to the queue in the order they came from it.
        let mut in_flight: Vec<_> = in_flight.into_iter().collect();
        in_flight.sort_unstable_by_key(|(call_id, _)| *call_id);
        for (call_id, entry) in in_flight {
            let chunks_seen = entry.next_chunk.is_some_and(|next| next > 0);
            let event = if chunks_seen || entry.spoken || was_started(call_id) {
                CallEvent::Failed { error: lost.clone(), run_time: None }
            } else {
                CallEvent::Returned
            };
            entry.reply.finish(event);
        }
    }
}

fn refuse(refused: Vec<(Reply, Error)>) {
    for (reply, error) in refused {
        reply.finish(CallEvent::Failed { error, run_time: None });
    }
}

fn too_large(size: u64, limit: u64) -> Error {
    Error::new(
        ErrorKind::PayloadTooLarge,
        format!("the arguments take {size} bytes, and the limit is {limit}"),
    )
    .with_help("send less, or raise the pool's `max_payload` setting")
    .with_detail("size_bytes", size.to_string())
    .with_detail("limit_bytes", limit.to_string())
}

fn result_too_large(size: u64, limit: u64) -> Error {
    let message = format!("the tool's result takes {size} bytes, and the limit is {limit}");
    Error::new(ErrorKind::PayloadTooLarge, message)
        .with_help("return less, or raise the pool's `max_payload` setting")
        .with_detail("size_bytes", size.to_string())
        .with_detail("limit_bytes", limit.to_string())
}

pub(crate) fn wire_ids(calls: &[CallId]) -> Vec<u64> {
    calls.iter().map(|call| call.get()).collect()
}
