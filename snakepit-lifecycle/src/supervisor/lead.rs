//! How long before its limit in calls a worker's replacement is started.
//!
//! Pure. Learns from each replacement: one that came late is followed by ones that start earlier, one
//! that came early by later ones; after one that came much too early it starts afresh.
//! Invariant: between a fifth of the limit and all of it but a call.

/// Of a limit, the calls that are left when the replacement starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lead(f64);

/// Enough for most, as a start takes the time of few calls.
const LEAST: f64 = 0.2;

/// How much more the next gets when a replacement came late: by how much too late it was is not
/// known, as the worker had nothing left to do by then.
const LATE: f64 = 1.25;

/// The share of the calls left over by an early one that is taken back: being early costs less.
const EARLY: f64 = 0.1;

impl Default for Lead {
    fn default() -> Self {
        Self(LEAST)
    }
}

impl Lead {
    /// The number of ended calls at which the replacement starts.
    pub(super) fn start_at(self, limit: u64) -> u64 {
        // Never at once: a worker that is not called is not replaced.
        ((limit as f64 * (1.0 - self.0)).ceil() as u64).clamp(1, limit.max(1))
    }

    /// After a start by the end of which the worker had ended so many calls.
    pub(super) fn learn(&mut self, limit: u64, served: u64) {
        let left = limit.saturating_sub(served) as f64 / limit.max(1) as f64;
        let better = if left > 0.0 { self.0 - EARLY * left } else { LATE * self.0 };
        self.0 = better.clamp(LEAST, 1.0);
    }

    /// After a replacement that did not live to see the limit reached: calls have become rare, and
    /// what was learnt would have workers replaced that have hardly served any.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_starts_at_four_fifths_until_one_was_late() {
        let mut lead = Lead::default();
        let starts = [0, 1, 2, 3, 5, 100, 101, u64::MAX].map(|limit| lead.start_at(limit));
        assert_eq!(starts[..7], [1, 1, 2, 3, 4, 80, 81]);
        assert!(starts[7] < u64::MAX / 5 * 4 + (1 << 12));
        lead.learn(100, 100);
        assert_eq!(lead.start_at(100), 75);
        for _ in 0..9 {
            lead.learn(100, 105);
        }
        assert_eq!((lead.start_at(100), lead.start_at(5_000)), (1, 1));
    }

    #[test]
    fn who_is_early_gives_a_tenth_of_what_was_left_back_and_never_more_than_was_learnt() {
        let mut lead = Lead(0.8);
        lead.learn(100, 60);
        assert!((lead.0 - 0.76).abs() < 1e-9, "{lead:?}");
        (0..9).for_each(|_| lead.learn(100, 0));
        assert_eq!(lead, Lead::default());
    }

    #[test]
    fn it_settles_where_a_start_ends_just_before_the_limit() {
        let mut lead = Lead::default();
        // A start takes the time of 60 calls of 100.
        for _ in 0..100 {
            let served = (lead.start_at(100) + 60).min(100);
            lead.learn(100, served);
        }
        let start = lead.start_at(100);
        assert!((20..=41).contains(&start), "{start}");
    }
}
