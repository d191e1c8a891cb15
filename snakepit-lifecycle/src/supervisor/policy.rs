//! When a worker has done enough. Pure: what is known of a worker and its limits go in, a verdict
//! comes out. Who measures and who replaces is decided elsewhere.
//!
//! Invariants: without limits every worker is kept; chance only ever shortens a limit.

use std::time::Duration;

use serde::Serialize;

use super::lead::Lead;

/// Samples over the memory limit that must follow each other: a single one may be a call that is
/// about to give its memory back.
pub(super) const SAMPLES: usize = 3;

/// After how much a worker is replaced; `None` never is a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Time since it became ready.
    pub ttl: Option<Duration>,
    /// Calls it has ended. Its replacement starts at four fifths of them, or earlier where replacements
    /// were late, and comes in when all of them are served; but neither waits for the other for more
    /// than 20 ms.
    pub max_requests: Option<u64>,
    /// Bytes of memory that are its alone, three samples in a row.
    pub max_memory: Option<u64>,
    /// Time without a call after it has served some: it holds on to what they left behind. One that
    /// has served nothing is as good as its replacement and stays. Noticed up to an eighth later.
    pub idle: Option<Duration>,
}

/// Why a worker was replaced although it was well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecycleReason {
    /// Somebody asked for it.
    Manual,
    /// It reached its age.
    TtlExpired,
    /// It served its calls.
    MaxRequests,
    /// It held too much memory.
    MemoryThreshold,
    /// It had nothing to do any more.
    Idle,
    /// It failed its own check again and again.
    Unhealthy,
    /// It said itself that it is not what it should be, such as one with a call that does not end.
    Unfit,
    /// The pool's settings have changed.
    Reload,
}

/// What is known of a serving worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Vitals {
    pub(super) age: Duration,
    pub(super) served: u64,
    pub(super) lead: Lead,
    pub(super) memory: Samples,
    /// Time without a call.
    pub(super) idle: Duration,
}

/// The last few readings of a worker's memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Samples([Option<u64>; SAMPLES]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Replace(RecycleReason),
}

impl RecycleReason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Manual,
        Self::TtlExpired,
        Self::MaxRequests,
        Self::MemoryThreshold,
        Self::Idle,
        Self::Unhealthy,
        Self::Unfit,
        Self::Reload,
    ];

    /// The reason's name in events and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::TtlExpired => "ttl_expired",
            Self::MaxRequests => "max_requests",
            Self::MemoryThreshold => "memory_threshold",
            Self::Idle => "idle",
            Self::Unhealthy => "unhealthy",
            Self::Unfit => "unfit",
            Self::Reload => "reload",
        }
    }
}

impl Samples {
    pub(super) fn push(&mut self, bytes: u64) {
        self.0.rotate_left(1);
        self.0[SAMPLES - 1] = Some(bytes);
    }

    fn all_over(&self, limit: u64) -> bool {
        self.0.iter().all(|sample| sample.is_some_and(|bytes| bytes > limit))
    }
}

impl Limits {
    /// The limits of one worker: each shortened by up to the share `jitter`, so that workers that
    /// started together do not end together. `draw` gives numbers from 0 up to 1.
    pub(super) fn shortened(&self, jitter: f64, mut draw: impl FnMut() -> f64) -> Self {
        // Rounding up must not lengthen what does not fit a float.
        let count = |n: u64, keep: f64| ((n as f64 * keep).ceil() as u64).min(n);
        Self {
            ttl: self.ttl.map(|ttl| shorten(ttl, jitter, &mut draw)),
            max_requests: self.max_requests.map(|n| count(n, keep(jitter, &mut draw))),
            max_memory: self.max_memory.map(|bytes| count(bytes, keep(jitter, &mut draw))),
            idle: self.idle.map(|idle| shorten(idle, jitter, &mut draw)),
        }
    }

    /// How many limits' worth of life a worker has used up, by age and calls.
    pub(super) fn used_up(&self, age: Duration, served: u64) -> f64 {
        let by_age = self.ttl.map_or(0.0, |ttl| age.as_secs_f64() / ttl.as_secs_f64());
        let by_calls = self.max_requests.map_or(0.0, |calls| served as f64 / calls.max(1) as f64);
        by_age.max(by_calls)
    }
}

/// From this share of a limit on a worker counts as near it.
const NEAR: f64 = 0.9;

/// Workers that are near what they will be replaced for. One may be near several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NearLimits {
    /// Their age.
    pub ttl: usize,
    /// Their calls.
    pub max_requests: usize,
    /// Their memory, as sampled last.
    pub max_memory: usize,
}

impl NearLimits {
    pub(super) fn note(
        &mut self,
        limits: &Limits,
        age: Duration,
        served: u64,
        memory: Option<u64>,
    ) {
        let near = |value: f64, limit: f64| usize::from(value >= limit * NEAR);
        let seconds = age.as_secs_f64();
        self.ttl += limits.ttl.map_or(0, |ttl| near(seconds, ttl.as_secs_f64()));
        let calls = limits.max_requests.map(|calls| Lead::default().start_at(calls));
        self.max_requests += calls.map_or(0, |calls| near(served as f64, calls as f64));
        let bytes = limits.max_memory.zip(memory);
        self.max_memory += bytes.map_or(0, |(limit, bytes)| near(bytes as f64, limit as f64));
    }
}

/// A time, shortened by up to the share `jitter`.
pub(super) fn shorten(time: Duration, jitter: f64, draw: impl FnMut() -> f64) -> Duration {
    let short = time.as_secs_f64() * keep(jitter, draw);
    Duration::try_from_secs_f64(short).map_or(time, |short| short.min(time))
}

fn keep(jitter: f64, mut draw: impl FnMut() -> f64) -> f64 {
    1.0 - jitter.clamp(0.0, 1.0) * draw()
}

/// Whether a worker is to be replaced, and the first reason why.
pub(super) fn judge(limits: &Limits, vitals: &Vitals) -> Verdict {
    let over = |reason, over| if over { Some(reason) } else { None };
    let age = limits.ttl.is_some_and(|ttl| vitals.age >= ttl);
    let calls = limits.max_requests.is_some_and(|n| vitals.served >= vitals.lead.start_at(n));
    let memory = limits.max_memory.is_some_and(|limit| vitals.memory.all_over(limit));
    let idle = vitals.served > 0 && limits.idle.is_some_and(|limit| vitals.idle >= limit);
    over(RecycleReason::TtlExpired, age)
        .or_else(|| over(RecycleReason::MaxRequests, calls))
        .or_else(|| over(RecycleReason::MemoryThreshold, memory))
        .or_else(|| over(RecycleReason::Idle, idle))
        .map_or(Verdict::Keep, Verdict::Replace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_limit_has_its_edge_and_the_first_reason_counts() {
        use RecycleReason::{Idle, MaxRequests, MemoryThreshold, TtlExpired};
        use Verdict::{Keep, Replace};
        let none = Limits::default();
        let ttl = Limits { ttl: Some(10 * SECOND), ..none };
        let calls = |n| Limits { max_requests: Some(n), ..none };
        let memory = Limits { max_memory: Some(100), ..none };
        let all = Limits { ttl: ttl.ttl, max_requests: Some(10), max_memory: Some(100), ..none };
        let just_below = 10 * SECOND - Duration::from_nanos(1);
        let rows: &[(Limits, Duration, u64, &[u64], Verdict)] = &[
            (none, Duration::MAX, u64::MAX, &[u64::MAX; 3], Keep),
            (ttl, just_below, u64::MAX, &[u64::MAX; 3], Keep),
            (ttl, 10 * SECOND, 0, &[], Replace(TtlExpired)),
            (calls(100), Duration::MAX, 79, &[], Keep),
            (calls(100), SECOND, 80, &[], Replace(MaxRequests)),
            (calls(1), SECOND, 0, &[], Keep),
            (calls(1), SECOND, 1, &[], Replace(MaxRequests)),
            (calls(2), SECOND, 1, &[], Keep),
            (calls(6), SECOND, 4, &[], Keep),
            (calls(6), SECOND, 5, &[], Replace(MaxRequests)),
            (calls(0), SECOND, 0, &[], Keep),
            (calls(u64::MAX), SECOND, u64::MAX / 2, &[], Keep),
            (memory, Duration::MAX, u64::MAX, &[101, 101], Keep),
            (memory, SECOND, 0, &[101, 101, 100], Keep),
            (memory, SECOND, 0, &[101, 100, 101, 101], Keep),
            (memory, SECOND, 0, &[1, 101, 101, 101], Replace(MemoryThreshold)),
            (all, 10 * SECOND, 8, &[101, 101, 101], Replace(TtlExpired)),
            (all, SECOND, 8, &[101, 101, 101], Replace(MaxRequests)),
        ];
        for (limits, age, served, readings, expected) in rows {
            let mut memory = Samples::default();
            readings.iter().for_each(|bytes| memory.push(*bytes));
            let vitals = Vitals { age: *age, served: *served, memory, ..Vitals::default() };
            assert_eq!(judge(limits, &vitals), *expected, "{limits:?} {vitals:?}");
        }
        let unused = Limits { idle: Some(10 * SECOND), ..none };
        for (served, idle, expected) in
            [(1, just_below, Keep), (1, 10 * SECOND, Replace(Idle)), (0, Duration::MAX, Keep)]
        {
            let vitals = Vitals { served, idle, ..Vitals::default() };
            assert_eq!(judge(&unused, &vitals), expected, "{vitals:?}");
        }
    }

    #[test]
    fn near_is_nine_tenths_of_what_replaces() {
        let limits = Limits {
            ttl: Some(100 * SECOND),
            max_requests: Some(100),
            max_memory: Some(1000),
            idle: Some(SECOND),
        };
        let mut near = NearLimits::default();
        near.note(&limits, 89 * SECOND, 71, Some(899));
        near.note(&limits, Duration::ZERO, 0, None);
        near.note(&Limits::default(), Duration::MAX, u64::MAX, Some(u64::MAX));
        assert_eq!(near, NearLimits::default());
        near.note(&limits, 90 * SECOND, 72, Some(900));
        near.note(&limits, 90 * SECOND, 71, Some(899));
        assert_eq!((near.ttl, near.max_requests, near.max_memory), (2, 1, 1));
        assert_eq!(limits.used_up(50 * SECOND, 150), 1.5);
        assert_eq!(limits.used_up(250 * SECOND, 150), 2.5);
        assert_eq!(Limits::default().used_up(Duration::MAX, u64::MAX), 0.0);
    }

    #[test]
    fn jitter_only_shortens() {
        let limits = Limits {
            ttl: Some(100 * SECOND),
            max_requests: Some(100),
            max_memory: Some(1000),
            idle: Some(20 * SECOND),
        };
        assert_eq!(limits.shortened(0.1, || 0.0), limits);
        assert_eq!(limits.shortened(0.0, || 0.999), limits);
        let short = Limits {
            ttl: Some(95 * SECOND),
            max_requests: Some(95),
            max_memory: Some(950),
            idle: Some(19 * SECOND),
        };
        assert_eq!(limits.shortened(0.1, || 0.5), short);
        let edge = Limits {
            ttl: Some(Duration::MAX),
            max_requests: Some(u64::MAX),
            max_memory: Some(1),
            idle: None,
        };
        let none = edge.shortened(0.0, || 0.0);
        assert_eq!(none.max_requests, Some(u64::MAX));
        assert_eq!(edge.shortened(0.5, || 0.999).max_memory, Some(1), "never down to nothing");
    }
}
