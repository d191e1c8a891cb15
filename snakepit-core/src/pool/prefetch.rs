//! When a busy worker may be handed a call ahead of time, and when such calls are taken back.
//!
//! Owns the estimate of how long each command runs and the policy's constants; the state acts on
//! them. Prefetching hides the round trip to the worker, about 50 µs, so it only pays for calls
//! that are not much longer than that, and it must never make one wait behind a slow call.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

/// Expected running time that may be lined up in one worker, the running call included. Behind
/// more than this, waiting costs more than the round trip that prefetching saves.
pub(super) const HORIZON: Duration = Duration::from_millis(1);

/// A running call older than this counts as slow: what was lined up behind it is taken back.
pub(super) const SLOW_AFTER: Duration = Duration::from_millis(2);

/// A worker that has been free for longer than this takes a lined-up call from a busy one if that
/// would wait there longer than this; taking back costs a round trip itself.
pub(super) const STEAL_AFTER: Duration = Duration::from_micros(200);

/// A call with less time left than this is never prefetched: it could not come back in time.
pub(super) const DEADLINE_MARGIN: Duration = Duration::from_millis(50);

/// Estimates kept at a time. Adapters have tens of tools; this bounds a hostile one.
const MAX_COMMANDS: usize = 4096;

/// Running times by command: an exponentially weighted mean with weight 1/8, which forgets a slow
/// call after some twenty fast ones.
#[derive(Debug, Default)]
pub(super) struct Estimates(FxHashMap<Arc<str>, Duration>);

impl Estimates {
    /// How long a call of this command is expected to run. A command never seen may be slow.
    pub(super) fn of(&self, command: &str) -> Duration {
        self.0.get(command).copied().unwrap_or(Duration::MAX)
    }

    pub(super) fn observe(&mut self, command: &Arc<str>, run_time: Duration) {
        if let Some(mean) = self.0.get_mut(command) {
            *mean = (*mean * 7 + run_time) / 8;
        } else if self.0.len() < MAX_COMMANDS {
            self.0.insert(Arc::clone(command), run_time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_call_ends_prefetching_of_its_command_until_fast_ones_outweigh_it() {
        let command: Arc<str> = Arc::from("mixed");
        let mut estimates = Estimates::default();
        assert!(estimates.of("mixed") > HORIZON, "unknown commands may be slow");
        estimates.observe(&command, Duration::from_micros(20));
        assert!(estimates.of("mixed") < HORIZON);
        estimates.observe(&command, Duration::from_millis(200));
        assert!(estimates.of("mixed") > HORIZON);
        let mut fast = 0;
        while estimates.of("mixed") > HORIZON {
            estimates.observe(&command, Duration::from_micros(20));
            fast += 1;
        }
        assert!((20..40).contains(&fast), "{fast}");
    }
}
