//! The caller's end of a call: futures that only await, on any executor. Dropping one cancels the
//! call and nothing else; its slot comes back when the worker answers.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::oneshot;

use super::Shared;
use crate::error::Error;
use crate::ids::{CallId, WorkerId};
use crate::payload::Payload;
use crate::worker::CreditExceeded;

/// A call that ended well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Completed {
    /// What the tool returned.
    pub payload: Payload,
    /// Time between submission and dispatch to a worker.
    pub queue_time: Duration,
    /// Time spent in the tool.
    pub run_time: Duration,
    /// The worker that ran it.
    pub worker: WorkerId,
}

/// A call under way; await it for the result.
///
/// # Cancel safety
/// Dropping it cancels the call: a queued one leaves the queue, a running one sees
/// `context.cancelled`. Awaiting it through a reference and dropping that future loses nothing.
#[must_use = "dropping a call handle cancels the call"]
pub struct CallHandle {
    shared: Arc<Shared>,
    call: CallId,
    answer: oneshot::Receiver<Result<Completed, Error>>,
    answered: bool,
}

impl CallHandle {
    pub(super) fn new(
        shared: Arc<Shared>,
        call: CallId,
        answer: oneshot::Receiver<Result<Completed, Error>>,
    ) -> Self {
        Self { shared, call, answer, answered: false }
    }

    /// The call's number.
    pub fn id(&self) -> CallId {
        self.call
    }
}

impl Future for CallHandle {
    type Output = Result<Completed, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(cx));
        self.answered = true;
        // The pool answers every call before it lets go of it; were it to fail in that, the
        // caller must not hang.
        Poll::Ready(answer.unwrap_or_else(|_| Err(super::pool_gone())))
    }
}

impl Drop for CallHandle {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.abandon(self.call);
        }
    }
}

/// The results of a streamed call, in order.
///
/// A worker sends only as much as there is room for; reading makes room.
///
/// # Cancel safety
/// Dropping it cancels the call. Dropping a future of [`next`](Self::next) loses no item.
#[must_use = "dropping a call stream cancels the call"]
pub struct CallStream {
    shared: Arc<Shared>,
    call: CallId,
    buffer: Arc<StreamBuffer>,
    /// Items taken since room was last granted.
    taken: u32,
}

impl CallStream {
    pub(super) fn new(shared: Arc<Shared>, call: CallId, buffer: Arc<StreamBuffer>) -> Self {
        Self { shared, call, buffer, taken: 0 }
    }

    /// The call's number.
    pub fn id(&self) -> CallId {
        self.call
    }

    /// The next item; `None` after the last one or an error.
    pub async fn next(&mut self) -> Option<Result<Payload, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for CallStream {
    type Item = Result<Payload, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(self.buffer.poll_pop(cx));
        if let Some(Ok(_)) = &item {
            self.taken += 1;
            // Granting in halves keeps the worker busy with one frame per several items.
            if self.taken * 2 >= self.buffer.credit {
                let room = std::mem::take(&mut self.taken);
                self.buffer.lock().allowed += room;
                self.shared.grant(self.call, room);
            }
        }
        Poll::Ready(item)
    }
}

impl Drop for CallStream {
    fn drop(&mut self) {
        if !self.buffer.lock().ended {
            self.shared.abandon(self.call);
        }
    }
}

/// Items between worker and caller; never more than were granted.
pub(super) struct StreamBuffer {
    /// Items that may be under way or unread at a time.
    credit: u32,
    state: Mutex<BufferState>,
}

struct BufferState {
    items: VecDeque<Payload>,
    error: Option<Error>,
    /// Whether the last event has come.
    ended: bool,
    /// How many more items the worker may send.
    allowed: u32,
    reader: Option<Waker>,
}

impl StreamBuffer {
    pub(super) fn new(credit: u32) -> Self {
        let state = BufferState {
            items: VecDeque::new(),
            error: None,
            ended: false,
            allowed: credit,
            reader: None,
        };
        Self { credit, state: Mutex::new(state) }
    }

    /// Takes an item from the worker; the returned waker is to be woken without any lock held.
    pub(super) fn push(&self, item: Payload) -> Result<Option<Waker>, CreditExceeded> {
        let mut state = self.lock();
        state.allowed = state.allowed.checked_sub(1).ok_or(CreditExceeded)?;
        state.items.push_back(item);
        Ok(state.reader.take())
    }

    /// Notes the end, after which nothing more is pushed.
    pub(super) fn end(&self, result: Result<(), Error>) {
        let mut state = self.lock();
        state.ended = true;
        state.error = result.err();
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Whether it is the reader that keeps the worker waiting.
    pub(super) fn has_unread(&self) -> bool {
        !self.lock().items.is_empty()
    }

    fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload, Error>>> {
        let mut state = self.lock();
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Some(Ok(item)));
        }
        if state.ended {
            return Poll::Ready(state.error.take().map(Err));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, BufferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
