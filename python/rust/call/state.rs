//! The state of one call, shared between the link and the thread that runs it.
//!
//! Owns its description, whether it was cancelled, and its credit for chunks. Invariant: a
//! cancellation is never taken back, and the first reason stays.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::session::Session;

/// Why a running call should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum StopReason {
    /// Nobody waits for it any more, or the worker goes away.
    Cancelled = 1,
    /// Its time is over.
    Deadline = 2,
}

/// One call as the host described it, and what became of it since.
#[derive(Debug)]
pub(crate) struct CallState {
    pub(crate) id: u64,
    pub(crate) command: String,
    /// The session it belongs to.
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) traceparent: String,
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) streaming: bool,
    pub(crate) deadline: Option<Instant>,
    /// How many tool calls deep it is nested.
    pub(crate) depth: u32,
    stopped: AtomicU8,
    ended: AtomicBool,
    /// Whether it has ever called a tool of the host.
    calls_tools: AtomicBool,
    credit: Mutex<Credit>,
}

#[derive(Debug, Default)]
struct Credit {
    chunks: u64,
    /// The thread that waits for credit.
    waiter: Option<Waker>,
}

impl CallState {
    pub(crate) fn new(id: u64, command: String, timeout: Option<Duration>) -> Self {
        Self {
            id,
            command,
            session: None,
            traceparent: String::new(),
            metadata: HashMap::new(),
            streaming: false,
            // A timeout too long for the clock is none.
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            depth: 0,
            stopped: AtomicU8::new(0),
            ended: AtomicBool::new(false),
            calls_tools: AtomicBool::new(false),
            credit: Mutex::default(),
        }
    }

    /// Time left until the deadline; zero once it has passed.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Why the call should stop, if it should.
    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        // Relaxed: the flag guards no other data.
        match self.stopped.load(Ordering::Relaxed) {
            0 if self.remaining() == Some(Duration::ZERO) => Some(StopReason::Deadline),
            0 => None,
            reason if reason == StopReason::Deadline as u8 => Some(StopReason::Deadline),
            _ => Some(StopReason::Cancelled),
        }
    }

    /// Notes that the call was answered; whether it has called tools of the host.
    pub(super) fn end(&self) -> bool {
        // SeqCst, here and below: of a call that ends and a thread it has left behind, one sees the
        // other. Who sees neither is refused by the host.
        self.ended.store(true, Ordering::SeqCst);
        self.calls_tools.load(Ordering::SeqCst)
    }

    /// Whether the call was answered.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Notes that the call calls a tool of the host.
    pub(super) fn note_tool_call(&self) {
        self.calls_tools.store(true, Ordering::SeqCst);
    }

    /// Tells the call to stop, and wakes it if it waits for credit.
    pub(crate) fn stop(&self, reason: StopReason) {
        // Under the lock, so that a waiter cannot miss it between its look and its sleep.
        let mut credit = self.credit();
        let _ =
            self.stopped.compare_exchange(0, reason as u8, Ordering::Relaxed, Ordering::Relaxed);
        credit.wake();
    }

    pub(crate) fn add_credit(&self, chunks: u32) {
        let mut credit = self.credit();
        credit.chunks += u64::from(chunks);
        credit.wake();
    }

    /// Takes one credit if there is any.
    pub(crate) fn try_take_credit(&self) -> bool {
        let mut credit = self.credit();
        let taken = credit.chunks > 0;
        credit.chunks -= u64::from(taken);
        taken
    }

    /// Ready when there is credit, or the call was stopped; not at its deadline.
    pub(crate) async fn credit_or_stop(&self) {
        poll_fn(|context| {
            let mut credit = self.credit();
            if credit.chunks > 0 || self.stop_reason().is_some() {
                return Poll::Ready(());
            }
            credit.waiter = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn credit(&self) -> MutexGuard<'_, Credit> {
        self.credit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Credit {
    fn wake(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}
