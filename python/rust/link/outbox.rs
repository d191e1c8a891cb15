//! Frames on their way to the host.
//!
//! Owns the order in which they leave: small ones first in, first out; the tails of large
//! payloads in turns, and only while nothing else waits. Invariant: frames of one call keep their
//! order, so what follows a large chunk waits for its tail; what a frame keeps is let go when it has
//! left.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;
use snakepit_proto::v1::worker_message::Frame;
use snakepit_proto::v1::{self, Fragment, WorkerMessage};
use tonic::Status;

use crate::shm::Kept;

/// How many frames from the end a newer progress report looks for an older one to replace.
const PROGRESS_LOOK_BACK: usize = 64;

/// How many events may wait to leave. As many as the original's stream of them held.
const MAX_EVENTS: usize = 1024;

pub(crate) struct Outbox {
    inner: Mutex<Inner>,
}

/// A frame, and the host's memory that it names.
struct Item {
    frame: Frame,
    kept: Kept,
}

struct Inner {
    frames: VecDeque<Item>,
    tails: VecDeque<Tail>,
    /// How many of the frames are events.
    events: usize,
    /// Events dropped since the last one that was taken.
    dropped_events: u64,
    /// The task that sends, while it waits for frames.
    sleeper: Option<Waker>,
    /// Threads that drive the runtime. While there is none, waking the sleeper would be for nobody
    /// and cost more than all else here: whoever drives next wakes it.
    attendants: usize,
    fragment_bytes: usize,
    last_payload_id: u64,
    sent: u64,
    closed: bool,
}

/// The rest of a payload that has been announced.
struct Tail {
    payload_id: u64,
    offset: u64,
    rest: Bytes,
    call_id: u64,
    /// Later frames of the same call.
    after: VecDeque<Item>,
}

impl Outbox {
    pub(crate) fn new() -> Arc<Self> {
        let inner = Inner {
            frames: VecDeque::new(),
            tails: VecDeque::new(),
            events: 0,
            dropped_events: 0,
            sleeper: None,
            attendants: 0,
            fragment_bytes: snakepit_proto::FRAGMENT_BYTES,
            last_payload_id: 0,
            sent: 0,
            closed: false,
        };
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    /// Sends a frame, at once if somebody [attends](Self::attend). After [`close`](Self::close) it
    /// goes nowhere.
    pub(crate) fn push(&self, frame: Frame) {
        self.push_with(frame, Kept::new());
    }

    /// The same for a frame that names memory of the host's: it is let go when the frame has left.
    pub(crate) fn push_with(&self, frame: Frame, kept: Kept) {
        let item = Item { frame, kept };
        let mut inner = self.lock();
        if inner.closed {
            // What it kept is given back by way of this very lock.
            drop(inner);
            return;
        }
        inner.enqueue(item);
        inner.wake_after();
    }

    /// Sends a progress report in place of one of the same call that has not left yet.
    pub(crate) fn push_progress(&self, progress: v1::Progress) {
        let mut inner = self.lock();
        let call_id = progress.call_id;
        // Not past another frame of the call, for order's sake.
        let last_of_call = inner
            .frames
            .iter_mut()
            .rev()
            .take(PROGRESS_LOOK_BACK)
            .find(|item| call_of(&item.frame) == Some(call_id));
        if let Some(Item { frame: Frame::Progress(waiting), .. }) = last_of_call {
            *waiting = progress;
            return;
        }
        drop(inner);
        self.push(Frame::Progress(progress));
    }

    /// Sends an event, or drops and counts it if too many wait; whoever tells of something does not
    /// wait for that to leave.
    pub(crate) fn push_event(&self, mut event: v1::Event) {
        let mut inner = self.lock();
        if inner.events >= MAX_EVENTS {
            inner.dropped_events += 1;
            return;
        }
        inner.events += 1;
        event.dropped = std::mem::take(&mut inner.dropped_events);
        drop(inner);
        self.push(Frame::Event(event));
    }

    /// Gives back a use of a segment, together with others that have not left yet.
    pub(crate) fn push_release(&self, segment_id: u64, generation: u64) {
        let released = v1::ShmSegment { segment_id, generation, size_bytes: 0 };
        let mut inner = self.lock();
        if let Some(Item { frame: Frame::ShmRelease(waiting), .. }) = inner.frames.back_mut() {
            waiting.segments.push(released);
            return;
        }
        drop(inner);
        self.push(Frame::ShmRelease(v1::ShmRelease { segments: vec![released] }));
    }

    /// Wakes the task that sends if frames wait, and again for each that comes until the guard is
    /// dropped. For whoever drives the runtime, from within.
    pub(super) fn attend(&self) -> Attendance<'_> {
        let mut inner = self.lock();
        inner.attendants += 1;
        if inner.has_news() {
            inner.wake_after();
        }
        Attendance(self)
    }

    pub(super) fn set_fragment_bytes(&self, bytes: usize) {
        self.lock().fragment_bytes = bytes;
    }

    /// How many frames have left.
    pub(super) fn sent(&self) -> u64 {
        self.lock().sent
    }

    /// Takes no more frames; the stream ends when those that wait have left.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.wake_after();
    }

    /// Whether it is closed and the last frame has left.
    pub(super) fn is_drained(&self) -> bool {
        let inner = self.lock();
        inner.closed && inner.frames.is_empty() && inner.tails.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody drives the runtime.
pub(super) struct Attendance<'a>(&'a Outbox);

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        self.0.lock().attendants -= 1;
    }
}

/// An extension, so that the lock is gone before the other thread is woken.
trait WakeAfter {
    fn wake_after(self);
}

impl WakeAfter for MutexGuard<'_, Inner> {
    fn wake_after(mut self) {
        let sleeper = if self.attendants > 0 { self.sleeper.take() } else { None };
        drop(self);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

impl Inner {
    fn has_news(&self) -> bool {
        self.closed || !self.frames.is_empty() || !self.tails.is_empty()
    }

    fn enqueue(&mut self, mut item: Item) {
        let Some(call_id) = call_of(&item.frame) else {
            self.frames.push_back(item);
            return;
        };
        if let Some(tail) = self.tails.iter_mut().find(|tail| tail.call_id == call_id) {
            tail.after.push_back(item);
            return;
        }
        let fragment_bytes = self.fragment_bytes;
        if let Some(payload) = payload_of(&mut item.frame)
            && payload.data.len() > fragment_bytes
        {
            self.last_payload_id += 1;
            let rest = std::mem::take(&mut payload.data);
            payload.total_bytes = rest.len() as u64;
            payload.payload_id = self.last_payload_id;
            self.tails.push_back(Tail {
                payload_id: self.last_payload_id,
                offset: 0,
                rest,
                call_id,
                after: VecDeque::new(),
            });
        }
        self.frames.push_back(item);
    }

    fn next(&mut self) -> Option<Item> {
        if let Some(item) = self.frames.pop_front() {
            self.events -= usize::from(matches!(item.frame, Frame::Event(_)));
            return Some(item);
        }
        let mut tail = self.tails.pop_front()?;
        let data = tail.rest.split_to(self.fragment_bytes.min(tail.rest.len()));
        let (payload_id, offset) = (tail.payload_id, tail.offset);
        tail.offset += data.len() as u64;
        if tail.rest.is_empty() {
            for item in tail.after {
                self.enqueue(item);
            }
        } else {
            self.tails.push_back(tail);
        }
        let frame = Frame::Fragment(Fragment { payload_id, offset, data });
        Some(Item { frame, kept: Kept::new() })
    }
}

/// The outbox as the stream that is sent. There is one per outbox.
pub(super) struct Outgoing(pub(super) Arc<Outbox>);

impl Stream for Outgoing {
    type Item = Result<WorkerMessage, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut inner = self.0.lock();
        if let Some(Item { frame, kept }) = inner.next() {
            inner.sent += 1;
            drop(inner);
            // A release that comes of it is behind the frame, and takes the lock.
            drop(kept);
            return Poll::Ready(Some(Ok(WorkerMessage { frame: Some(frame) })));
        }
        if inner.closed {
            return Poll::Ready(None);
        }
        inner.sleeper = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The call a frame belongs to, for those whose order matters.
fn call_of(frame: &Frame) -> Option<u64> {
    match frame {
        Frame::Result(result) => Some(result.call_id),
        Frame::Error(error) => Some(error.call_id),
        Frame::Chunk(chunk) => Some(chunk.call_id),
        Frame::ChunkEnd(end) => Some(end.call_id),
        Frame::Progress(progress) => Some(progress.call_id),
        Frame::ToolCall(call) => Some(call.call_id),
        Frame::ToolCancel(cancel) => Some(cancel.call_id),
        _ => None,
    }
}

fn payload_of(frame: &mut Frame) -> Option<&mut v1::Payload> {
    match frame {
        Frame::Result(result) => result.value.as_mut(),
        Frame::Chunk(chunk) => chunk.value.as_mut(),
        Frame::ToolCall(call) => call.arguments.as_mut(),
        _ => None,
    }
}
