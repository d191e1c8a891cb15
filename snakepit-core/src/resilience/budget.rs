//! How much more load a layer may make of the load there is. Counts calls, knows no time.
//!
//! As in the retry throttling of gRPC and Finagle: calls put in, extra attempts take out. When most
//! calls fail, attempts beyond them stay a share of the calls, where without it they would multiply
//! the load just when it hurts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A whole attempt, in the units that are counted.
const ATTEMPT: u64 = 1000;
/// What there is at first, so that the first call of a quiet program may be repeated.
const RESERVE: u64 = 10 * ATTEMPT;
/// What is kept at most: a quiet hour buys no storm.
const MOST: u64 = 100 * ATTEMPT;

/// Attempts that may be made beyond the first one of each call.
#[derive(Debug)]
pub struct Budget {
    per_call: u64,
    left: AtomicU64,
}

impl Budget {
    /// Allows extra attempts for this share of the calls, from 0 to 1, and ten at first.
    pub fn new(share: f64) -> Self {
        // In range by the clamp.
        let per_call = (share.clamp(0.0, 1.0) * ATTEMPT as f64).round() as u64;
        Self { per_call, left: AtomicU64::new(RESERVE) }
    }

    /// Notes a call.
    pub fn deposit(&self) {
        // Relaxed, here and below: the number publishes nothing else.
        let more = |left: u64| Some((left + self.per_call).min(MOST));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes an extra attempt, if there is one.
    pub fn withdraw(&self) -> bool {
        let less = |left: u64| left.checked_sub(ATTEMPT);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_attempts_stay_a_share_of_the_calls() {
        let budget = Budget::new(0.2);
        let spend = || std::iter::repeat_with(|| budget.withdraw()).take_while(|got| *got).count();
        assert_eq!(spend(), 10, "the reserve");
        (0..50).for_each(|_| budget.deposit());
        assert_eq!(spend(), 10, "a fifth");
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(spend(), 100, "no more is kept");
        (0..4).for_each(|_| budget.deposit());
        assert_eq!(spend(), 0, "four fifths of an attempt are none");
    }
}
