//! When a busy worker may be handed a call ahead of time, and when such calls are taken back.
//!
//! Owns the estimate of how long each command runs, the policy's constants, and the steps of a turn
//! that follow from them. Prefetching hides the round trip to the worker, about 50 µs, so it only pays for calls
//! that are not much longer than that, and it must never make one wait behind a slow call.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::state::{Member, Stage};
use super::turn::{LOOKS, Turn};
use crate::ids::CallId;
use crate::slots::Lease;

/// Expected running time that may be lined up in one worker, the running call included. Behind
/// more than this, waiting costs more than the round trip that prefetching saves.
const HORIZON: Duration = Duration::from_millis(1);

/// A call expected to run for no longer than this is short: its answer comes in a moment.
pub(super) const SHORT: Duration = Duration::from_micros(100);

/// A running call older than this counts as slow: what was lined up behind it is taken back.
pub(super) const SLOW_AFTER: Duration = Duration::from_millis(2);

/// A worker that has been free for longer than this takes a lined-up call from a busy one if that
/// would wait there longer than this; taking back costs a round trip itself.
const STEAL_AFTER: Duration = Duration::from_micros(200);

/// A call with less time left than this is never prefetched: it could not come back in time.
const DEADLINE_MARGIN: Duration = Duration::from_millis(50);

/// Calls handed to one worker at most, those included that run. A worker remembers which calls it
/// has started for somewhat more than that (`FINISHED_IDS` of its control page); with more under way
/// it could forget one whose answer has not come, and that would be run again should it die.
const WINDOW: usize = 400;

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

impl Turn<'_> {
    /// A busy member that may be handed this call ahead of time.
    pub(super) fn prefetch_slot(&self, call: CallId) -> Option<(u64, Option<Lease>)> {
        let limit = self.options().prefetch;
        let record = &self.state.calls[&call];
        let request = &record.call.request;
        let may_wait = limit > 0
            && request.session.is_none()
            && record.call.stream_credit.is_none()
            && record.deadline.is_none_or(|at| at > self.now + DEADLINE_MARGIN);
        if !may_wait {
            return None;
        }
        let own = self.state.estimates.of(&request.command);
        let takes = |(_, key): &&(usize, u64)| {
            let member = &self.state.members[key];
            let capacity = member.worker.slots().capacity();
            if member.assigned.len() >= (capacity * (1 + limit)).min(WINDOW)
                || member.is_lending()
                || self.state.queue.first_for(*key).is_some()
                || member.open_tools > 0
            {
                return false;
            }
            let ahead = member.assigned.iter().try_fold(own, |sum, ahead| {
                let record = &self.state.calls[ahead];
                let Stage::Assigned(a) = &record.stage else {
                    return None;
                };
                let streaming = record.call.stream_credit.is_some();
                let slow = a.lease.is_some() && self.now - a.since > SLOW_AFTER;
                (!streaming && !slow && !a.expired && !a.revoking)
                    .then(|| sum.saturating_add(a.estimate))
            });
            ahead.is_some_and(|sum| sum <= HORIZON * capacity as u32)
        };
        self.state.ready.iter().take(LOOKS).find(takes).map(|(_, key)| (*key, None))
    }

    /// Lets slots that stay free have calls that wait behind others. Not as soon as they are: the
    /// callers whose results have just come are about to submit more, and that fills them sooner.
    pub(super) fn steal(&mut self) {
        let idle = self.state.ready.first().is_some_and(|(_, key)| {
            let member = &self.state.members[key];
            let slots = member.worker.slots();
            slots.load() < slots.capacity() && self.now - member.freed > STEAL_AFTER
        });
        if !idle {
            return;
        }
        let candidates = self.state.ready.iter().rev().take(LOOKS).map(|(_, key)| *key);
        let victim = candidates.into_iter().find(|key| self.wait_at(*key) > STEAL_AFTER);
        if let Some(key) = victim {
            self.revoke(key, 1);
        }
    }

    /// How long the last call lined up at a member has to wait there, as far as is known; zero
    /// when none is lined up, or it is being taken back already.
    fn wait_at(&self, key: u64) -> Duration {
        let Some(member) = self.state.members.get(&key) else {
            return Duration::ZERO;
        };
        let Some(last) = member.assigned.back() else {
            return Duration::ZERO;
        };
        let mut wait = Duration::ZERO;
        for call in &member.assigned {
            let Stage::Assigned(a) = &self.state.calls[call].stage else {
                continue;
            };
            if call == last {
                let capacity = member.worker.slots().capacity().max(1) as u32;
                return if a.lease.is_none() && !a.revoking {
                    wait / capacity
                } else {
                    Duration::ZERO
                };
            }
            let running = if a.lease.is_some() { self.now - a.since } else { Duration::ZERO };
            wait = wait.saturating_add(a.estimate.max(running));
        }
        wait
    }

    /// Asks a member for up to `most` of its lined-up calls, the last ones first.
    pub(super) fn revoke(&mut self, key: u64, most: usize) {
        let state = &mut *self.state;
        let Some(member) = state.members.get(&key) else {
            return;
        };
        let mut calls: SmallVec<[CallId; 8]> = SmallVec::new();
        for call in member.assigned.iter().rev() {
            let Some(Stage::Assigned(a)) = state.calls.get_mut(call).map(|r| &mut r.stage) else {
                continue;
            };
            if a.lease.is_none() && !a.revoking && calls.len() < most {
                a.revoking = true;
                calls.push(*call);
            }
        }
        if !calls.is_empty() {
            let worker = Arc::clone(&member.worker);
            worker.revoke(&calls);
            self.flush(&worker);
        }
    }

    /// Takes back everything that is lined up, anywhere.
    pub(super) fn revoke_all(&mut self) {
        let keys: Vec<u64> = self.state.members.keys().copied().collect();
        for key in keys {
            self.revoke(key, usize::MAX);
        }
    }

    /// Takes back what waits where every running call is slow.
    pub(super) fn revoke_behind_slow(&mut self) {
        let is_slow = |member: &Member| {
            member.assigned.iter().all(|call| match &self.state.calls[call].stage {
                Stage::Assigned(a) => a.lease.is_none() || self.now - a.since >= SLOW_AFTER,
                Stage::Queued => true,
            })
        };
        let members = self.state.members.iter();
        let slow: Vec<u64> = members.filter(|(_, m)| is_slow(m)).map(|(key, _)| *key).collect();
        for key in slow {
            self.revoke(key, usize::MAX);
        }
        self.state.slow_check = (self.state.prefetched > 0).then(|| self.now + SLOW_AFTER);
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
