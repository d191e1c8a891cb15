//! The calls of this worker: those that wait and those that run.
//!
//! Owns the decision which call starts, and with it the control page. Invariant: popping,
//! revoking and cancelling decide under one lock, and the control page is written under it too,
//! so a call is either given back or was announced as started, never both.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use snakepit_proto::v1::Codec;
use snakepit_shm::ControlWriter;

use super::session::Session;
use super::state::{CallState, StopReason};
use crate::shm::Arrived;

/// The dispatch thread that is Python's main thread.
const MAIN: usize = 0;

/// A call that has not started.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) state: Arc<CallState>,
    pub(crate) codec: Codec,
    /// The encoded arguments, in the parts they came in.
    pub(crate) arguments: Vec<Bytes>,
    /// What lies beside them.
    pub(crate) beside: Arrived,
}

/// What a dispatch thread does next.
pub(crate) enum Next {
    /// Run this call; the control page says so already.
    Call(Pending),
    /// Ask the adapter how it is.
    Check(u64),
    /// Tell the adapter that a session is over.
    SessionEnd(Arc<Session>),
    /// Say that this call's time was over before it started.
    Expired(Arc<CallState>),
    /// Say that everything is done.
    Drained,
    /// Wait.
    Idle,
    /// Leave.
    Stop,
}

/// What a cancellation met.
pub(crate) enum Cancelled {
    /// The call had not started and is gone.
    Waiting,
    /// The call runs and was told.
    Running,
    /// There is no such call: it ended already.
    Unknown,
}

pub(crate) struct Queue {
    inner: Mutex<Inner>,
    control: ControlWriter,
}

struct Inner {
    waiting: VecDeque<Pending>,
    /// Health checks that wait; they come before calls.
    checks: VecDeque<u64>,
    /// Sessions that are over, and have yet to be told of.
    ended: VecDeque<Arc<Session>>,
    /// Dispatch threads in a health check, or at the end of a session.
    aside: usize,
    /// One entry per dispatch thread.
    running: Vec<Option<Arc<CallState>>>,
    /// Dispatch threads that wait for something to do, by their slot.
    sleepers: Vec<Option<Sleeper>>,
    draining: bool,
    drain_said: bool,
    stopping: bool,
    /// Python's main thread is to come back, with or without something to do here.
    roused: bool,
}

/// A dispatch thread that waits.
struct Sleeper {
    waker: Waker,
    /// It drives the link meanwhile, so it is awake whenever something comes in.
    drives: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize, control: ControlWriter) -> Self {
        let inner = Inner {
            waiting: VecDeque::new(),
            checks: VecDeque::new(),
            ended: VecDeque::new(),
            aside: 0,
            running: vec![None; capacity],
            sleepers: std::iter::repeat_with(|| None).take(capacity).collect(),
            draining: false,
            drain_said: false,
            stopping: false,
            roused: false,
        };
        Self { inner: Mutex::new(inner), control }
    }

    /// Puts a call at the end; gives it back when no more calls are taken.
    pub(crate) fn push(&self, call: Pending) -> Result<(), Pending> {
        let mut inner = self.lock();
        if inner.draining || inner.stopping {
            return Err(call);
        }
        inner.waiting.push_back(call);
        wake_one(inner);
        Ok(())
    }

    /// Has the adapter asked how it is, before the calls that wait.
    pub(crate) fn check(&self, id: u64) {
        let mut inner = self.lock();
        inner.checks.push_back(id);
        wake_one(inner);
    }

    /// Has the adapter told that a session is over, when none of its calls is left.
    pub(crate) fn end_session(&self, session: Arc<Session>) {
        let mut inner = self.lock();
        inner.ended.push_back(session);
        wake_one(inner);
    }

    /// A check has been answered, or the end of a session told.
    pub(crate) fn done_aside(&self) {
        self.lock().aside -= 1;
    }

    /// Takes the next call for dispatch thread `slot`, without waiting.
    pub(crate) fn next(&self, slot: usize) -> Next {
        let mut inner = self.lock();
        // It is awake, or it would not ask: a wake-up is for another.
        inner.sleepers[slot] = None;
        if inner.stopping {
            return Next::Stop;
        }
        if let Some(check) = inner.checks.pop_front() {
            inner.aside += 1;
            return Next::Check(check);
        }
        if let Some(session) = inner.take_ended() {
            inner.aside += 1;
            return Next::SessionEnd(session);
        }
        if let Some(call) = inner.waiting.pop_front() {
            if call.state.remaining() == Some(Duration::ZERO) {
                return Next::Expired(call.state);
            }
            self.control.start(slot, call.state.id);
            inner.running[slot] = Some(call.state.clone());
            return Next::Call(call);
        }
        if inner.is_drained() {
            inner.drain_said = true;
            return Next::Drained;
        }
        Next::Idle
    }

    /// Ready when there may be something to do for dispatch thread `slot`; `drives` says that it
    /// drives the link while it waits.
    ///
    /// # Cancel safety
    /// Nothing is taken from the queue; [`next`](Self::next) must follow in any case.
    pub(crate) async fn ready(&self, slot: usize, drives: bool) {
        poll_fn(|context| {
            let mut inner = self.lock();
            let work = !inner.waiting.is_empty() || !inner.checks.is_empty() || inner.has_ended();
            let roused = slot == MAIN && std::mem::take(&mut inner.roused);
            // Who ends the last call says that all is done; until then there is nothing to do.
            if inner.stopping || inner.is_drained() || work || roused {
                return Poll::Ready(());
            }
            inner.sleepers[slot] = Some(Sleeper { waker: context.waker().clone(), drives });
            Poll::Pending
        })
        .await;
    }

    /// Has Python's main thread come back from [`ready`](Self::ready), now or the next time.
    pub(crate) fn rouse(&self) {
        let mut inner = self.lock();
        inner.roused = true;
        let sleeper = inner.sleepers[MAIN].take();
        drop(inner);
        if let Some(sleeper) = sleeper {
            sleeper.waker.wake();
        }
    }

    /// Dispatch thread `slot` has answered its call; returns whether others wait.
    pub(crate) fn finish(&self, slot: usize) -> bool {
        let mut inner = self.lock();
        inner.running[slot] = None;
        self.control.finish(slot);
        !inner.waiting.is_empty()
    }

    /// Removes a waiting call, or tells a running one.
    pub(crate) fn cancel(&self, id: u64, reason: StopReason) -> Cancelled {
        let mut inner = self.lock();
        if let Some(position) = inner.waiting.iter().position(|call| call.state.id == id) {
            inner.waiting.remove(position);
            return Cancelled::Waiting;
        }
        let running = inner.running_call(id);
        drop(inner);
        match running {
            Some(call) => {
                call.stop(reason);
                Cancelled::Running
            }
            None => Cancelled::Unknown,
        }
    }

    /// Tells every running call to stop.
    pub(crate) fn cancel_running(&self) {
        let running: Vec<_> = self.lock().running.iter().flatten().cloned().collect();
        for call in running {
            call.stop(StopReason::Cancelled);
        }
    }

    /// Removes those of the given calls that wait, and names them.
    pub(crate) fn revoke(&self, ids: &[u64]) -> Vec<u64> {
        let mut revoked = Vec::new();
        self.lock().waiting.retain(|call| {
            let taken = ids.contains(&call.state.id);
            if taken {
                revoked.push(call.state.id);
            }
            !taken
        });
        revoked
    }

    /// The state of a call that waits or runs.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<CallState>> {
        let inner = self.lock();
        let waiting = inner.waiting.iter().find(|call| call.state.id == id);
        waiting.map(|call| call.state.clone()).or_else(|| inner.running_call(id))
    }

    /// Takes no more calls; [`Next::Drained`] comes when the last one has ended.
    pub(crate) fn drain(&self) {
        let mut inner = self.lock();
        inner.draining = true;
        inner.wake_all();
    }

    /// Lets the dispatch threads leave after the calls they run.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        inner.wake_all();
    }

    /// Calls that run, and calls that wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.running.iter().flatten().count(), inner.waiting.len())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes a thread for what has come; it finds the lock free. The one that drives comes first, because
/// it is awake; the next one to come finds it gone from here and wakes another.
fn wake_one(mut inner: MutexGuard<'_, Inner>) {
    let drives = |sleeper: &Option<Sleeper>| sleeper.as_ref().is_some_and(|s| s.drives);
    let slot = inner.sleepers.iter().position(drives);
    let slot = slot.or_else(|| inner.sleepers.iter().position(Option::is_some));
    let sleeper = slot.and_then(|slot| inner.sleepers[slot].take());
    drop(inner);
    if let Some(sleeper) = sleeper {
        sleeper.waker.wake();
    }
}

impl Inner {
    /// Whether the last call has ended and nobody has said so.
    fn is_drained(&self) -> bool {
        let busy = self.aside > 0 || self.running.iter().any(Option::is_some);
        self.draining && !self.drain_said && !busy
    }

    /// Takes a session that is over and has no call left.
    fn take_ended(&mut self) -> Option<Arc<Session>> {
        let position = self.ended.iter().position(|session| !self.has_calls_of(session))?;
        self.ended.remove(position)
    }

    fn has_ended(&self) -> bool {
        self.ended.iter().any(|session| !self.has_calls_of(session))
    }

    fn has_calls_of(&self, session: &Arc<Session>) -> bool {
        let waiting = self.waiting.iter().map(|call| &call.state);
        let mut calls = waiting.chain(self.running.iter().flatten());
        calls.any(|call| call.session.as_ref().is_some_and(|own| Arc::ptr_eq(own, session)))
    }

    fn wake_all(&mut self) {
        for sleeper in self.sleepers.iter_mut().filter_map(Option::take) {
            sleeper.waker.wake();
        }
    }

    fn running_call(&self, id: u64) -> Option<Arc<CallState>> {
        self.running.iter().flatten().find(|call| call.id == id).cloned()
    }
}
