//! A second attempt beside one that is slow; the first answer counts. For calls marked idempotent.
//!
//! Invariants: no more than two attempts at a time; the one that loses is dropped, and so cancelled,
//! before the result is given; none begins at or after the deadline.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::budget::Budget;
use super::counts;
use super::subject::Subject;
use super::timing::Timing;
use crate::error::Error;

counts! {
    /// What second attempts were made.
    HedgeCounts {
        /// Second attempts.
        hedged,
        /// Those that were first.
        won,
        /// Slow calls that got none because the budget was used up.
        over_budget,
    }
}

/// Makes second attempts.
#[derive(Debug)]
pub struct Hedge {
    after: Duration,
    budget: Budget,
    timing: Timing,
    hedged: AtomicU64,
    won: AtomicU64,
    over_budget: AtomicU64,
}

impl Hedge {
    /// Makes one when the first has taken longer than `after`, as often as the budget allows.
    pub fn new(after: Duration, budget: Budget, timing: Timing) -> Self {
        let [hedged, won, over_budget] = Default::default();
        Self { after, budget, timing, hedged, won, over_budget }
    }

    /// Runs one attempt, and a second beside it if it is slow.
    ///
    /// # Errors
    /// That of the attempt that ended last, when none has succeeded. A first attempt that fails before
    /// there is a second ends the call.
    ///
    /// # Cancel safety
    /// Dropping the future drops all attempts.
    pub async fn run<T, F>(
        &self,
        subject: &Subject,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        if !subject.idempotent {
            return attempt().await;
        }
        self.budget.deposit();
        let mut first = pin!(attempt());
        let mut alarm = pin!(self.timing.pause(self.after));
        let in_time = poll_fn(|cx| match first.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => alarm.as_mut().poll(cx).map(|_| None),
        });
        if let Some(result) = in_time.await {
            return result;
        }
        if !self.may_hedge(subject) {
            return first.await;
        }
        let mut second = pin!(attempt());
        let mut lost = [false; 2];
        poll_fn(|cx| {
            let mut last = None;
            if !lost[0]
                && let Poll::Ready(result) = first.as_mut().poll(cx)
            {
                if result.is_ok() || lost[1] {
                    return Poll::Ready(result);
                }
                lost[0] = true;
                last = Some(result);
            }
            if !lost[1]
                && let Poll::Ready(result) = second.as_mut().poll(cx)
            {
                if result.is_ok() {
                    self.won.fetch_add(1, Ordering::Relaxed);
                    return Poll::Ready(result);
                }
                lost[1] = true;
                last = Some(result);
            }
            match last {
                Some(result) if lost == [true; 2] => Poll::Ready(result),
                _ => Poll::Pending,
            }
        })
        .await
    }

    fn may_hedge(&self, subject: &Subject) -> bool {
        if subject.is_over_at(self.timing.now()) {
            return false;
        }
        if !self.budget.withdraw() {
            self.over_budget.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.hedged.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            name: "call.hedged",
            target: "snakepit::resilience",
            pool = %subject.pool,
            command = %subject.command,
            after = ?self.after,
            "a slow call gets a second attempt"
        );
        true
    }

    /// The counts so far.
    pub fn counts(&self) -> HedgeCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HedgeCounts {
            hedged: read(&self.hedged),
            won: read(&self.won),
            over_budget: read(&self.over_budget),
        }
    }
}
