//! Refusing calls that would wait too long, while the queue still has room: whoever hears at once can
//! go elsewhere. Looks at the line as it is; knows no worker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counts;
use crate::error::{Error, ErrorKind};
use crate::ids::PoolName;
use crate::pool::Backlog;

/// From when on calls are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShedOptions {
    /// Calls in line.
    pub queue: Option<usize>,
    /// The time that one more call can expect to wait.
    pub wait: Option<Duration>,
}

impl ShedOptions {
    /// Refuses nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses calls once so many stand in line.
    #[must_use]
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = Some(calls);
        self
    }

    /// Refuses calls that would wait longer than this.
    #[must_use]
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = Some(time);
        self
    }
}

counts! {
    /// What the shedding did.
    ShedCounts {
        /// Calls refused with `load_shed`.
        refused,
    }
}

/// Refuses calls that would wait too long.
#[derive(Debug)]
pub struct Shed {
    pool: PoolName,
    options: ShedOptions,
    refused: AtomicU64,
}

impl Shed {
    /// Refuses calls to this pool.
    pub fn new(pool: PoolName, options: ShedOptions) -> Self {
        Self { pool, options, refused: AtomicU64::new(0) }
    }

    /// Asks to add a call to this line.
    ///
    /// # Errors
    /// `LoadShed` if it is too long or too slow.
    pub fn admit(&self, line: Backlog) -> Result<(), Error> {
        let Backlog { queued, expected, .. } = line;
        let ShedOptions { queue, wait } = self.options;
        if queue.is_none_or(|most| queued < most) && wait.is_none_or(|most| expected <= most) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(
            name: "call.shed",
            target: "snakepit::resilience",
            pool = %self.pool,
            queued,
            ?expected,
            "a call is refused: it would wait too long"
        );
        let (pool, millis) = (&self.pool, expected.as_millis());
        let text = format!("pool `{pool}` is too busy: {queued} calls wait, some {millis} ms each");
        Err(Error::new(ErrorKind::LoadShed, text)
            .with_help("slow down, add workers, or raise `shed` of the pool")
            .with_detail("pool", pool.as_str())
            .with_detail("queued", queued.to_string())
            .with_detail("expected_wait_ms", millis.to_string()))
    }

    /// The counts so far.
    pub fn counts(&self) -> ShedCounts {
        ShedCounts { refused: self.refused.load(Ordering::Relaxed) }
    }
}
