//! The last words to callers, and when they are told.
//!
//! Waking a caller's thread costs as much as everything else a call needs of the links' thread. So
//! where a turn has handed calls to workers, its answers wait until those are written: the workers
//! run again while the callers wake. Invariant: every answer is told, also when the runtime ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::caller::Completed;
use super::state::Caller;
use crate::error::{Error, ErrorKind};

/// The last word to a caller.
pub(super) enum Answer {
    Value(Completed),
    StreamEnd,
    Error(Error),
}

/// An answer and whom it is for.
pub(super) type Told = (Caller, Answer);

/// Answers that wait until the links have been written to.
pub(super) struct Answers {
    /// None when nobody is there to tell them later.
    waiting: Mutex<Option<Vec<Told>>>,
    some: Notify,
}

impl Answers {
    /// Has a task of `runtime` tell answers until [`close`](Self::close), or until the runtime ends.
    pub(super) fn serve(runtime: &Handle) -> Arc<Self> {
        let answers = Self { waiting: Mutex::new(Some(Vec::new())), some: Notify::new() };
        let answers = Arc::new(answers);
        // Made here, so that it works even if the runtime never comes to the task.
        let served = CloseOnDrop(Arc::clone(&answers));
        drop(runtime.spawn(async move { served.0.run().await }));
        answers
    }

    /// Tells the answers when what is ready on the links' thread has been done.
    pub(super) fn tell_soon(&self, answers: SmallVec<[Told; 1]>) {
        if answers.is_empty() {
            return;
        }
        if let Some(waiting) = &mut *self.lock() {
            waiting.extend(answers);
            return self.some.notify_one();
        }
        tell_now(answers);
    }

    async fn run(&self) {
        // Two lists in turn, so that an answer needs no memory of its own.
        let mut taken = Vec::new();
        loop {
            self.some.notified().await;
            // Comes back when the links have had their turn.
            tokio::task::yield_now().await;
            match &mut *self.lock() {
                Some(waiting) => std::mem::swap(waiting, &mut taken),
                None => return,
            }
            tell_now(taken.drain(..));
        }
    }

    /// Tells what waits; from then on nothing does.
    pub(super) fn close(&self) {
        let rest = self.lock().take();
        tell_now(rest.into_iter().flatten());
        self.some.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Told>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct CloseOnDrop(Arc<Answers>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Tells answers. No lock may be held: whoever is woken may come back to the pool.
pub(super) fn tell_now(answers: impl IntoIterator<Item = Told>) {
    for (caller, answer) in answers {
        caller.tell(answer);
    }
}

impl Caller {
    /// Tells the last word. A caller that is gone hears nothing.
    fn tell(self, answer: Answer) {
        match (self, answer) {
            // The receiver may be dropped at this very moment: then nobody wants the answer.
            (Self::One(sender), Answer::Value(value)) => drop(sender.send(Ok(value))),
            (Self::One(sender), Answer::Error(error)) => drop(sender.send(Err(error))),
            (Self::Stream(buffer), Answer::StreamEnd) => buffer.end(Ok(())),
            (Self::Stream(buffer), Answer::Error(error)) => buffer.end(Err(error)),
            // A worker that confuses the two has broken the protocol.
            (Self::One(sender), Answer::StreamEnd) => drop(sender.send(Err(confused()))),
            (Self::Stream(buffer), Answer::Value(_)) => buffer.end(Err(confused())),
            (Self::Gone, _) => {}
        }
    }
}

fn confused() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the worker answered with a stream where one value was asked for, or the reverse",
    )
}
