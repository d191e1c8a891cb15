//! What a pool knows: its calls, its members, its line, its timers. Data and the small steps that
//! keep it consistent; decisions are in the turn.
//!
//! Invariants, checked by `State::check` in tests: a queued call is in line and holds no lease; an
//! assigned call is in its member's list; a member's leases never exceed its capacity; each call
//! has at most one timer; a member that retires is shut, and whoever waits for its last call is told
//! in the turn in which that ends.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::affinity::Sessions;
use super::barrier::Taints;
use super::caller::{Completed, StreamBuffer};
use super::nesting::Nest;
use super::prefetch::Estimates;
use super::queue::{FairQueue, Spot};
use super::stats::Counters;
use super::tools::OpenTool;
use crate::call::Call;
use crate::error::Error;
use crate::ids::{CallId, WorkerId};
use crate::session::{Affinity, SessionKey, SessionOptions};
use crate::slots::Lease;
use crate::worker::Worker;

/// The rank of a worker with as many calls as slots. Those with more slots rank lower with as many
/// calls, so that a free slot is found before small workers that are full.
const FULL: usize = 1 << 16;

pub(super) struct State {
    /// Boxed: a record goes through many hands, and is large.
    pub(super) calls: FxHashMap<CallId, Box<Record>>,
    pub(super) queue: FairQueue,
    pub(super) sessions: Sessions,
    pub(super) members: FxHashMap<u64, Member>,
    /// Members that take calls, least busy for their size first, then the longest-serving:
    /// `(rank, key)`.
    pub(super) ready: BTreeSet<(usize, u64)>,
    pub(super) timers: BTreeSet<(Instant, CallId)>,
    /// When to look for slow calls that others wait behind; set while anything is prefetched.
    pub(super) slow_check: Option<Instant>,
    /// When the timer task wakes by itself.
    pub(super) armed: Option<Instant>,
    pub(super) estimates: Estimates,
    /// Assigned calls without a lease.
    pub(super) prefetched: usize,
    /// Which commands are kept from which workers.
    pub(super) taints: Taints,
    /// Tool calls under way.
    pub(super) in_tools: usize,
    pub(super) nest: Nest,
    pub(super) counters: Counters,
    /// To be told when the turn ends: members without calls left, members at their milestone.
    pub(super) reached: Vec<oneshot::Sender<()>>,
    /// Takes no more calls.
    pub(super) sealed: bool,
    /// Sealed, and starts none of those it has.
    pub(super) closed: bool,
    /// Why nobody can run calls, while there is no member.
    pub(super) failure: Option<Error>,
    pub(super) last_call: u64,
    pub(super) last_member: u64,
}

pub(super) struct Record {
    pub(super) call: Call,
    pub(super) caller: Caller,
    /// Its place in line and its session.
    pub(super) spot: Spot,
    pub(super) affinity: Affinity,
    pub(super) submitted: Instant,
    pub(super) deadline: Option<Instant>,
    pub(super) queue_deadline: Option<Instant>,
    /// The instant under which the call is in `timers`.
    pub(super) timer: Option<Instant>,
    /// Whether it has been moved away from a worker that crashed.
    pub(super) moved: bool,
    /// Whether its caller has been given a chunk.
    pub(super) spoken: bool,
    pub(super) stage: Stage,
    /// Tool calls it is inside of.
    pub(super) tools: Vec<OpenTool>,
}

impl Record {
    /// The session whose worker alone may run the call.
    pub(super) fn held_session(&self) -> Option<SessionKey> {
        self.spot.flow.filter(|_| self.affinity.is_strict())
    }
}

pub(super) enum Stage {
    Queued,
    Assigned(Assignment),
}

pub(super) struct Assignment {
    pub(super) member: u64,
    /// The slot; `None` while the call is prefetched.
    pub(super) lease: Option<Lease>,
    pub(super) dispatched: Instant,
    /// When it got its slot, as far as can be known here.
    pub(super) since: Instant,
    pub(super) revoking: bool,
    /// Whether its deadline has passed and the worker was told.
    pub(super) expired: bool,
    /// Expected running time when it was assigned.
    pub(super) estimate: Duration,
    /// Whether it ignored its cancellation and the worker was told.
    pub(super) stuck: bool,
    /// The last chunk, for the idle time of streams.
    pub(super) last_chunk: Instant,
}

pub(super) enum Caller {
    One(oneshot::Sender<Result<Completed, Error>>),
    Stream(Arc<StreamBuffer>),
    /// It no longer waits.
    Gone,
}

pub(super) struct Member {
    pub(super) worker: Arc<dyn Worker>,
    /// Where it stands among those that take calls, if it does.
    rank: Option<usize>,
    /// Calls handed to it, in the order in which it runs them.
    pub(super) assigned: VecDeque<CallId>,
    /// How many of them are stuck. Nobody waits for those.
    pub(super) stuck: usize,
    /// When a slot of it became free last.
    pub(super) freed: Instant,
    /// Whether it takes calls.
    pub(super) open: bool,
    pub(super) served: u64,
    /// Sessions that have it for their home.
    pub(super) sessions: FxHashSet<SessionKey>,
    /// Who is told when it has served so many calls.
    pub(super) milestone: Option<(u64, oneshot::Sender<()>)>,
    /// Who waits for it to have no call left.
    pub(super) retiring: Vec<oneshot::Sender<()>>,
    /// Who is told when it has a slot to lend.
    pub(super) borrower: Option<oneshot::Sender<()>>,
    /// The slot that is lent for something that is no call.
    pub(super) lent: Option<Lease>,
    /// Tool calls that its calls are inside of.
    pub(super) open_tools: usize,
}

impl Member {
    pub(super) fn new(worker: Arc<dyn Worker>, now: Instant) -> Self {
        Self {
            worker,
            rank: None,
            assigned: VecDeque::new(),
            stuck: 0,
            freed: now,
            open: true,
            served: 0,
            sessions: FxHashSet::default(),
            milestone: None,
            retiring: Vec::new(),
            borrower: None,
            lent: None,
            open_tools: 0,
        }
    }

    /// Whether a slot is lent or about to be.
    pub(super) fn is_lending(&self) -> bool {
        self.borrower.is_some() || self.lent.is_some()
    }

    /// Takes its place among those that take calls, or gives it up. Each change of its calls comes
    /// here; one of its capacity alone is seen with the next of them.
    fn take_place(&mut self, key: u64, ready: &mut BTreeSet<(usize, u64)>) {
        if let Some(rank) = self.rank.take() {
            ready.remove(&(rank, key));
        }
        if self.open {
            let capacity = self.worker.slots().capacity().max(1);
            let rank = self.assigned.len() * FULL / capacity;
            self.rank = Some(rank);
            ready.insert((rank, key));
        }
    }

    /// Whether there is no call left that might end.
    pub(super) fn is_idle(&self) -> bool {
        self.assigned.len() == self.stuck
    }

    pub(super) fn id(&self) -> &WorkerId {
        &self.worker.info().id
    }
}

impl State {
    pub(super) fn new(sessions: SessionOptions) -> Self {
        Self {
            calls: FxHashMap::default(),
            queue: FairQueue::default(),
            sessions: Sessions::new(sessions),
            members: FxHashMap::default(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            slow_check: None,
            armed: None,
            estimates: Estimates::default(),
            prefetched: 0,
            taints: Taints::default(),
            in_tools: 0,
            nest: Nest::default(),
            counters: Counters::default(),
            reached: Vec::new(),
            sealed: false,
            closed: false,
            failure: None,
            last_call: 0,
            last_member: 0,
        }
    }

    /// Sets, moves or clears a call's timer.
    pub(super) fn set_timer(&mut self, call: CallId, at: Option<Instant>) {
        let Some(record) = self.calls.get_mut(&call) else {
            return;
        };
        if record.timer == at {
            return;
        }
        if let Some(old) = std::mem::replace(&mut record.timer, at) {
            self.timers.remove(&(old, call));
        }
        if let Some(at) = at {
            self.timers.insert((at, call));
        }
    }

    /// Forgets a call, whatever its stage; its lease goes with the record.
    pub(super) fn remove(&mut self, call: CallId) -> Option<Box<Record>> {
        let mut record = self.calls.remove(&call)?;
        if let Some(at) = record.timer.take() {
            self.timers.remove(&(at, call));
        }
        match &record.stage {
            Stage::Queued => {
                self.queue.remove(record.spot);
            }
            Stage::Assigned(assignment) => {
                self.leave_tools(assignment.member, &record.tools);
                let member = self.members.get_mut(&assignment.member);
                if let Some(member) = member.filter(|_| assignment.stuck) {
                    member.stuck -= 1;
                }
                self.take_from_member(assignment.member, call);
                if assignment.lease.is_none() {
                    self.prefetched -= 1;
                }
            }
        }
        if record.call.request.caller.is_some() {
            self.nest.call_ended(call);
        }
        Some(record)
    }

    /// Notes that tool calls are over.
    pub(super) fn leave_tools<'a>(
        &mut self,
        member: u64,
        tools: impl IntoIterator<Item = &'a OpenTool>,
    ) {
        let mut left = 0;
        for tool in tools {
            self.nest.leave_tool(tool.key);
            left += 1;
        }
        self.in_tools -= left;
        if let Some(member) = self.members.get_mut(&member) {
            member.open_tools -= left;
        }
    }

    /// Takes a worker in.
    pub(super) fn add_member(&mut self, key: u64, mut member: Member) {
        member.take_place(key, &mut self.ready);
        self.nest.member_joined(key, Arc::clone(member.worker.slots()));
        self.members.insert(key, member);
    }

    /// Members with fewer calls than slots, the busiest for its size first, then the longest-serving.
    pub(super) fn fullest_first(&self) -> impl Iterator<Item = u64> {
        let mut below = FULL;
        let ranks = std::iter::from_fn(move || {
            below = self.ready.range(..(below, 0)).next_back()?.0;
            Some(self.ready.range((below, 0)..=(below, u64::MAX)))
        });
        ranks.flatten().map(|(_, key)| *key)
    }

    pub(super) fn give_to_member(&mut self, key: u64, call: CallId) {
        if let Some(member) = self.members.get_mut(&key) {
            member.assigned.push_back(call);
            member.take_place(key, &mut self.ready);
        }
    }

    pub(super) fn take_from_member(&mut self, key: u64, call: CallId) {
        if let Some(member) = self.members.get_mut(&key) {
            if let Some(position) = member.assigned.iter().position(|c| *c == call) {
                member.assigned.remove(position);
            }
            member.take_place(key, &mut self.ready);
            if !member.open && member.is_idle() {
                self.reached.append(&mut member.retiring);
            }
        }
    }

    /// Notes that a call does not end: whoever waits for its member to be idle no longer waits for it.
    pub(super) fn note_stuck(&mut self, call: CallId) {
        let Some(Stage::Assigned(assignment)) = self.calls.get_mut(&call).map(|r| &mut r.stage)
        else {
            return;
        };
        let Some(member) = self.members.get_mut(&assignment.member) else { return };
        if !std::mem::replace(&mut assignment.stuck, true) {
            member.stuck += 1;
        }
        if !member.open && member.is_idle() {
            self.reached.append(&mut member.retiring);
        }
    }

    /// Takes a member from those that take calls. What follows for its sessions is the turn's.
    pub(super) fn shut_member(&mut self, key: u64) {
        if let Some(member) = self.members.get_mut(&key) {
            self.nest.member_shut(key);
            member.open = false;
            member.take_place(key, &mut self.ready);
        }
    }

    pub(super) fn member_key(&self, id: &WorkerId) -> Option<u64> {
        self.members.iter().find(|(_, member)| member.id() == id).map(|(key, _)| *key)
    }

    /// When the timer task has to look next.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let first = self.timers.first().map(|(at, _)| *at);
        let expiry = self.sessions.store.next_expiry();
        let others = self.slow_check.into_iter().chain(self.taints.next_end()).chain(expiry);
        first.into_iter().chain(others).min()
    }

    /// Panics if the parts contradict each other.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.check_sessions();
        let queued = self.calls.values().filter(|r| matches!(r.stage, Stage::Queued)).count();
        assert_eq!(queued, self.queue.len());
        let timers = self.calls.values().filter(|r| r.timer.is_some()).count();
        assert_eq!(timers, self.timers.len());
        let mut leaseless = 0;
        let tools = |calls: &mut dyn Iterator<Item = &CallId>| {
            calls.map(|call| self.calls[call].tools.len()).sum::<usize>()
        };
        assert_eq!(tools(&mut self.calls.keys()), self.in_tools);
        for (key, member) in &self.members {
            let mut leases = 0;
            for call in &member.assigned {
                match &self.calls[call].stage {
                    Stage::Assigned(a) if a.member == *key => {
                        leases += usize::from(a.lease.is_some())
                    }
                    _ => panic!("call {call} is listed at a member it is not assigned to"),
                }
            }
            assert_eq!(tools(&mut member.assigned.iter()), member.open_tools);
            let slots = member.worker.slots();
            let lent = usize::from(member.lent.is_some());
            assert_eq!(leases + lent, slots.load(), "leases and slots disagree");
            assert!(leases + lent <= slots.capacity());
            let stuck = member.assigned.iter().filter(|call| match &self.calls[*call].stage {
                Stage::Assigned(assignment) => assignment.stuck,
                Stage::Queued => false,
            });
            assert_eq!(stuck.count(), member.stuck);
            let waits = member.borrower.is_some();
            assert!(!waits || leases == slots.capacity(), "nobody was told of a slot to borrow");
            leaseless += member.assigned.len() - leases;
            let placed = member.rank.is_some_and(|rank| self.ready.contains(&(rank, *key)));
            assert_eq!(member.open, placed);
            let waits = !member.retiring.is_empty();
            assert!(!waits || !member.open, "a member that retires takes calls");
            assert!(!waits || !member.is_idle(), "nobody was told that it is idle");
            let due = member.milestone.as_ref().is_some_and(|(at, _)| *at <= member.served);
            assert!(!due, "nobody was told of the milestone");
        }
        assert_eq!(leaseless, self.prefetched);
        let assigned: usize = self.members.values().map(|m| m.assigned.len()).sum();
        assert_eq!(assigned + queued, self.calls.len());
    }
}
