//! Calls in the other direction: tools of the host that running tools wait for.
//!
//! Owns which of them are open, their answers, and whom to wake; and the list of what the host
//! offers. Knows neither frames nor Python objects. Invariant: an open tool call is answered, or
//! stopped with its call, exactly once.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use snakepit_proto::v1::{self, Codec};

use super::state::CallState;
use crate::link::Wake;
use crate::shm::Arrived;

/// The tool calls of this worker that wait for their answer.
#[derive(Default)]
pub(crate) struct ToolCalls {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last_id: u64,
    open: FxHashMap<u64, Arc<ToolWait>>,
    offered: Arc<Vec<v1::Tool>>,
}

/// One tool call, for whoever waits for it.
pub(crate) struct ToolWait {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) call: Arc<CallState>,
    /// Whether there is an answer, whether or not it was taken.
    answered: AtomicBool,
    state: Mutex<State>,
}

struct State {
    answer: Option<ToolAnswer>,
    listener: Listener,
}

/// Who is to hear of an answer.
enum Listener {
    /// Nobody yet.
    None,
    /// A thread that waits.
    Thread(Waker),
    /// The event loop that watches this.
    Loop(Arc<Wake>),
}

/// What became of a tool call.
pub(crate) enum ToolAnswer {
    /// What it returned, in the parts it came in, and what lies beside them.
    Value(Codec, Vec<Bytes>, Arrived),
    /// It failed.
    Failed(v1::ToolError),
    /// The call that made it has ended, or was told to.
    Stopped,
}

impl ToolCalls {
    /// Opens a tool call of a running call; none if that has ended.
    pub(crate) fn open(
        &self,
        call: &Arc<CallState>,
        name: &str,
        event_loop: Option<Arc<Wake>>,
    ) -> Option<Arc<ToolWait>> {
        let mut inner = self.lock();
        if call.has_ended() {
            return None;
        }
        call.note_tool_call();
        inner.last_id += 1;
        let wait = Arc::new(ToolWait {
            id: inner.last_id,
            name: name.to_owned(),
            call: Arc::clone(call),
            answered: AtomicBool::new(false),
            state: Mutex::new(State {
                answer: None,
                listener: event_loop.map_or(Listener::None, Listener::Loop),
            }),
        });
        inner.open.insert(wait.id, Arc::clone(&wait));
        Some(wait)
    }

    /// Answers a tool call; one that is not open any more needs none.
    pub(crate) fn answer(&self, id: u64, answer: ToolAnswer) {
        let wait = self.lock().open.remove(&id);
        if let Some(wait) = wait {
            wait.answer(answer);
        }
    }

    /// Closes a tool call that nobody waits for any more; whether it was open.
    pub(crate) fn forget(&self, id: u64) -> bool {
        self.lock().open.remove(&id).is_some()
    }

    /// Answers all tool calls of a call that was told to stop.
    pub(crate) fn stop(&self, call_id: u64) {
        self.stop_all(|wait| wait.call.id == call_id);
    }

    /// The same for every call that was told to.
    pub(crate) fn stop_those_told(&self) {
        self.stop_all(|wait| wait.call.stop_reason().is_some());
    }

    /// The call has ended: what it has left behind gets no answer.
    pub(crate) fn end(&self, call: &CallState) {
        if call.end() {
            self.stop(call.id);
        }
    }

    /// Replaces what the host offers.
    pub(crate) fn offer(&self, tools: Vec<v1::Tool>) {
        self.lock().offered = Arc::new(tools);
    }

    /// What the host offers.
    pub(crate) fn offered(&self) -> Arc<Vec<v1::Tool>> {
        Arc::clone(&self.lock().offered)
    }

    fn stop_all(&self, which: impl Fn(&ToolWait) -> bool) {
        let mut stopped = Vec::new();
        self.lock().open.retain(|_, wait| {
            let stop = which(wait);
            if stop {
                stopped.push(Arc::clone(wait));
            }
            !stop
        });
        for wait in stopped {
            wait.answer(ToolAnswer::Stopped);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ToolWait {
    /// Whether there is an answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    /// Takes the answer; none if there is none yet, or it was taken.
    pub(crate) fn take(&self) -> Option<ToolAnswer> {
        self.lock().answer.take()
    }

    /// Ready when there is an answer. For one thread.
    pub(crate) async fn ready(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            if self.is_answered() {
                return Poll::Ready(());
            }
            state.listener = Listener::Thread(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn answer(&self, answer: ToolAnswer) {
        let mut state = self.lock();
        state.answer = Some(answer);
        // Under the lock, so that a thread cannot miss it between its look and its sleep.
        self.answered.store(true, Ordering::Release);
        let listener = std::mem::replace(&mut state.listener, Listener::None);
        drop(state);
        match listener {
            Listener::None => {}
            Listener::Thread(waker) => waker.wake(),
            Listener::Loop(wake) => wake.wake(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
