//! What a pool counts, and the snapshot it shows.

use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;

use crate::seconds::as_seconds;
use crate::session::SessionStats;

/// Sums since the pool was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Calls taken in.
    pub submitted: u64,
    /// Calls that ended well.
    pub completed: u64,
    /// Calls that ended with an error other than those below.
    pub failed: u64,
    /// Calls whose caller dropped them.
    pub cancelled: u64,
    /// Calls that waited for a slot until their time was up.
    pub queue_timeouts: u64,
    /// Calls that were at a worker when their time was up.
    pub call_timeouts: u64,
    /// Calls refused because the queue was full.
    pub saturated: u64,
    /// Calls handed to a busy worker ahead of time.
    pub prefetched: u64,
    /// Calls that came back from a worker without having started.
    pub returned: u64,
    /// Times a command crashed a worker and was kept from its seat from then on.
    pub tainted: u64,
    /// Calls that were moved away from a worker that crashed.
    pub moved: u64,
    /// Calls of the host's tools that calls of this pool have made.
    pub tool_calls: u64,
    /// Those of them that failed.
    pub tool_errors: u64,
    /// Nested calls refused because they would have waited for themselves.
    pub deadlocks: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        let Self {
            submitted,
            completed,
            failed,
            cancelled,
            queue_timeouts,
            call_timeouts,
            saturated,
            prefetched,
            returned,
            tainted,
            moved,
            tool_calls,
            tool_errors,
            deadlocks,
        } = other;
        self.submitted += submitted;
        self.completed += completed;
        self.failed += failed;
        self.cancelled += cancelled;
        self.queue_timeouts += queue_timeouts;
        self.call_timeouts += call_timeouts;
        self.saturated += saturated;
        self.prefetched += prefetched;
        self.returned += returned;
        self.tainted += tainted;
        self.moved += moved;
        self.tool_calls += tool_calls;
        self.tool_errors += tool_errors;
        self.deadlocks += deadlocks;
    }
}

/// A pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolStats {
    /// Name of the pool.
    pub pool: String,
    /// Workers that take calls.
    pub workers: usize,
    /// Slots of those workers.
    pub capacity: usize,
    /// Slots that are free.
    pub available: usize,
    /// Slots that are taken.
    pub busy: usize,
    /// Calls in line.
    pub queued: usize,
    /// Calls handed to a worker, running or prefetched.
    pub in_flight: usize,
    /// Its sessions.
    pub sessions: SessionStats,
    /// Calls of the host's tools under way.
    pub in_tools: usize,
    /// Sums since the pool was made.
    #[serde(flatten)]
    pub counters: Counters,
}

/// One worker of a pool at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// What is known about it.
    #[serde(flatten)]
    pub info: crate::worker::WorkerInfo,
    /// How many calls it runs at a time.
    pub capacity: usize,
    /// Calls handed to it.
    pub in_flight: usize,
    /// Calls it has finished.
    pub served: u64,
    /// Time since its last sign of life; `None` where nobody listens for one.
    #[serde(rename = "last_seen_seconds", serialize_with = "as_seconds")]
    pub last_seen: Option<Duration>,
}
