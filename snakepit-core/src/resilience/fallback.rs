//! Asking elsewhere when a pool cannot serve. Owns which failures lead there; where "elsewhere" is
//! belongs to the caller.
//!
//! Invariant: a call that may have run goes elsewhere only if it is idempotent.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counts;
use super::subject::{Kinds, Subject, never_ran};
use super::timing::Timing;
use crate::error::{Category, Error};

counts! {
    /// What went elsewhere.
    FallbackCounts {
        /// Calls that were made elsewhere.
        fell_back,
        /// Those that succeeded there.
        recovered,
    }
}

/// Asks elsewhere.
#[derive(Debug, Default)]
pub struct Fallback {
    kinds: Option<Kinds>,
    fell_back: AtomicU64,
    recovered: AtomicU64,
}

impl Fallback {
    /// Asks elsewhere after errors of these kinds; `None` are those that say that the pool cannot
    /// serve: refusals, full queues, pools that do not start, lost workers and broken links.
    pub fn new(kinds: Option<Kinds>) -> Self {
        Self { kinds, ..Self::default() }
    }

    /// Whether a call that ended so is made elsewhere.
    pub fn takes(&self, subject: &Subject, error: &Error) -> bool {
        let kind = error.kind();
        let safe = never_ran(kind);
        let listed = match &self.kinds {
            Some(kinds) => kinds.contain(kind),
            None => {
                safe || matches!(kind.category(), Category::Connection | Category::Communication)
            }
        };
        listed && (safe || subject.idempotent)
    }

    /// Makes a call, and makes it elsewhere if it ends so that that may help.
    ///
    /// # Errors
    /// That of the call, or that of the second if there was one.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call that is under way.
    pub async fn run<T, F, G>(
        &self,
        subject: &Subject,
        timing: &Timing,
        call: impl FnOnce() -> F,
        elsewhere: impl FnOnce() -> G,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
        G: Future<Output = Result<T, Error>>,
    {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !self.takes(subject, &error) || subject.is_over_at(timing.now()) {
            return Err(error);
        }
        self.fell_back.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            name: "call.fell_back",
            target: "snakepit::resilience",
            pool = %subject.pool,
            command = %subject.command,
            %error,
            "a call goes to the fallback pool"
        );
        let result = elsewhere().await;
        self.recovered.fetch_add(u64::from(result.is_ok()), Ordering::Relaxed);
        result
    }

    /// The counts so far.
    pub fn counts(&self) -> FallbackCounts {
        FallbackCounts {
            fell_back: self.fell_back.load(Ordering::Relaxed),
            recovered: self.recovered.load(Ordering::Relaxed),
        }
    }
}
