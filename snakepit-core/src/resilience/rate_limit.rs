//! A limit to how many calls a pool is given in a time: a bucket of tokens that fills steadily. Refuses
//! and never waits; waiting is the queue's business.
//!
//! Kept as the time at which the bucket would be full again (GCRA, ITU-T I.371), so that it is one
//! instant, exact, and nothing has to fill it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::counts;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::ids::PoolName;

counts! {
    /// What the rate limit did.
    RateLimitCounts {
        /// Calls refused with `rate_limited`.
        refused,
    }
}

/// Lets so many calls through in a time, and a burst of them at once.
#[derive(Debug)]
pub struct RateLimit {
    pool: PoolName,
    clock: Clock,
    /// Time in which one token comes.
    interval: Duration,
    /// Time in which an empty bucket fills.
    depth: Duration,
    /// When the bucket is full; in the past if it is.
    full: Mutex<Option<Instant>>,
    refused: AtomicU64,
}

impl RateLimit {
    /// Lets `calls` through in each `per`, and up to `burst` of them at once.
    pub fn new(pool: PoolName, calls: u32, per: Duration, burst: u32, clock: Clock) -> Self {
        let interval = per / calls.max(1);
        let depth = interval.saturating_mul(burst.max(1));
        Self { pool, clock, interval, depth, full: Mutex::default(), refused: AtomicU64::new(0) }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// `RateLimited` if there is none, with the time until there is one.
    pub fn admit(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let after = full.map_or(now, |full| full.max(now)) + self.interval;
        let wait = after.saturating_duration_since(now).saturating_sub(self.depth);
        if wait.is_zero() {
            *full = Some(after);
            return Ok(());
        }
        drop(full);
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(
            name: "call.rate_limited",
            target: "snakepit::resilience",
            pool = %self.pool,
            ?wait,
            "a call is refused: the pool's rate is used up"
        );
        let pool = &self.pool;
        let text = format!("pool `{pool}` takes no more calls for {} ms", wait.as_millis() + 1);
        Err(Error::new(ErrorKind::RateLimited, text)
            .with_help("slow down, or raise `rate_limit` of the pool")
            .with_detail("pool", pool.as_str())
            .with_detail("retry_in_ms", (wait.as_millis() + 1).to_string()))
    }

    /// The counts so far.
    pub fn counts(&self) -> RateLimitCounts {
        RateLimitCounts { refused: self.refused.load(Ordering::Relaxed) }
    }
}
