//! What a host says about its pools and their workers. Owns the forms that people and programs read;
//! who gathers them is the host.

use std::time::Duration;

use serde::Serialize;
use snakepit_core::resilience::CircuitStatus;
use snakepit_core::session::SessionStats;
use snakepit_core::{Counters, Error, PoolStats, WorkerInfo, as_seconds};
use snakepit_lifecycle::{Exits, NearLimits, RecycleReason, Recycles, WorkerState};

use crate::layers::LayerCounts;
use crate::memory::SharedMemoryReport;

/// What every pool is doing, and the sums so far.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The pools, in the order of their names.
    pub pools: Vec<PoolReport>,
    /// The sums over all pools that run.
    pub total: Totals,
    /// What shared memory there is, and who uses it.
    pub shared_memory: SharedMemoryReport,
}

/// All running pools together.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Pools that run.
    pub pools: usize,
    /// Workers that take calls.
    pub workers: usize,
    /// Workers that are not ready yet.
    pub starting: usize,
    /// Pools whose workers keep dying.
    pub degraded: usize,
    /// Slots of the workers that take calls.
    pub capacity: usize,
    /// Slots that are free.
    pub available: usize,
    /// Slots that are taken.
    pub busy: usize,
    /// Calls in line.
    pub queued: usize,
    /// Calls handed to a worker, running or prefetched.
    pub in_flight: usize,
    /// Their sessions.
    pub sessions: SessionStats,
    /// Sums since the pools were made.
    #[serde(flatten)]
    pub counters: Counters,
    /// Workers that were replaced although they were well, by reason.
    pub recycles: Recycles,
    /// Workers near a limit.
    pub near_limits: NearLimits,
    /// Workers that are gone, by reason.
    pub exits: Exits,
    /// Health checks that were failed.
    pub failed_checks: u64,
    /// What the layers round the pools have done.
    pub layers: LayerCounts,
}

impl Totals {
    pub(crate) fn of(reports: &[PoolReport]) -> Self {
        let mut total = Self::default();
        for report in reports {
            let PoolReport::Running {
                stats,
                state: _,
                workers: _,
                starting,
                degraded,
                recycles,
                nominal_recycles: _,
                near_limits,
                exits,
                failed_checks,
                layers,
                circuits: _,
            } = report
            else {
                continue;
            };
            total.pools += 1;
            total.workers += stats.workers;
            total.starting += starting;
            total.degraded += usize::from(*degraded);
            total.capacity += stats.capacity;
            total.available += stats.available;
            total.busy += stats.busy;
            total.queued += stats.queued;
            total.in_flight += stats.in_flight;
            total.sessions += stats.sessions;
            total.counters += stats.counters;
            total.recycles += *recycles;
            total.near_limits += *near_limits;
            total.exits += *exits;
            total.failed_checks += failed_checks;
            total.layers += *layers;
        }
        total
    }
}

/// One pool at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "there are as many as pools, and most are running")]
pub enum PoolReport {
    /// It takes calls, or did until it was drained.
    Running {
        /// Numbers of the whole pool.
        #[serde(flatten)]
        stats: PoolStats,
        /// Where it is in its life.
        state: PoolState,
        /// Its workers, in the order of their ids, also those on their way out.
        workers: Vec<WorkerReport>,
        /// Workers that are not ready yet.
        starting: usize,
        /// Whether workers keep dying; they are replaced all the same.
        degraded: bool,
        /// Workers that were replaced although they were well, by reason.
        recycles: Recycles,
        /// Recycles there would be had each worker been replaced exactly at its age or its calls.
        nominal_recycles: u64,
        /// Workers near a limit.
        near_limits: NearLimits,
        /// Workers that are gone, by reason.
        exits: Exits,
        /// Health checks that were failed, by silence or by the adapter's own account.
        failed_checks: u64,
        /// What the layers round the pool have done.
        layers: LayerCounts,
        /// The circuits of its breaker: the pool's, or those of commands that have failed.
        circuits: Vec<CircuitStatus>,
    },
    /// It could not start; every call to it fails with this error.
    Failed {
        /// Name of the pool.
        pool: String,
        /// Why.
        error: Error,
    },
}

/// Where a pool that started is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PoolState {
    /// It takes calls.
    Running,
    /// It takes no more calls; those that run may end.
    Draining,
    /// Its workers are gone.
    Stopped,
}

/// One worker at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerReport {
    /// What is known about it.
    #[serde(flatten)]
    pub info: WorkerInfo,
    /// Its index in the pool.
    pub index: usize,
    /// Where it is in its life.
    pub state: WorkerState,
    /// Time since it became ready.
    #[serde(rename = "age_seconds", serialize_with = "as_seconds")]
    pub age: Duration,
    /// How many calls it runs at a time.
    pub capacity: usize,
    /// Calls handed to it.
    pub in_flight: usize,
    /// Calls it has finished.
    pub served: u64,
    /// Time since its last sign of life.
    #[serde(rename = "last_seen_seconds", serialize_with = "as_seconds")]
    pub last_seen: Option<Duration>,
    /// Why it is being replaced, if it is.
    pub recycled: Option<RecycleReason>,
    /// Bytes of memory of its own when that was last read; `None` where no limit asks for it.
    pub memory_bytes: Option<u64>,
}

impl PoolReport {
    /// Name of the pool.
    pub fn pool(&self) -> &str {
        match self {
            Self::Running { stats, .. } => &stats.pool,
            Self::Failed { pool, .. } => pool,
        }
    }
}
