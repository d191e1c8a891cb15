//! Time: what happens to calls whose time is up, and the one task per pool that looks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::Shared;
use super::answers::Answer;
use super::state::{Assignment, Caller, Record, Stage};
use super::turn::Turn;
use crate::call::CancelReason;
use crate::error::{Error, ErrorKind, Phase};
use crate::ids::{CallId, PoolName};

/// Runs on the pool's runtime until the pool is gone.
pub(super) async fn run(shared: Weak<Shared>, changed: Arc<Notify>) {
    loop {
        let wake = {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let mut turn = Turn::new(&shared);
            turn.expire();
            let wake = turn.state.next_wake();
            turn.state.armed = wake;
            turn.end();
            wake
        };
        match wake {
            // Either outcome means the same: look again.
            Some(at) => drop(tokio::time::timeout_at(at, changed.notified()).await),
            None => changed.notified().await,
        }
    }
}

impl Turn<'_> {
    /// Deals with every timer that is due.
    fn expire(&mut self) {
        while let Some((at, call)) = self.state.timers.first().copied() {
            if at > self.now {
                break;
            }
            self.state.set_timer(call, None);
            self.time_up(call);
        }
        if !self.state.taints.is_empty() {
            self.state.taints.expire(self.now);
        }
        if self.state.slow_check.is_some_and(|at| at <= self.now) {
            self.revoke_behind_slow();
        }
        self.expire_sessions();
        self.pump();
    }

    fn time_up(&mut self, call: CallId) {
        let grace = self.options().cancel_grace;
        let idle = self.options().stream_idle_timeout;
        let Some(record) = self.state.calls.get_mut(&call) else {
            return;
        };
        let overdue = record.deadline.is_some_and(|at| at <= self.now);
        match &mut record.stage {
            Stage::Queued => {
                let waited = self.now - record.submitted;
                if let Some(record) = self.state.remove(call) {
                    self.state.counters.queue_timeouts += 1;
                    let error = match record.spot.member {
                        Some(_) => session_queue_timeout(waited),
                        None => queue_timeout(waited),
                    };
                    self.retire(record, Some(Answer::Error(error)));
                }
            }
            Stage::Assigned(assignment) if assignment.expired => {
                let member = assignment.member;
                if assignment.lease.is_none() {
                    // Not its turn yet; the worker drops it when it comes.
                    self.state.set_timer(call, Some(self.now + grace));
                } else if let Some(member) = self.state.members.get(&member) {
                    let worker = Arc::clone(&member.worker);
                    self.stuck(worker, call);
                    self.state.note_stuck(call);
                }
            }
            Stage::Assigned(assignment) => {
                let quiet_since = match (&record.caller, idle) {
                    // A reader that does not read keeps the worker waiting, not the reverse.
                    (Caller::Stream(buffer), Some(_)) if buffer.has_unread() => self.now,
                    _ => assignment.last_chunk,
                };
                let next_idle = record.call.stream_credit.and(idle).map(|idle| quiet_since + idle);
                if !overdue && next_idle.is_none_or(|at| at > self.now) {
                    let next = record.deadline.into_iter().chain(next_idle).min();
                    self.state.set_timer(call, next);
                    return;
                }
                let waited = self.now - record.submitted;
                let error = match (overdue, assignment.lease.is_some()) {
                    (true, true) => call_timeout(waited),
                    (true, false) => queue_timeout(waited),
                    (false, _) => stream_idle_timeout(self.now - quiet_since),
                };
                self.cut_off(call, CancelReason::Deadline, error);
            }
        }
    }

    /// Cuts off the calls at workers, as the pool's time is up; nested ones only if told so, since
    /// calls of other pools wait for those.
    pub(super) fn interrupt(&mut self, nested_too: bool) {
        let is_meant = |record: &Record| match &record.stage {
            Stage::Queued => false,
            Stage::Assigned(assignment) => {
                !assignment.expired && (nested_too || record.call.request.caller.is_none())
            }
        };
        let calls = self.state.calls.iter();
        let mut calls: Vec<CallId> =
            calls.filter(|(_, record)| is_meant(record)).map(|(call, _)| *call).collect();
        calls.sort_unstable();
        for call in calls {
            let stage = self.state.calls.get(&call).map(|record| &record.stage);
            let error = match stage {
                Some(Stage::Assigned(Assignment { lease: Some(_), .. })) => {
                    drain_timeout(&self.options().name)
                }
                _ => self.closed(),
            };
            self.cut_off(call, CancelReason::Shutdown, error);
        }
    }

    /// Ends a call at a worker for its caller and tells the worker, which is told that the call is
    /// stuck when it has not let go of it within the grace.
    fn cut_off(&mut self, call: CallId, reason: CancelReason, error: Error) {
        let grace_ends = self.now + self.options().cancel_grace;
        let Some(record) = self.state.calls.get_mut(&call) else { return };
        let Stage::Assigned(assignment) = &mut record.stage else { return };
        assignment.expired = true;
        let member = assignment.member;
        let caller = std::mem::replace(&mut record.caller, Caller::Gone);
        if !matches!(caller, Caller::Gone) {
            let counters = &mut self.state.counters;
            *match error.kind() {
                ErrorKind::Timeout(Phase::Queue) => &mut counters.queue_timeouts,
                ErrorKind::Timeout(_) => &mut counters.call_timeouts,
                _ => &mut counters.failed,
            } += 1;
            self.answer(caller, Answer::Error(error));
        }
        self.stop_tools(member, call);
        self.cancel_at(member, call, reason);
        self.state.set_timer(call, Some(grace_ends));
    }
}

fn queue_timeout(waited: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout(Phase::Queue),
        format!("no slot was free within {}", text(waited)),
    )
    .with_help("add workers, slow down, or allow a longer `queue_timeout`")
}

fn session_queue_timeout(waited: Duration) -> Error {
    let message = format!("the worker of the session had no free slot within {}", text(waited));
    Error::new(ErrorKind::Timeout(Phase::Queue), message)
        .with_help("allow a longer `queue_timeout`, or use affinity `hint` if any worker will do")
}

fn call_timeout(waited: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout(Phase::Call),
        format!("the call took longer than {}", text(waited)),
    )
    .with_help("allow a longer `timeout`; the tool can look at `context.remaining`")
}

fn drain_timeout(pool: &PoolName) -> Error {
    Error::new(
        ErrorKind::Timeout(Phase::Drain),
        format!("pool `{pool}` has shut down, and the call took longer than it waits"),
    )
    .with_help("give the pool a longer `timeouts.drain`, or the shutdown more time")
}

fn stream_idle_timeout(quiet: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout(Phase::StreamIdle),
        format!("the stream was silent for {}", text(quiet)),
    )
}

/// A duration as people write it: milliseconds below ten seconds.
fn text(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

impl Shared {
    /// Starts the task; it ends by itself when the pool is dropped.
    pub(super) fn start_timer(self: &Arc<Self>, runtime: &tokio::runtime::Handle) {
        drop(runtime.spawn(run(Arc::downgrade(self), Arc::clone(&self.timer))));
    }
}
