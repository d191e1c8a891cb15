//! Trying a call again. Owns which failures are worth it, how long to pause, and when to stop; what an
//! attempt is belongs to the caller.
//!
//! Invariants: no attempt begins at or after the call's deadline; a call that is not idempotent has
//! one attempt, unless the policy says that any call may be repeated.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::budget::Budget;
use super::counts;
use super::schedule::{Pauses, Schedule};
use super::subject::{Kinds, Subject, is_refusal};
use super::timing::Timing;
use crate::dice::Dice;
use crate::error::{Error, RetryAdvice};

/// How often a call is tried, when, and after which failures.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// How pauses grow.
    pub schedule: Schedule,
    /// The first pause.
    pub base: Duration,
    /// The longest pause.
    pub cap: Duration,
    /// The share by which chance may shorten a pause.
    pub jitter: f64,
    /// The kinds that are tried again; `None` are those for which that is [advised](Error::advice_at),
    /// at once, after a pause or elsewhere, but no refusal of another layer.
    pub kinds: Option<Kinds>,
    /// Of Python exceptions only these, by the name of the type or of a base; all if empty.
    pub exceptions: Vec<String>,
    /// Whether calls that are not marked idempotent are tried again, too.
    pub any_call: bool,
}

impl Default for RetryPolicy {
    /// Three attempts, with pauses of 100 ms, 200 ms and so on to 10 s, each a fifth shorter at most.
    fn default() -> Self {
        Self {
            attempts: 3,
            schedule: Schedule::Exponential,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(10),
            jitter: 0.2,
            kinds: None,
            exceptions: Vec::new(),
            any_call: false,
        }
    }
}

impl RetryPolicy {
    /// The defaults, with this many attempts in all.
    pub fn new(attempts: u32) -> Self {
        Self { attempts, ..Self::default() }
    }

    /// A policy that never tries again.
    pub fn never() -> Self {
        Self::new(1)
    }

    /// How pauses grow, from the first to the longest.
    #[must_use]
    pub fn pauses(mut self, schedule: Schedule, base: Duration, cap: Duration) -> Self {
        (self.schedule, self.base, self.cap) = (schedule, base, cap);
        self
    }

    /// The share by which chance may shorten a pause, from 0 to 1.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Tries again after these kinds of errors only.
    #[must_use]
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = crate::ErrorKind>) -> Self {
        self.kinds = Some(kinds.into_iter().collect());
        self
    }

    /// Of Python exceptions, tries again after those of this type, or of one derived from it.
    #[must_use]
    pub fn exception(mut self, type_name: impl Into<String>) -> Self {
        self.exceptions.push(type_name.into());
        self
    }

    /// Tries calls again that are not marked idempotent, too.
    #[must_use]
    pub fn any_call(mut self) -> Self {
        self.any_call = true;
        self
    }

    /// Whether a call whose attempt number `made` has ended so may do better the next time.
    pub fn is_worth_repeating(&self, error: &Error, made: u32) -> bool {
        let kind = error.kind();
        let listed = match &self.kinds {
            Some(kinds) => kinds.contain(kind),
            None => !is_refusal(kind) && may_pass(error.advice_at(made)),
        };
        let exception = match error.python() {
            Some(raised) if !self.exceptions.is_empty() => {
                self.exceptions.iter().any(|name| raised.is_a(name))
            }
            _ => true,
        };
        listed && exception
    }
}

/// Whether an attempt soon after may succeed; in the same pool it is most likely another worker's.
fn may_pass(advice: RetryAdvice) -> bool {
    matches!(advice, RetryAdvice::Immediate | RetryAdvice::Backoff | RetryAdvice::Failover)
}

counts! {
    /// What was tried again.
    RetryCounts {
        /// Further attempts.
        retries,
        /// Calls that a further attempt has saved.
        recovered,
        /// Calls that failed after their last attempt.
        exhausted,
        /// Calls that were not tried again because the budget was used up.
        over_budget,
    }
}

/// Tries calls again.
#[derive(Debug)]
pub struct Retry {
    policy: RetryPolicy,
    budget: Option<Budget>,
    timing: Timing,
    dice: Mutex<Dice>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    retries: AtomicU64,
    recovered: AtomicU64,
    exhausted: AtomicU64,
    over_budget: AtomicU64,
}

/// Why there is no further attempt.
enum Stop {
    /// This failure is none that another attempt helps with.
    Failure,
    /// All were made.
    Attempts,
    /// The call's deadline would be over.
    Deadline,
    /// The budget is used up.
    Budget,
}

impl Retry {
    /// Tries calls again as `policy` says, unless they say otherwise. `seed` is where chance begins.
    pub fn new(policy: RetryPolicy, timing: Timing, seed: u64) -> Self {
        let dice = Mutex::new(Dice::seeded(seed));
        Self { policy, budget: None, timing, dice, counts: Counts::default() }
    }

    /// Bounds further attempts to what a budget allows.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Runs attempts until one succeeds or no further one may be made.
    ///
    /// # Errors
    /// That of the last attempt; with more than one, its detail `attempts` says how many.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way; there is no further one.
    pub async fn run<T, F>(&self, subject: &Subject, attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.run_with(&self.policy, subject, attempt).await
    }

    /// As [`run`](Self::run), by a call's own policy.
    ///
    /// # Errors
    /// As there.
    pub async fn run_with<T, F>(
        &self,
        policy: &RetryPolicy,
        subject: &Subject,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        if policy.attempts <= 1 || !(subject.idempotent || policy.any_call) {
            return attempt().await;
        }
        if let Some(budget) = &self.budget {
            budget.deposit();
        }
        let mut pauses = Pauses::new(policy.schedule, policy.base, policy.cap, policy.jitter);
        let mut made = 0;
        loop {
            made += 1;
            let error = match attempt().await {
                Ok(value) => {
                    self.counts.recovered.fetch_add(u64::from(made > 1), Ordering::Relaxed);
                    return Ok(value);
                }
                Err(error) => error,
            };
            let pause = match self.further(policy, subject, &error, made, &mut pauses) {
                Ok(pause) => pause,
                Err(stop) => return Err(self.given_up(subject, error, made, stop)),
            };
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
            tracing::info!(
                name: "call.retried",
                target: "snakepit::resilience",
                pool = %subject.pool,
                command = %subject.command,
                attempt = made + 1,
                ?pause,
                %error,
                "a call is tried again"
            );
            if !pause.is_zero() && self.timing.pause(pause).await.is_err() {
                // The pools are gone, and the call's own error says more.
                return Err(error);
            }
        }
    }

    /// The pause before the next attempt, if there is to be one.
    fn further(
        &self,
        policy: &RetryPolicy,
        subject: &Subject,
        error: &Error,
        made: u32,
        pauses: &mut Pauses,
    ) -> Result<Duration, Stop> {
        if !policy.is_worth_repeating(error, made) {
            return Err(Stop::Failure);
        }
        if made >= policy.attempts {
            return Err(Stop::Attempts);
        }
        let pause = pauses.next(|| self.draw());
        // Advised to try at once, the second time needs a pause all the same.
        let at_once = made == 1 && error.advice() == RetryAdvice::Immediate;
        let pause = if at_once { Duration::ZERO } else { pause };
        if subject.is_over_at(self.timing.now() + pause) {
            return Err(Stop::Deadline);
        }
        if self.budget.as_ref().is_some_and(|budget| !budget.withdraw()) {
            return Err(Stop::Budget);
        }
        Ok(pause)
    }

    fn given_up(&self, subject: &Subject, error: Error, made: u32, stop: Stop) -> Error {
        let why = match stop {
            Stop::Failure if made == 1 => return error,
            Stop::Failure => "another attempt would not help",
            Stop::Attempts => "all attempts were made",
            Stop::Deadline => "its deadline is too near",
            Stop::Budget => "the retry budget is used up",
        };
        let count = match stop {
            Stop::Budget => &self.counts.over_budget,
            _ => &self.counts.exhausted,
        };
        count.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            name: "call.retries_ended",
            target: "snakepit::resilience",
            pool = %subject.pool,
            command = %subject.command,
            attempts = made,
            why,
            %error,
            "a call is not tried again"
        );
        error.with_detail("attempts", made.to_string())
    }

    fn draw(&self) -> f64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    /// The counts so far.
    pub fn counts(&self) -> RetryCounts {
        let Counts { retries, recovered, exhausted, over_budget } = &self.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RetryCounts {
            retries: read(retries),
            recovered: read(recovered),
            exhausted: read(exhausted),
            over_budget: read(over_budget),
        }
    }
}
