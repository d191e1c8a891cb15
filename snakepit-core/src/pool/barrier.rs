//! The crash barrier: a command that has crashed a worker is kept from that worker's seat for a while,
//! and a call that was lost with the worker is moved elsewhere, once, if it may run twice.
//!
//! A taint is on a seat and not on one process, because the replacement has what its seat has: its
//! device, its core, its part of the memory. It steers and never refuses: where every worker is tainted
//! for a command, any of them gets its calls. Refusing what crashes everywhere is the breaker's part.
//! Nothing here is looked at while no worker is tainted.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::options::Strategy;
use super::state::{Caller, Member, Stage};
use super::turn::{LOOKS, Turn};
use crate::error::Error;
use crate::ids::{CallId, WorkerId};
use crate::slots::Lease;

/// Taints kept at a time; the oldest goes first.
const MAX_TAINTS: usize = 1024;

/// A crash as it is told of.
pub(super) struct Crash {
    command: Arc<str>,
    worker: WorkerId,
    error: Error,
    taint: Duration,
    moved: bool,
}

impl Crash {
    /// Makes an event of it. Without the lock.
    pub(super) fn tell(self, pool: &crate::PoolName) {
        let Self { command, worker, error, taint, moved } = self;
        tracing::warn!(
            name: "worker.tainted",
            target: "snakepit::resilience",
            %pool,
            worker_id = %worker,
            %command,
            %error,
            ?taint,
            moved,
            "a call has crashed its worker, whose seat gets no more calls of that command for a while"
        );
    }
}

/// Which commands are kept from which seats.
#[derive(Debug, Default)]
pub(super) struct Taints(Vec<Taint>);

#[derive(Debug)]
struct Taint {
    command: Arc<str>,
    seat: Arc<str>,
    until: Instant,
}

impl Taints {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn note(&mut self, command: &Arc<str>, seat: &str, until: Instant) {
        self.0.retain(|taint| !(taint.command == *command && &*taint.seat == seat));
        if self.0.len() >= MAX_TAINTS {
            self.0.remove(0);
        }
        self.0.push(Taint { command: Arc::clone(command), seat: Arc::from(seat), until });
    }

    fn are_on(&self, command: &str) -> bool {
        self.0.iter().any(|taint| &*taint.command == command)
    }

    fn keep(&self, command: &str, worker: &WorkerId) -> bool {
        let seat = worker.seat();
        self.0.iter().any(|taint| &*taint.command == command && &*taint.seat == seat)
    }

    /// Whether a member's seat gets no calls of a command.
    pub(super) fn are_between(&self, command: &str, member: &Member) -> bool {
        !self.0.is_empty() && self.keep(command, member.id())
    }

    /// Lets go of those that are over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|taint| taint.until > now);
    }

    /// When the first of them is over.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.0.iter().map(|taint| taint.until).min()
    }
}

impl Turn<'_> {
    /// Notes a crash and says whether its call has been moved, so that it has no end yet.
    pub(super) fn crashed(&mut self, member: u64, call: CallId, error: &Error) -> bool {
        let (Some(taint), Some(_)) = (self.options().barrier, error.crash_signal()) else {
            return false;
        };
        let state = &mut *self.state;
        let (Some(record), Some(worker)) = (state.calls.get_mut(&call), state.members.get(&member))
        else {
            return false;
        };
        let (command, worker) = (Arc::clone(&record.call.request.command), worker.id().clone());
        let request = &record.call.request;
        let moved = request.idempotent
            && request.worker.is_none()
            // It runs where its session is or not at all.
            && record.held_session().is_none()
            && !record.moved
            && !record.spoken
            && !matches!(record.caller, Caller::Gone)
            && record.deadline.is_none_or(|at| at > self.now)
            && !state.closed;
        state.taints.note(&command, worker.seat(), self.now + taint);
        state.counters.tainted += 1;
        self.tell_crash(Crash { command, worker, error: error.clone(), taint, moved });
        if moved {
            self.move_away(member, call);
        }
        moved
    }

    /// Puts a call back into its place, for another worker.
    fn move_away(&mut self, member: u64, call: CallId) {
        let Some(mut record) = self.state.remove(call) else {
            return;
        };
        if let Stage::Assigned(assignment) = &mut record.stage {
            let lease = assignment.lease.take();
            self.pass_on(member, lease);
        }
        // They have left the books with it, and whoever asked for them is gone.
        let tools = std::mem::take(&mut record.tools);
        self.give_up(tools);
        self.state.counters.moved += 1;
        record.moved = true;
        // It has stood in line once already; what it waits for now is another worker.
        let limit = record.call.request.queue_timeout.or(self.options().queue_timeout);
        record.queue_deadline = limit.map(|limit| self.now + limit);
        self.put_back(call, record);
    }

    /// Where a call can go while workers are tainted.
    pub(super) fn untainted_slot(&self, call: CallId) -> Option<(u64, Option<Lease>)> {
        let command = &self.state.calls[&call].call.request.command;
        let taints = &self.state.taints;
        let kept = |member: &Member| taints.keep(command, member.id());
        let ready = || self.state.ready.iter().map(|(_, key)| (*key, &self.state.members[key]));
        if !taints.are_on(command) || ready().all(|(_, member)| kept(member)) {
            return self.any_slot(call);
        }
        // Not ahead of time: behind a call of the same kind it might be lost with it.
        let take = |(key, member): (u64, &Member)| {
            Lease::acquire(member.worker.slots()).map(|lease| (key, Some(lease)))
        };
        if self.options().strategy == Strategy::Fill {
            let fullest = self.state.fullest_first().map(|key| (key, &self.state.members[&key]));
            let free = fullest.filter(|(_, member)| !kept(member)).take(LOOKS).find_map(take);
            if free.is_some() {
                return free;
            }
        }
        ready().filter(|(_, member)| !kept(member)).take(LOOKS).find_map(take)
    }

    /// The next call in line that can start although those before it wait for an untainted worker.
    pub(super) fn start_behind_tainted(&mut self) -> Option<(CallId, (u64, Option<Lease>))> {
        if self.state.taints.is_empty() {
            return None;
        }
        loop {
            let behind: SmallVec<[CallId; LOOKS]> =
                self.state.queue.iter().skip(1).take(LOOKS).collect();
            let mut redirected = false;
            for call in behind {
                if self.redirect(call) {
                    redirected = true;
                } else if let Some(slot) = self.slot_for(call) {
                    return Some((call, slot));
                }
            }
            // Each that went has made room for another look.
            if !redirected {
                return None;
            }
        }
    }
}
