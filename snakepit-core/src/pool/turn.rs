//! One turn: a short time under the pool's lock in which something happened and everything that
//! follows from it is decided. What reaches outside (waking links and callers) is noted and done
//! after the lock is gone, in this order: links first, callers last, so that the next call is on
//! its way before anyone looks at the result of the previous one (`answers.rs`).

use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use arc_swap::Guard;
use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Shared;
use super::affinity::SessionNews;
use super::answers::{Answer, Told, together};
use super::barrier::Crash;
use super::options::{PoolOptions, Strategy};
use super::prefetch::{SHORT, SLOW_AFTER};
use super::queue::Spot;
use super::state::{Assignment, Caller, Record, Stage, State};
use super::tools::{OpenTool, too_deep};
use crate::call::{Call, CancelReason, Progress, ProgressHandler, Request};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::ids::{CallId, PoolName, WorkerId};
use crate::session::SessionKey;
use crate::slots::Lease;
use crate::tool::{ToolCaller, ToolHost, ToolJob};
use crate::worker::{CallSink, Reply, Worker};

/// Members looked at when the least busy one will not do, so that the cost of a turn does not grow
/// with the pool.
pub(super) const LOOKS: usize = 4;

pub(super) struct Turn<'a> {
    shared: &'a Arc<Shared>,
    pub(super) state: MutexGuard<'a, State>,
    pub(super) now: Instant,
    /// Members that had a slot freed, while calls wait for certain ones.
    pub(super) freed: SmallVec<[u64; 2]>,
    options: Guard<Arc<PoolOptions>>,
    effects: Effects,
}

#[derive(Default)]
struct Effects {
    flush: SmallVec<[Arc<dyn Worker>; 2]>,
    stuck: SmallVec<[(Arc<dyn Worker>, CallId); 1]>,
    progress: Option<(ProgressHandler, Progress)>,
    crash: Option<Crash>,
    answers: SmallVec<[Told; 1]>,
    /// What is over. Dropped without the lock, because a request may own things of its caller's
    /// whose drop comes back to the pool.
    retired: SmallVec<[Box<Record>; 1]>,
    refused: Vec<Request>,
    reader: Option<Waker>,
    reached: Vec<oneshot::Sender<()>>,
    sessions: Vec<SessionNews>,
    rearm: bool,
    drained: bool,
    /// At most one call is in the pool.
    lone_call: bool,
    /// What was handed to workers should be answered in a moment.
    short_calls: bool,
    /// Answers that are told together.
    together: usize,
    /// Tools that are to run.
    jobs: SmallVec<[(Arc<dyn ToolHost>, ToolJob); 1]>,
    /// Tool calls that are over. Dropped without the lock: that wakes whoever runs the tool.
    given_up: Vec<OpenTool>,
    /// A call that waits may have come to wait for itself.
    check_nesting: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>) -> Self {
        let now = shared.clock.now();
        let options = shared.options.load();
        let (freed, effects) = Default::default();
        Self { shared, state: shared.lock(), now, options, freed, effects }
    }

    pub(super) fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// The error of a pool that takes no more calls.
    pub(super) fn closed(&self) -> Error {
        closed(&self.shared.name)
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(self.shared)
    }

    pub(super) fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// Has nested calls looked at when the turn ends: one that waits may have come to wait for itself.
    pub(super) fn check_nesting(&mut self) {
        self.effects.check_nesting = true;
    }

    /// As [`end`](Self::end), for whoever looks at nested calls himself.
    pub(super) fn end_unchecked(mut self) {
        self.effects.check_nesting = false;
        self.end();
    }

    /// Ends the turn: releases the lock, then does what was noted.
    pub(super) fn end(self) {
        let Self { shared, mut state, mut effects, .. } = self;
        let wake = state.next_wake();
        if wake.is_some_and(|at| state.armed.is_none_or(|armed| at < armed)) {
            effects.rearm = true;
            state.armed = wake;
        }
        effects.check_nesting &= state.nest.is_anybody_waiting();
        effects.reached = std::mem::take(&mut state.reached);
        effects.drained = state.sealed && state.calls.is_empty();
        effects.lone_call = state.calls.len() <= 1;
        effects.together = if effects.short_calls { together(state.queue.len()) } else { 1 };
        #[cfg(test)]
        state.check();
        drop(state);
        effects.run(shared);
    }

    pub(super) fn flush(&mut self, worker: &Arc<dyn Worker>) {
        if !self.effects.flush.iter().any(|noted| Arc::ptr_eq(noted, worker)) {
            self.effects.flush.push(Arc::clone(worker));
        }
    }

    pub(super) fn answer(&mut self, caller: Caller, answer: Answer) {
        self.effects.answers.push((caller, answer));
    }

    /// Lets go of a call, with a last word to its caller if that still waits.
    pub(super) fn retire(&mut self, mut record: Box<Record>, answer: Option<Answer>) {
        if let Some(session) = record.spot.flow {
            self.state.sessions.store.leave(session, self.now);
        }
        if let Some(answer) = answer {
            self.answer(std::mem::replace(&mut record.caller, Caller::Gone), answer);
        }
        if record.call.request.caller.is_some() {
            // One thing less that a tool may be waiting for.
            self.check_nesting();
        }
        self.effects.retired.push(record);
    }

    pub(super) fn wake_reader(&mut self, reader: Option<Waker>) {
        self.effects.reader = reader;
    }

    pub(super) fn report(&mut self, handler: ProgressHandler, progress: Progress) {
        self.effects.progress = Some((handler, progress));
    }

    pub(super) fn tell_crash(&mut self, crash: Crash) {
        self.effects.crash = Some(crash);
    }

    pub(super) fn tell_of_sessions(&mut self, news: SessionNews) {
        self.effects.sessions.push(news);
    }

    /// Notes that a member may have a slot for the calls that wait for it.
    pub(super) fn note_freed(&mut self, member: u64) {
        if self.state.queue.has_bound() {
            self.freed.push(member);
        }
    }

    pub(super) fn stuck(&mut self, worker: Arc<dyn Worker>, call: CallId) {
        self.effects.stuck.push((worker, call));
        // It may have cost its worker a slot.
        self.check_nesting();
    }

    pub(super) fn start_tool(&mut self, host: Arc<dyn ToolHost>, job: ToolJob) {
        self.effects.jobs.push((host, job));
    }

    pub(super) fn give_up(&mut self, tools: Vec<OpenTool>) {
        self.effects.given_up.extend(tools);
    }

    /// Takes a request in: a free worker gets it at once, else it stands in line.
    pub(super) fn admit(
        &mut self,
        request: Request,
        caller: Caller,
        stream_credit: Option<u32>,
    ) -> Result<CallId, Error> {
        let affinity = request.affinity.unwrap_or(self.options().affinity);
        let checked = self.entry_check(&request);
        let opened =
            checked.and_then(|pinned| Ok((pinned, self.open_session(&request, affinity)?)));
        let (pinned, session) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.effects.refused.push(request);
                return Err(error);
            }
        };
        // A stream lasts as long as items keep coming, unless its caller says otherwise.
        let default = if stream_credit.is_some() { None } else { self.options().call_timeout };
        let deadline = request.timeout.or(default).map(|t| self.now + t);
        let (nested_in, caller_deadline) = match &request.caller {
            Some(caller) => (Some(caller.key), caller.deadline),
            None => (None, None),
        };
        let deadline = deadline.into_iter().chain(caller_deadline).min();
        let queue_timeout = request.queue_timeout.or(self.options().queue_timeout);

        let state = &mut *self.state;
        state.last_call += 1;
        let id = CallId::new(state.last_call).ok_or_else(super::pool_gone)?;
        let place = match nested_in {
            Some(_) => state.queue.front_place(),
            None => state.queue.next_place(session),
        };
        if let Some(session) = session {
            state.sessions.store.enter(session);
        }
        let record = Record {
            call: Call { id, request, stream_credit },
            caller,
            spot: Spot { place, flow: session, member: None },
            affinity,
            submitted: self.now,
            deadline,
            queue_deadline: queue_timeout.map(|t| self.now + t),
            timer: None,
            moved: false,
            spoken: false,
            stage: Stage::Queued,
            tools: Vec::new(),
        };
        state.calls.insert(id, Box::new(record));
        if let Some(tool) = nested_in {
            self.state.nest.call_nested(id, tool);
        }
        let is_next = self.is_next(session);
        if let Some((member, lease)) = pinned {
            if !self.assign(id, member, Some(lease)) {
                return Err(self.refuse(id, |request| worker_not_found(request.worker.as_ref())));
            }
        } else if !(is_next && self.start_at_once(id)) {
            self.line_up(id);
            self.pump();
            if self.is_queued(id) {
                if self.state.queue.len() > self.options().queue_limit {
                    self.state.counters.saturated += 1;
                    let error = saturated(self.options());
                    return Err(self.refuse(id, |_| error.clone()));
                }
                self.time_queued(id);
                if nested_in.is_some() {
                    self.note_nested(id);
                }
            }
        }
        self.state.counters.submitted += 1;
        Ok(id)
    }

    /// Whether a call that comes now has nobody before it: there is no line, or its session's worker
    /// has a slot that nobody in line could use.
    fn is_next(&self, session: Option<SessionKey>) -> bool {
        self.state.queue.is_clear()
            || session.is_some_and(|session| self.state.home_is_free(session))
    }

    /// Hands a call to a member that can take it, without a place in line.
    fn start_at_once(&mut self, call: CallId) -> bool {
        self.slot_for(call).is_some_and(|(member, lease)| self.assign(call, member, lease))
    }

    /// Takes a call back out that was let in too early.
    fn refuse(&mut self, call: CallId, error: impl Fn(&Request) -> Error) -> Error {
        let Some(record) = self.state.remove(call) else {
            return super::pool_gone();
        };
        let error = error(&record.call.request);
        self.retire(record, None);
        error
    }

    /// Refuses what need not even be lined up; for a call bound to a worker, takes its slot.
    fn entry_check(&self, request: &Request) -> Result<Option<(u64, Lease)>, Error> {
        if self.state.sealed && !self.goes_on(request) {
            return Err(self.closed());
        }
        let (depth, limit) = (request.depth(), self.options().max_tool_depth);
        if depth > limit {
            return Err(too_deep(depth, limit));
        }
        if let Some(failure) = &self.state.failure {
            return Err(failure.clone());
        }
        let (size, limit) = (request.arguments.len() as u64, self.options().max_payload_bytes);
        if size > limit {
            return Err(Error::new(
                ErrorKind::PayloadTooLarge,
                format!(
                    "the arguments of `{}` take {size} bytes, over the limit of {limit}",
                    request.command
                ),
            )
            .with_help("raise `max_payload` of the pool, or pass a path instead of the data"));
        }
        request.worker.as_ref().map(|worker| self.slot_of(worker)).transpose()
    }

    /// Whether a sealed pool takes a call all the same: a running one waits for it, and there is
    /// somebody to run it.
    fn goes_on(&self, request: &Request) -> bool {
        let is_open = |caller: &Arc<ToolCaller>| self.state.nest.is_open(caller.key);
        request.caller.as_ref().is_some_and(is_open) && !self.state.ready.is_empty()
    }

    fn is_queued(&self, call: CallId) -> bool {
        self.state.calls.get(&call).is_some_and(|record| matches!(record.stage, Stage::Queued))
    }

    /// A call in line ends when it has waited long enough or its deadline passes.
    pub(super) fn time_queued(&mut self, call: CallId) {
        let at = self
            .state
            .calls
            .get(&call)
            .and_then(|record| record.queue_deadline.into_iter().chain(record.deadline).min());
        self.state.set_timer(call, at);
    }

    fn slot_of(&self, worker: &WorkerId) -> Result<(u64, Lease), Error> {
        let key = self.state.member_key(worker);
        let member = key.and_then(|key| self.state.members.get(&key)).filter(|m| m.open);
        let (Some(key), Some(member)) = (key, member) else {
            return Err(worker_not_found(Some(worker)));
        };
        let slots = member.worker.slots();
        let lease = Lease::acquire(slots).ok_or_else(|| full(worker, slots.capacity()))?;
        Ok((key, lease))
    }

    /// Hands out calls in the order of the line for as long as somebody can take the first.
    pub(super) fn pump(&mut self) {
        loop {
            let bound = self.first_bound();
            if let Some((place, call)) = self.state.queue.first()
                && bound.is_none_or(|(other, _)| place < other)
            {
                if self.redirect(call) {
                    continue;
                }
                if let Some((member, lease)) = self.slot_for(call) {
                    // A member that refuses is shut, so the next round looks at others.
                    self.assign(call, member, lease);
                    continue;
                }
            }
            // Nobody can take the first of all: those may start that wait for a certain member, or
            // behind a call that waits for an untainted one.
            let of_bound = bound.and_then(|(_, call)| self.slot_for(call).map(|slot| (call, slot)));
            let Some((call, (member, lease))) = of_bound.or_else(|| self.start_behind_tainted())
            else {
                break;
            };
            self.assign(call, member, lease);
        }
        if self.state.queue.is_clear() && self.state.prefetched > 0 {
            self.steal();
        }
    }

    /// Where a call can go that no worker is tainted for: to a free slot, or ahead of time.
    pub(super) fn any_slot(&self, call: CallId) -> Option<(u64, Option<Lease>)> {
        self.free_slot().or_else(|| self.prefetch_slot(call))
    }

    /// The least busy member with a free slot, or the busiest one.
    pub(super) fn free_slot(&self) -> Option<(u64, Option<Lease>)> {
        let take = |key: u64| {
            let lease = Lease::acquire(self.state.members[&key].worker.slots())?;
            Some((key, Some(lease)))
        };
        if self.options().strategy == Strategy::Fill
            && let Some(slot) = self.state.fullest_first().take(LOOKS).find_map(take)
        {
            return Some(slot);
        }
        self.state.ready.iter().take(LOOKS).find_map(|(_, key)| take(*key))
    }

    /// Hands a queued call to a member. A member that refuses takes no more calls, and the call
    /// stays where it stood.
    fn assign(&mut self, call: CallId, key: u64, lease: Option<Lease>) -> bool {
        let state = &mut *self.state;
        let (Some(record), Some(member)) = (state.calls.get_mut(&call), state.members.get(&key))
        else {
            return false;
        };
        let timeout = record.deadline.map(|at| at.saturating_duration_since(self.now));
        let sink: Arc<dyn CallSink> = Arc::clone(self.shared) as _;
        let worker = Arc::clone(&member.worker);
        if let Err(reply) = worker.submit(&record.call, timeout, Reply::new(sink, key, call)) {
            reply.disarm();
            self.shut(key);
            return false;
        }
        if lease.is_none() {
            state.prefetched += 1;
            state.counters.prefetched += 1;
            state.slow_check.get_or_insert(self.now + SLOW_AFTER);
        }
        let estimate = state.estimates.of(&record.call.request.command);
        self.effects.short_calls = estimate <= SHORT;
        record.stage = Stage::Assigned(Assignment {
            member: key,
            lease,
            dispatched: self.now,
            since: self.now,
            revoking: false,
            expired: false,
            estimate,
            stuck: false,
            last_chunk: self.now,
        });
        let idle = self.options.stream_idle_timeout;
        let idle = record.call.stream_credit.and(idle).map(|t| self.now + t);
        let timer = record.deadline.into_iter().chain(idle).min();
        let (spot, affinity) = (record.spot, record.affinity);
        if record.call.request.caller.is_some() {
            state.nest.call_started(call);
        }
        state.queue.start(spot);
        state.give_to_member(key, call);
        if let Some(session) = spot.flow {
            state.session_ran(session, affinity, key);
        }
        state.set_timer(call, timer);
        self.flush(&worker);
        true
    }

    /// Passes the slot of a call that ended to the next one lined up behind it, else to a borrower,
    /// else gives it back.
    pub(super) fn pass_on(&mut self, key: u64, lease: Option<Lease>) {
        let Some(lease) = lease else { return };
        let state = &mut *self.state;
        let Some(member) = state.members.get_mut(&key) else {
            return;
        };
        for call in &member.assigned {
            let Some(Stage::Assigned(a)) = state.calls.get_mut(call).map(|r| &mut r.stage) else {
                continue;
            };
            if a.lease.is_none() {
                a.lease = Some(lease);
                a.since = self.now;
                state.prefetched -= 1;
                return;
            }
        }
        match member.borrower.take() {
            Some(told) => {
                member.lent = Some(lease);
                state.reached.push(told);
            }
            None => {
                member.freed = self.now;
                self.note_freed(key);
            }
        }
    }

    /// Its caller no longer waits.
    pub(super) fn abandon(&mut self, call: CallId) {
        let Some(record) = self.state.calls.get_mut(&call) else {
            return;
        };
        match &record.stage {
            Stage::Queued => {
                if let Some(record) = self.state.remove(call) {
                    self.retire(record, None);
                }
            }
            Stage::Assigned(assignment) => {
                if matches!(std::mem::replace(&mut record.caller, Caller::Gone), Caller::Gone) {
                    return;
                }
                let member = assignment.member;
                self.stop_tools(member, call);
                self.cancel_at(member, call, CancelReason::Dropped);
            }
        }
        self.state.counters.cancelled += 1;
    }

    pub(super) fn cancel_at(&mut self, member: u64, call: CallId, reason: CancelReason) {
        if let Some(member) = self.state.members.get(&member) {
            let worker = Arc::clone(&member.worker);
            worker.cancel(call, reason);
            self.flush(&worker);
        }
    }

    /// Allows a streamed call more items.
    pub(super) fn grant(&mut self, call: CallId, items: u32) {
        let Some(Stage::Assigned(a)) = self.state.calls.get(&call).map(|r| &r.stage) else {
            return;
        };
        if let Some(member) = self.state.members.get(&a.member) {
            let worker = Arc::clone(&member.worker);
            worker.grant(call, items);
            self.flush(&worker);
        }
    }

    /// Ends every call in line with an error, but for those that running calls wait for.
    pub(super) fn fail_outer_queue(&mut self, error: impl Fn() -> Error) {
        let is_outer = |call: &CallId| {
            self.state.calls.get(call).is_some_and(|record| record.call.request.caller.is_none())
        };
        let outer: Vec<CallId> = self.state.queue.calls().filter(is_outer).collect();
        for call in outer {
            self.fail_call(call, |_| error());
        }
    }

    /// Ends every call in line with an error.
    pub(super) fn fail_queue(&mut self, error: impl Fn() -> Error) {
        let waiting: Vec<CallId> = self.state.queue.calls().collect();
        for call in waiting {
            self.fail_call(call, |_| error());
        }
    }

    /// Ends a call with an error, wherever it is.
    pub(super) fn fail_call(&mut self, call: CallId, error: impl FnOnce(&Request) -> Error) {
        if let Some(record) = self.state.remove(call) {
            self.state.counters.failed += 1;
            let error = error(&record.call.request);
            self.retire(record, Some(Answer::Error(error)));
        }
    }
}

impl Effects {
    fn run(self, shared: &Shared) {
        if self.lone_call
            && !(self.flush.is_empty() && self.answers.is_empty())
            && let Some(told) = &shared.lone_call
        {
            told.notify_one();
        }
        let dispatched = !self.flush.is_empty();
        for worker in self.flush {
            worker.flush();
        }
        for (host, job) in self.jobs {
            host.run(job);
        }
        if self.rearm {
            shared.timer.notify_one();
        }
        for (worker, call) in self.stuck {
            worker.stuck(call);
        }
        if dispatched {
            shared.answers.tell_soon(self.answers, self.together);
        } else {
            shared.answers.tell_now(self.answers);
        }
        if let Some(reader) = self.reader {
            reader.wake();
        }
        if let Some(crash) = self.crash {
            crash.tell(&shared.name);
        }
        if let Some((handler, progress)) = self.progress {
            let told = std::panic::AssertUnwindSafe(|| handler(progress));
            if std::panic::catch_unwind(told).is_err() {
                tracing::warn!(pool = %shared.name, "a progress handler panicked");
            }
        }
        for news in self.sessions {
            news.tell(&shared.name, shared.options.load().sessions.quota);
        }
        for told in self.reached {
            // Whoever no longer waits need not be told.
            let _ = told.send(());
        }
        if self.drained {
            shared.drained.send_replace(true);
        }
        drop(self.given_up);
        if self.check_nesting {
            shared.nesting.resolve();
        }
    }
}

fn saturated(options: &PoolOptions) -> Error {
    Error::new(
        ErrorKind::PoolSaturated,
        format!("pool `{}` has {} calls waiting, its limit", options.name, options.queue_limit),
    )
    .with_help("slow down, add workers, or raise `queue` of the pool")
}

pub(super) fn closed(pool: &PoolName) -> Error {
    Error::new(ErrorKind::PoolClosed, format!("pool `{pool}` is shutting down"))
}

fn full(worker: &WorkerId, capacity: usize) -> Error {
    let (kind, message) = if capacity > 1 {
        let message = format!("all {capacity} slots of worker `{worker}` are taken");
        (ErrorKind::WorkerAtCapacity, message)
    } else {
        (ErrorKind::WorkerBusy, format!("worker `{worker}` has no free slot"))
    };
    Error::new(kind, message)
        .with_detail("worker", worker.as_str())
        .with_help("call it later, or let the pool choose a worker")
}

fn worker_not_found(worker: Option<&WorkerId>) -> Error {
    let name = worker.map_or("?", WorkerId::as_str);
    Error::new(ErrorKind::WorkerNotFound, format!("there is no worker `{name}`"))
        .with_detail("worker", name)
        .with_help("it may have been replaced: list the pool's workers")
}
