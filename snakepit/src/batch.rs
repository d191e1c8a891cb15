//! Many calls at once, made and submitted as others end. How many are under way is `pace`'s
//! decision.
//!
//! Invariant: a batch holds no more calls than may be under way, however many there are to come.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::iter::{Empty, Fuse};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;
use serde::de::DeserializeOwned;
use snakepit_core::{BoxFuture, CallHandle, Completed, Error, ErrorKind};

use crate::call::{Call, Prepared};
use crate::host::Snakepit;
use crate::pace::Pace;

/// The longest a call of a batch waits for a slot unless it says otherwise: its deadline ends it
/// long before. A batch waits by its nature, so the pool's queue timeout is not meant for it.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(366 * 86_400);

/// The results of a batch as they come, each with its call's position; calls are taken from the
/// iterator `I` and submitted as others end, while results are read.
///
/// [`push`](Self::push) adds calls meanwhile, for input that no iterator can wait for;
/// [`has_room`](Self::has_room) says when that keeps the workers busy.
///
/// # Cancel safety
/// Dropping it cancels the calls that have not ended. Dropping a future of [`next`](Self::next)
/// loses no result.
#[must_use = "a batch makes progress only while it is read"]
pub struct BatchStream<T, I = Empty<Call>> {
    /// Calls that have not been made yet.
    calls: Fuse<I>,
    waiting: VecDeque<Waiting>,
    under_way: FuturesUnordered<Numbered>,
    pace: Pace,
    /// Position of the next call that is made.
    next_position: usize,
    /// Calls that failed without being submitted.
    failed: VecDeque<(usize, Error)>,
    decoded: PhantomData<fn() -> T>,
}

/// Nothing in it is ever pinned.
impl<T, I> Unpin for BatchStream<T, I> {}

struct Waiting {
    position: usize,
    call: Prepared,
}

struct Numbered {
    position: usize,
    running: Running,
    /// The same call, should the queue be full when it gets there.
    again: Option<Prepared>,
    /// Keeps the pools running.
    _alive: Snakepit,
}

/// A call under way, alone or through the layers of its pool.
enum Running {
    Alone(CallHandle),
    Layered(BoxFuture<'static, Result<Completed, Error>>),
}

impl Future for Numbered {
    type Output = (usize, Result<Completed, Error>, Option<Prepared>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(match &mut self.running {
            Running::Alone(handle) => Pin::new(handle).poll(cx),
            Running::Layered(call) => call.as_mut().poll(cx),
        });
        Poll::Ready((self.position, result, self.again.take()))
    }
}

impl<T: DeserializeOwned, I: Iterator<Item = Call>> BatchStream<T, I> {
    pub(crate) fn new(calls: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            calls: calls.into_iter().fuse(),
            waiting: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            pace: Pace::default(),
            next_position: 0,
            failed: VecDeque::new(),
            decoded: PhantomData,
        }
    }

    /// Sets how many calls are under way at a time, which is otherwise chosen by the pool's size
    /// and how long calls take.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.pace = Pace::fixed(calls);
        self
    }

    /// Adds a call, which is submitted when the batch is read; gives its position, which comes
    /// after those that the batch has taken from its iterator until now. A batch that has given its
    /// last result goes on with it.
    pub fn push(&mut self, call: Call) -> usize {
        let position = self.next_position;
        self.next_position += 1;
        match call.prepare() {
            Ok(mut call) => {
                let limit = &mut call.request.queue_timeout;
                *limit = limit.or(Some(QUEUE_TIMEOUT));
                self.waiting.push_back(Waiting { position, call });
            }
            Err(error) => self.failed.push_back((position, error)),
        }
        position
    }

    /// Whether one more call would be submitted at once.
    pub fn has_room(&mut self) -> bool {
        // Which pool the next call goes to is not known, so the last one's size has to do.
        let window = self.pace.window(self.waiting.back().map(|waiting| &*waiting.call.entry));
        self.waiting.len() + self.under_way.len() < window
    }

    /// The next result that is there, with its call's position in the batch; `None` after the last.
    pub async fn next(&mut self) -> Option<(usize, Result<T, Error>)> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Makes the calls that there is room for. One that fails at once is told before the next is
    /// made: should all of them fail, they would have no end.
    fn make(&mut self) {
        while self.failed.is_empty() && self.has_room() {
            let Some(call) = self.calls.next() else { return };
            self.push(call);
        }
    }

    /// Submits what there is room for, one run of calls to the same pool at a time.
    fn refill(&mut self) {
        self.make();
        while let Some(first) = self.waiting.front() {
            let (pool, layered) = (Arc::clone(&first.call.entry), first.call.has_layers());
            let room = self.pace.window(Some(&pool)).saturating_sub(self.under_way.len());
            if room == 0 {
                return;
            }
            if layered && let Some(Waiting { position, call }) = self.waiting.pop_front() {
                let (_alive, again) = (call.alive.clone(), Some(call.clone()));
                let running = Running::Layered(call.errand().complete());
                self.under_way.push(Numbered { position, running, again, _alive });
                continue;
            }
            let same = |waiting: &&Waiting| {
                Arc::ptr_eq(&waiting.call.entry, &pool) && !waiting.call.has_layers()
            };
            let count = self.waiting.iter().take(room).take_while(same).count();
            let run: Vec<Waiting> = self.waiting.drain(..count).collect();
            let requests = run.iter().map(|waiting| waiting.call.request.clone());
            let handles = pool.pool.submit_many(requests);
            let mut refused = Vec::new();
            for (waiting, handle) in run.into_iter().zip(handles) {
                let position = waiting.position;
                match handle {
                    Ok(handle) => {
                        let (_alive, running) = (waiting.call.alive, Running::Alone(handle));
                        let again = None;
                        self.under_way.push(Numbered { position, running, again, _alive });
                    }
                    // Others fill the queue: the end of a call of our own tells when to try again.
                    Err(error)
                        if error.kind() == ErrorKind::PoolSaturated
                            && !self.under_way.is_empty() =>
                    {
                        refused.push(waiting);
                    }
                    Err(error) => self.failed.push_back((position, error)),
                }
            }
            if !refused.is_empty() {
                for waiting in refused.into_iter().rev() {
                    self.waiting.push_front(waiting);
                }
                return;
            }
        }
    }
}

impl<T: DeserializeOwned, I: Iterator<Item = Call>> Stream for BatchStream<T, I> {
    type Item = (usize, Result<T, Error>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.refill();
        if let Some((position, error)) = self.failed.pop_front() {
            return Poll::Ready(Some((position, Err(error))));
        }
        loop {
            let ended = std::task::ready!(Pin::new(&mut self.under_way).poll_next(cx));
            let Some((position, result, again)) = ended else { return Poll::Ready(None) };
            if let (Err(error), Some(call)) = (&result, again)
                && error.kind() == ErrorKind::PoolSaturated
                && !self.under_way.is_empty()
            {
                // As for those that were refused at once.
                self.waiting.push_front(Waiting { position, call });
                continue;
            }
            let result = result.and_then(|completed| {
                self.pace.ended(completed.run_time);
                completed.payload.decode()
            });
            return Poll::Ready(Some((position, result)));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let made = self.waiting.len() + self.under_way.len() + self.failed.len();
        let (least, most) = self.calls.size_hint();
        (least.saturating_add(made), most.and_then(|most| most.checked_add(made)))
    }
}
