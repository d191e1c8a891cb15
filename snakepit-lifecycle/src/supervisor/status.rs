//! What people are told about a pool's workers. Plain data.

use std::ops::AddAssign;
use std::time::Duration;

use serde::{Serialize, Serializer};
use snakepit_core::{WorkerId, as_seconds};

use super::policy::{NearLimits, RecycleReason};
use super::state::WorkerState;

/// What a seat is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SeatState {
    /// A worker is being started.
    Starting,
    /// Its worker takes calls.
    Ready,
    /// Starting failed; it is or will be tried again.
    Failing,
    /// The pool has become smaller: its worker ends its calls and goes.
    Leaving,
    /// The supervisor has stopped it.
    Stopped,
}

/// One place in a pool and its worker.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SeatStatus {
    /// Its number, never used again for another.
    pub number: usize,
    /// What it is doing.
    pub state: SeatState,
    /// The worker that takes its calls, or the one that is to; not a replaced one on its way out.
    #[serde(serialize_with = "as_text")]
    pub worker: WorkerId,
    /// How many workers of this seat died after they had been ready.
    pub crashes: u64,
    /// What went wrong last; `None` if nothing did.
    pub last_failure: Option<String>,
}

/// One worker that is not gone.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerLife {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub worker: WorkerId,
    /// Its index in the pool.
    pub index: usize,
    /// Where it is in its life.
    pub state: WorkerState,
    /// Time since it became ready; `None` before.
    #[serde(rename = "age_seconds", serialize_with = "as_seconds")]
    pub age: Option<Duration>,
    /// Why it is or will be replaced.
    pub recycled: Option<RecycleReason>,
    /// Bytes of memory of its own when that was last read; `None` where no limit asks for it.
    pub memory_bytes: Option<u64>,
}

/// Workers that were replaced although they were well, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Recycles {
    /// Somebody asked for it.
    pub manual: u64,
    /// They reached their age.
    pub ttl_expired: u64,
    /// They served their calls.
    pub max_requests: u64,
    /// They held too much memory.
    pub memory_threshold: u64,
    /// They had nothing to do any more.
    pub idle: u64,
    /// They failed their own check again and again.
    pub unhealthy: u64,
    /// They asked for it.
    pub unfit: u64,
    /// The pool's settings had changed.
    pub reload: u64,
}

/// Ends of workers that had been ready, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Exits {
    /// They had been replaced.
    pub recycled: u64,
    /// They were killed, crashed or broke their link.
    pub died: u64,
    /// They missed their heartbeats and were ended.
    pub silent: u64,
    /// They went in good order, unasked.
    pub left: u64,
    /// The pool became smaller.
    pub surplus: u64,
    /// The pool was shut down.
    pub shutdown: u64,
}

/// How a pool's workers are.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SupervisorStatus {
    /// The seats, in order.
    pub seats: Vec<SeatStatus>,
    /// Every worker that is not gone: those of the seats, replacements that are starting, replaced
    /// ones on their way out.
    pub workers: Vec<WorkerLife>,
    /// Whether there were five crashes or failed starts within the last minute. A label: dead
    /// workers are replaced all the same.
    pub degraded: bool,
    /// Workers replaced although they were well.
    pub recycles: Recycles,
    /// Recycles there would be had each worker been replaced exactly at its age or its calls: beside
    /// `recycles`, how far the replacing keeps up.
    pub nominal_recycles: u64,
    /// Workers near a limit.
    pub near_limits: NearLimits,
    /// Workers that are gone.
    pub exits: Exits,
    /// Health checks that were failed, by silence or by the worker's own account.
    pub failed_checks: u64,
}

impl AddAssign for Recycles {
    fn add_assign(&mut self, other: Self) {
        let Self {
            manual,
            ttl_expired,
            max_requests,
            memory_threshold,
            idle,
            unhealthy,
            unfit,
            reload,
        } = other;
        self.manual += manual;
        self.ttl_expired += ttl_expired;
        self.max_requests += max_requests;
        self.memory_threshold += memory_threshold;
        self.idle += idle;
        self.unhealthy += unhealthy;
        self.unfit += unfit;
        self.reload += reload;
    }
}

impl AddAssign for Exits {
    fn add_assign(&mut self, other: Self) {
        let Self { recycled, died, silent, left, surplus, shutdown } = other;
        self.recycled += recycled;
        self.died += died;
        self.silent += silent;
        self.left += left;
        self.surplus += surplus;
        self.shutdown += shutdown;
    }
}

impl Exits {
    pub(super) fn died(&mut self, silent: bool) {
        *(if silent { &mut self.silent } else { &mut self.died }) += 1;
    }
}

impl AddAssign for NearLimits {
    fn add_assign(&mut self, other: Self) {
        let Self { ttl, max_requests, max_memory } = other;
        self.ttl += ttl;
        self.max_requests += max_requests;
        self.max_memory += max_memory;
    }
}

impl Recycles {
    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        let limits = self.ttl_expired + self.max_requests + self.memory_threshold + self.idle;
        self.manual + limits + self.unhealthy + self.unfit + self.reload
    }

    pub(super) fn count(&mut self, reason: RecycleReason) {
        *match reason {
            RecycleReason::Manual => &mut self.manual,
            RecycleReason::TtlExpired => &mut self.ttl_expired,
            RecycleReason::MaxRequests => &mut self.max_requests,
            RecycleReason::MemoryThreshold => &mut self.memory_threshold,
            RecycleReason::Idle => &mut self.idle,
            RecycleReason::Unhealthy => &mut self.unhealthy,
            RecycleReason::Unfit => &mut self.unfit,
            RecycleReason::Reload => &mut self.reload,
        } += 1;
    }
}

fn as_text<S: Serializer>(id: &WorkerId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}
