//! How soon a dead worker is replaced, and when a pool counts as degraded. Pure bookkeeping on
//! instants that are handed in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// First pause; below it a pause saves nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause: a pool whose cause of failure is gone recovers within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A worker that served this long was well; its death says nothing about the next one.
const WELL_AFTER: Duration = Duration::from_secs(10);

/// This many crashes within [`CRASH_WINDOW`] make a pool degraded.
const CRASH_LIMIT: usize = 5;

/// Crashes older than this are forgotten.
const CRASH_WINDOW: Duration = Duration::from_secs(60);

/// The pauses of one seat.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    streak: u32,
}

impl Backoff {
    /// Pause after a worker that never became ready.
    pub(super) fn after_failed_start(&mut self) -> Duration {
        self.streak += 1;
        pause(self.streak)
    }

    /// Pause after a worker that died at this age, and was of use or not: none if it was, and none
    /// the first time. A worker that ends calls is worth its start however soon it dies: its calls
    /// may be what kills it, and without it they would wait for nothing.
    pub(super) fn after_death(&mut self, age: Duration, of_use: bool) -> Duration {
        if of_use || age >= WELL_AFTER {
            self.streak = 0;
            return Duration::ZERO;
        }
        self.streak += 1;
        pause(self.streak - 1)
    }
}

/// Doubles with each failure in a row.
fn pause(streak: u32) -> Duration {
    match streak.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => (FIRST_PAUSE * 2_u32.pow(doublings.min(10))).min(LONGEST_PAUSE),
    }
}

/// The crashes of a pool in the last minute.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    times: VecDeque<Instant>,
}

impl Crashes {
    /// Notes a crash; `true` if it made the pool degraded.
    pub(super) fn note(&mut self, now: Instant) -> bool {
        let before = self.degraded(now);
        if self.times.len() == CRASH_LIMIT {
            self.times.pop_front();
        }
        self.times.push_back(now);
        !before && self.degraded(now)
    }

    pub(super) fn degraded(&self, now: Instant) -> bool {
        // Only the newest few are kept, so it is enough to look at the oldest of them.
        self.times.len() == CRASH_LIMIT
            && self.times.front().is_some_and(|first| now.duration_since(*first) <= CRASH_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_replacement_is_immediate_and_pauses_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        let soon = Duration::from_secs(1);
        let pauses: Vec<_> =
            (0..10).map(|_| backoff.after_death(soon, false).as_millis() as u64).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.after_death(WELL_AFTER, false), Duration::ZERO);
        assert_eq!(backoff.after_failed_start(), FIRST_PAUSE);
        assert_eq!(backoff.after_failed_start(), FIRST_PAUSE * 2);
    }

    #[test]
    fn a_worker_that_was_of_use_is_replaced_at_once_however_often() {
        let mut backoff = Backoff::default();
        let soon = Duration::from_millis(1);
        for _ in 0..3 {
            backoff.after_death(soon, false);
        }
        assert!((0..10).all(|_| backoff.after_death(soon, true) == Duration::ZERO));
        assert_eq!(backoff.after_death(soon, false), Duration::ZERO, "the first in a row");
    }

    #[test]
    fn five_crashes_in_a_minute_degrade_and_time_heals() {
        let start = Instant::now();
        let mut crashes = Crashes::default();
        for second in 0..4 {
            assert!(!crashes.note(start + Duration::from_secs(second)));
        }
        let fifth = start + Duration::from_secs(59);
        assert!(crashes.note(fifth));
        assert!(!crashes.note(fifth), "told once");
        assert!(crashes.degraded(fifth));
        assert!(!crashes.degraded(start + Duration::from_secs(120)));
    }
}
