//! The last words to callers, and when they are told.
//!
//! Waking a caller's thread costs as much as everything else a call needs of the links' thread. So
//! where a turn has handed calls to workers, its answers wait until those are written: the workers
//! run again while the callers wake. Where many short calls are in line, a few answers are told
//! together: they were in line for far longer than they wait for each other.
//!
//! Invariants: every answer is told, also when the runtime ends; none waits longer than [`LONGEST`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::caller::Completed;
use super::state::Caller;
use crate::error::{Error, ErrorKind};

/// How long answers wait for others that should come in a fraction of that.
const LONGEST: Duration = Duration::from_millis(1);

/// Most answers that are told together. Doubling them saves half of what they still cost.
const TOGETHER: usize = 8;

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
    waiting: Mutex<Option<Waiting>>,
    /// One waits, or enough do.
    some: Notify,
}

#[derive(Default)]
struct Waiting {
    answers: Vec<Told>,
    /// Enough of them wait.
    due: bool,
}

/// How many answers to tell together when so many short calls are in line: so few of them that the
/// line does not run dry meanwhile.
pub(super) fn together(in_line: usize) -> usize {
    (in_line / 8).clamp(1, TOGETHER)
}

impl Answers {
    /// Has a task of `runtime` tell answers until [`close`](Self::close), or until the runtime ends.
    pub(super) fn serve(runtime: &Handle) -> Arc<Self> {
        let waiting = Mutex::new(Some(Waiting::default()));
        let answers = Arc::new(Self { waiting, some: Notify::new() });
        // Made here, so that it works even if the runtime never comes to the task.
        let served = CloseOnDrop(Arc::clone(&answers));
        drop(runtime.spawn(async move { served.0.run().await }));
        answers
    }

    /// Tells the answers when what is ready on the links' thread has been done, and so many wait.
    pub(super) fn tell_soon(&self, answers: SmallVec<[Told; 1]>, together: usize) {
        if answers.is_empty() {
            return;
        }
        if let Some(waiting) = &mut *self.lock() {
            let first = waiting.answers.is_empty();
            waiting.answers.extend(answers);
            waiting.due = waiting.answers.len() >= together;
            if first || waiting.due {
                self.some.notify_one();
            }
            return;
        }
        tell(answers);
    }

    /// Tells the answers, and before them those that wait.
    pub(super) fn tell_now(&self, answers: SmallVec<[Told; 1]>) {
        if answers.is_empty() {
            return;
        }
        let waiting = self.lock().as_mut().map(|waiting| std::mem::take(&mut waiting.answers));
        tell(waiting.into_iter().flatten());
        tell(answers);
    }

    async fn run(&self) {
        // Two lists in turn, so that an answer needs no memory of its own.
        let mut taken = Vec::new();
        loop {
            self.some.notified().await;
            if self.lock().as_ref().is_some_and(|waiting| !waiting.due) {
                // Either way they are told now.
                let _ = timeout(LONGEST, self.some.notified()).await;
            }
            // Comes back when the links have had their turn.
            tokio::task::yield_now().await;
            match &mut *self.lock() {
                Some(waiting) => {
                    waiting.due = false;
                    std::mem::swap(&mut waiting.answers, &mut taken);
                }
                None => return,
            }
            tell(taken.drain(..));
        }
    }

    /// Tells what waits; from then on nothing does.
    pub(super) fn close(&self) {
        let rest = self.lock().take();
        tell(rest.into_iter().flat_map(|waiting| waiting.answers));
        self.some.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
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
fn tell(answers: impl IntoIterator<Item = Told>) {
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
