//! Where calls of a session run: at the worker that served it last, or what follows when that is
//! busy or goes.
//!
//! Owns which worker each session has, and the steps of a turn that hold calls to it. Calls that
//! belong to no session pass through here without a lookup. Invariants, checked by `State::check`: a
//! session's home takes calls, and lists the session; a strict call of a session with a home is
//! assigned there and nowhere else; where calls wait for a member, it has no free slot.

use std::sync::Arc;

use smallvec::SmallVec;

use super::options::Strategy;
use super::state::{Record, State};
use super::turn::Turn;
use crate::call::Request;
use crate::error::{Error, ErrorKind};
use crate::ids::{CallId, PoolName, SessionId, WorkerId};
use crate::session::{
    Affinity, SessionInfo, SessionKey, SessionOptions, SessionStats, SessionStore,
};
use crate::slots::Lease;

use super::queue::Place;

/// Sessions that expire in one turn; the others are due in the next.
const EXPIRED_AT_A_TIME: usize = 64;

/// The sessions of a pool.
pub(super) struct Sessions {
    pub(super) store: SessionStore<Ties>,
    kept: u64,
    strayed: u64,
    moved: u64,
    lost: u64,
}

/// What ties a session to members.
#[derive(Debug, Default)]
pub(super) struct Ties {
    pub(super) home: Home,
    /// Members that had calls of it, and so may keep something for it.
    members: SmallVec<[u64; 2]>,
}

/// The worker of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Home {
    /// It has had none, or that is gone and it does not matter.
    #[default]
    None,
    /// Its last call ran there.
    Loose(u64),
    /// Its strict calls run there and nowhere else.
    Bound(u64),
    /// It was bound to this worker, which is gone, and no call has been told yet.
    Lost(WorkerId),
}

impl Home {
    fn member(&self) -> Option<u64> {
        match self {
            Self::Loose(member) | Self::Bound(member) => Some(*member),
            Self::None | Self::Lost(_) => None,
        }
    }
}

/// What is told of sessions when a turn is over.
pub(super) enum SessionNews {
    Crowded { sessions: usize },
    Expired { sessions: usize },
    WorkerGone { worker: WorkerId, moved: u64, lost: u64 },
}

impl Sessions {
    pub(super) fn new(options: SessionOptions) -> Self {
        let (kept, strayed, moved, lost) = (0, 0, 0, 0);
        Self { store: SessionStore::new(options), kept, strayed, moved, lost }
    }

    pub(super) fn stats(&self) -> SessionStats {
        let Self { store, kept, strayed, moved, lost } = self;
        let (kept, strayed, moved, lost) = (*kept, *strayed, *moved, *lost);
        SessionStats { kept, strayed, moved, lost, ..store.stats() }
    }
}

impl State {
    /// What is known of a session, with its worker.
    pub(super) fn session_info(
        &self,
        id: &SessionId,
        now: tokio::time::Instant,
    ) -> Option<SessionInfo> {
        let store = &self.sessions.store;
        let mut info = store.info(id, now)?;
        let home = store.find(id).map(|key| &store.tag(key).home)?;
        let member = home.member().and_then(|member| self.members.get(&member));
        info.worker = member.map(|member| member.id().clone());
        info.strict = matches!(home, Home::Bound(_) | Home::Lost(_));
        Some(info)
    }

    /// Notes that a call of a session was handed to a member.
    pub(super) fn session_ran(&mut self, session: SessionKey, affinity: Affinity, member: u64) {
        let sessions = &mut self.sessions;
        if sessions.store.is_ended(session) {
            // A call of it that had run came back to run once more; nothing is kept for it.
            return;
        }
        let ties = sessions.store.tag_mut(session);
        if !ties.members.contains(&member) {
            let members = &self.members;
            ties.members.retain(|member| members.contains_key(member));
            ties.members.push(member);
        }
        let before = ties.home.member();
        match ties.home {
            // What runs elsewhere does not take a bound session along.
            Home::Bound(_) | Home::Lost(_) => {}
            _ if affinity.is_strict() => ties.home = Home::Bound(member),
            _ => ties.home = Home::Loose(member),
        }
        match before {
            Some(home) if home == member => return sessions.kept += 1,
            Some(_) => sessions.strayed += 1,
            None => {}
        }
        let after = ties.home.member();
        if before != after {
            self.list_home(session, before, false);
            self.list_home(session, after, true);
        }
    }

    /// Keeps a member's list of the sessions that have it for their home.
    fn list_home(&mut self, session: SessionKey, member: Option<u64>, listed: bool) {
        let Some(member) = member.and_then(|member| self.members.get_mut(&member)) else {
            return;
        };
        if listed {
            member.sessions.insert(session);
        } else {
            member.sessions.remove(&session);
        }
    }

    /// The member that a call in line is held to, if it is to one: strict calls of a session that
    /// has a home. With it the session is bound.
    fn held_to(&mut self, call: CallId) -> Option<u64> {
        let record = self.calls.get(&call)?;
        let session = record.held_session()?;
        let ties = self.sessions.store.tag_mut(session);
        let member = ties.home.member()?;
        ties.home = Home::Bound(member);
        Some(member)
    }

    /// Whether a strict call has yet to be told that its session's worker is gone.
    fn has_lost_home(&self, call: CallId) -> bool {
        let session = self.calls.get(&call).and_then(|record| record.held_session());
        session
            .is_some_and(|session| matches!(self.sessions.store.tag(session).home, Home::Lost(_)))
    }

    /// Whether the session has a home with a free slot.
    pub(super) fn home_is_free(&self, session: SessionKey) -> bool {
        let home = self.sessions.store.tag(session).home.member();
        home.is_some_and(|home| self.has_free_slot(home))
    }

    fn has_free_slot(&self, member: u64) -> bool {
        self.members.get(&member).is_some_and(|member| {
            let slots = member.worker.slots();
            slots.load() < slots.capacity()
        })
    }

    /// The session was bound to a worker that is gone, and is told now: from here on it is free.
    fn tell_loss(&mut self, session: SessionKey) -> Option<WorkerId> {
        let home = &mut self.sessions.store.tag_mut(session).home;
        match std::mem::take(home) {
            Home::Lost(worker) => Some(worker),
            other => {
                *home = other;
                None
            }
        }
    }

    /// Panics if the parts contradict each other.
    #[cfg(test)]
    pub(super) fn check_sessions(&self) {
        let store = &self.sessions.store;
        for key in store.keys() {
            let listed: Vec<u64> = self
                .members
                .iter()
                .filter_map(|(member, m)| m.sessions.contains(&key).then_some(*member))
                .collect();
            let home = store.tag(key).home.member();
            assert_eq!(listed, home.into_iter().collect::<Vec<_>>(), "home and lists disagree");
            let in_flight = self.calls.values().filter(|r| r.spot.flow == Some(key)).count();
            let ended = store.id(key);
            assert_eq!(store.info(ended, self.checked_at()).unwrap().in_flight, in_flight);
        }
        for (key, member) in &self.members {
            assert!(member.open || member.sessions.is_empty(), "a home that takes no calls");
            let all_live = member.sessions.iter().all(|key| store.keys().any(|live| live == *key));
            assert!(all_live, "a home of a session that is over");
            let waits = self.queue.first_for(*key).is_some();
            assert!(!waits || member.open, "calls wait for a member that takes none");
            assert!(!waits || !self.has_free_slot(*key), "calls wait beside a free slot");
        }
        for record in self.calls.values() {
            let Some(session) = record.spot.flow else { continue };
            if let (super::state::Stage::Queued, Some(member)) = (&record.stage, record.spot.member)
            {
                assert_eq!(store.tag(session).home, Home::Bound(member), "in the wrong line");
            }
        }
    }

    #[cfg(test)]
    fn checked_at(&self) -> tokio::time::Instant {
        tokio::time::Instant::from_std(std::time::Instant::now())
    }
}

impl Turn<'_> {
    /// Finds the session of a request, and refuses what is clear already: a strict call whose worker
    /// is gone, or one that will not wait for it.
    pub(super) fn open_session(
        &mut self,
        request: &Request,
        affinity: Affinity,
    ) -> Result<Option<SessionKey>, Error> {
        let Some(id) = &request.session else { return Ok(None) };
        let opened = self.state.sessions.store.open(id, self.now)?;
        let session = opened.key;
        if opened.crowded {
            self.note_crowded();
        }
        // Whoever names a worker means that one.
        if affinity.is_strict() && request.worker.is_none() {
            if let Some(worker) = self.state.tell_loss(session) {
                return Err(unavailable(id, &worker));
            }
            let home = self.state.sessions.store.tag(session).home.member();
            if let Some(home) = home.filter(|home| !self.state.has_free_slot(*home))
                && affinity == Affinity::StrictFailFast
            {
                return Err(self.busy(id, home));
            }
        }
        Ok(Some(session))
    }

    pub(super) fn note_crowded(&mut self) {
        let sessions = self.state.sessions.store.len();
        self.tell_of_sessions(SessionNews::Crowded { sessions });
    }

    /// Where a call can go now: to its session's worker, to a free slot, or ahead of time.
    pub(super) fn slot_for(&mut self, call: CallId) -> Option<(u64, Option<Lease>)> {
        if !self.state.sessions.store.is_empty() {
            if let Some(held_to) = self.state.held_to(call) {
                return self.slot_at(held_to);
            }
            if self.state.has_lost_home(call) {
                return None;
            }
            let own = self.preferred(call).or_else(|| self.roomiest(call));
            let own = own.and_then(|member| self.slot_at(member));
            if own.is_some() {
                return own;
            }
        }
        if self.state.taints.is_empty() { self.any_slot(call) } else { self.untainted_slot(call) }
    }

    /// The member where a call of a session should run, if it has been at one that may have it.
    fn preferred(&self, call: CallId) -> Option<u64> {
        let record = self.state.calls.get(&call)?;
        let home = self.state.sessions.store.tag(record.spot.flow?).home.member()?;
        let member = self.state.members.get(&home)?;
        let command = &record.call.request.command;
        (!self.state.taints.are_between(command, member)).then_some(home)
    }

    /// For a call of a session without a home: the member with a free slot that is home to the fewest
    /// sessions for its size. By load alone one member would get them all while little is going on.
    fn roomiest(&self, call: CallId) -> Option<u64> {
        if self.options().strategy == Strategy::Fill {
            // Sessions fill one worker after the other, too.
            return None;
        }
        let record = self.state.calls.get(&call)?;
        let ties = self.state.sessions.store.tag(record.spot.flow?);
        if ties.home.member().is_some() {
            return None;
        }
        let command = &record.call.request.command;
        // Looks at all of them, but only for a session's first call.
        let free = self.state.ready.iter().filter_map(|(rank, key)| {
            let member = &self.state.members[key];
            let slots = member.worker.slots();
            let takes =
                slots.load() < slots.capacity() && !self.state.taints.are_between(command, member);
            takes.then(|| (member.sessions.len() / slots.capacity().max(1), *rank, *key))
        });
        free.min().map(|(_, _, key)| key)
    }

    fn slot_at(&self, key: u64) -> Option<(u64, Option<Lease>)> {
        let member = self.state.members.get(&key)?;
        let lease = Lease::acquire(member.worker.slots())?;
        Some((key, Some(lease)))
    }

    /// Puts a call in its place in line: that of the member it is held to, or of all.
    pub(super) fn line_up(&mut self, call: CallId) {
        let state = &mut *self.state;
        let held = !state.sessions.store.is_empty();
        let member = if held { state.held_to(call) } else { None };
        if let Some(record) = state.calls.get_mut(&call) {
            record.spot.member = member;
            state.queue.put(record.spot, call);
        }
    }

    /// The first call that waits for a member with a free slot. Only a member that had a slot freed
    /// in this turn can be one.
    pub(super) fn first_bound(&mut self) -> Option<(Place, CallId)> {
        if self.freed.is_empty() || !self.state.queue.has_bound() {
            return None;
        }
        let first = |member: &u64| {
            self.state.queue.first_for(*member).filter(|_| self.state.has_free_slot(*member))
        };
        self.freed.iter().filter_map(first).min()
    }

    /// Deals with a call that stood in the line of all while its session got a home, or lost it: it
    /// moves to the line of that member, or ends. `false` if it is where it should be.
    pub(super) fn redirect(&mut self, call: CallId) -> bool {
        if self.state.sessions.store.is_empty() {
            return false;
        }
        let Some(record) = self.state.calls.get(&call) else { return false };
        let Some(session) = record.held_session() else {
            return false;
        };
        let affinity = record.affinity;
        if let Some(worker) = self.state.tell_loss(session) {
            self.end_queued(call, |id| unavailable(id, &worker));
            return true;
        }
        let Some(home) = self.state.held_to(call) else { return false };
        if self.state.has_free_slot(home) {
            return false;
        }
        if affinity == Affinity::StrictFailFast {
            let error = self.busy(self.state.sessions.store.id(session), home);
            self.end_queued(call, |_| error);
        } else {
            let state = &mut *self.state;
            if let Some(record) = state.calls.get_mut(&call) {
                state.queue.remove(record.spot);
                record.spot.member = Some(home);
                state.queue.put(record.spot, call);
                self.note_nested(call);
            }
        }
        true
    }

    /// A strict call came back from a member without having started. If that takes no more calls it
    /// cannot go on, and its caller is told.
    pub(super) fn stranded(&mut self, record: &Record, member: u64) -> Option<Error> {
        let session = record.held_session()?;
        if self.state.members.get(&member).is_some_and(|member| member.open) {
            return None;
        }
        let id = record.call.request.session.clone()?;
        let worker = self.state.members.get(&member).map(|member| member.id().clone());
        self.state.tell_loss(session);
        Some(unavailable(&id, &worker.unwrap_or_else(|| WorkerId::from("?"))))
    }

    /// Stops handing calls to a member. Its sessions move to others; those that are bound to it are
    /// told: their calls in line now, or else their next one.
    pub(super) fn shut(&mut self, key: u64) {
        let state = &mut *self.state;
        state.shut_member(key);
        // A call may have waited for this one.
        self.check_nesting();
        let state = &mut *self.state;
        let Some(member) = state.members.get_mut(&key).filter(|m| !m.sessions.is_empty()) else {
            return;
        };
        let (worker, sessions) = (member.id().clone(), std::mem::take(&mut member.sessions));
        let (mut moved, mut lost) = (0, 0);
        for session in &sessions {
            let home = &mut state.sessions.store.tag_mut(*session).home;
            if *home == Home::Bound(key) {
                lost += 1;
                *home = Home::Lost(worker.clone());
            } else {
                moved += 1;
                *home = Home::None;
            }
        }
        state.sessions.moved += moved;
        state.sessions.lost += lost;
        let waits = |session: &SessionKey| state.queue.has_flow(*session);
        if lost > 0 && sessions.iter().any(waits) {
            self.tell_line(&worker, |session| sessions.contains(&session));
        }
        if !self.state.closed {
            self.tell_of_sessions(SessionNews::WorkerGone { worker, moved, lost });
        }
    }

    /// Ends the strict calls in line of sessions that have lost their worker.
    fn tell_line(&mut self, worker: &WorkerId, is_one: impl Fn(SessionKey) -> bool) {
        let state = &*self.state;
        let is_lost = |call: &CallId| {
            let record = &state.calls[call];
            record.affinity.is_strict()
                && record.spot.flow.is_some_and(|session| {
                    is_one(session)
                        && matches!(state.sessions.store.tag(session).home, Home::Lost(_))
                })
        };
        let lost: Vec<CallId> = state.queue.calls().filter(is_lost).collect();
        for call in lost {
            if let Some(session) = self.state.calls.get(&call).and_then(|r| r.spot.flow) {
                self.state.tell_loss(session);
            }
            self.end_queued(call, |id| unavailable(id, worker));
        }
    }

    /// Ends a call in line with an error about its session.
    fn end_queued(&mut self, call: CallId, error: impl FnOnce(&SessionId) -> Error) {
        let unnamed = SessionId::from("");
        self.fail_call(call, |request| error(request.session.as_ref().unwrap_or(&unnamed)));
    }

    /// Ends a session: its calls in line are cancelled, those that run go on; `false` if there is
    /// none of that id.
    pub(super) fn end_session(&mut self, id: &SessionId) -> bool {
        let Some(session) = self.state.sessions.store.find(id) else { return false };
        if self.state.queue.has_flow(session) {
            let of_session = |call: &CallId| self.state.calls[call].spot.flow == Some(session);
            let waiting: Vec<CallId> = self.state.queue.calls().filter(of_session).collect();
            for call in waiting {
                self.end_queued(call, over);
            }
        }
        let ties = self.state.sessions.store.end(id);
        self.untie(id, session, ties.unwrap_or_default());
        true
    }

    /// Ends sessions that nobody has used for their time.
    pub(super) fn expire_sessions(&mut self) {
        let mut expired = 0;
        while expired < EXPIRED_AT_A_TIME
            && let Some((id, session, ties)) = self.state.sessions.store.expire(self.now)
        {
            self.untie(&id, session, ties);
            expired += 1;
        }
        if expired > 0 {
            self.tell_of_sessions(SessionNews::Expired { sessions: expired });
        }
    }

    /// Tells every member that had calls of a session that it is over.
    fn untie(&mut self, id: &SessionId, session: SessionKey, ties: Ties) {
        self.state.list_home(session, ties.home.member(), false);
        for key in ties.members {
            if let Some(member) = self.state.members.get(&key) {
                let worker = Arc::clone(&member.worker);
                worker.end_session(id);
                self.flush(&worker);
            }
        }
    }

    fn busy(&self, id: &SessionId, home: u64) -> Error {
        let worker = self.state.members.get(&home).map_or("?", |member| member.id().as_str());
        let message = format!("worker `{worker}` of session `{id}` has no free slot");
        Error::new(ErrorKind::WorkerBusy, message)
            .with_detail("worker", worker)
            .with_detail("session", id.as_str())
            .with_help("call it later, or let it wait with affinity `strict_queue`")
    }
}

impl SessionNews {
    /// Tells it as an event. No lock may be held.
    pub(super) fn tell(&self, pool: &PoolName, quota: usize) {
        match self {
            Self::Crowded { sessions } => tracing::warn!(
                name: "session.quota_near",
                target: "snakepit::session",
                %pool,
                sessions,
                quota,
                "four fifths of the sessions there may be are in use; more than `session.quota` are refused"
            ),
            Self::Expired { sessions } => tracing::debug!(
                name: "session.expired",
                target: "snakepit::session",
                %pool,
                sessions,
                "sessions ended because nobody used them"
            ),
            Self::WorkerGone { worker, moved, lost } if *lost > 0 => tracing::warn!(
                name: "session.worker_gone",
                target: "snakepit::session",
                %pool,
                worker_id = %worker,
                moved,
                lost,
                "the worker of sessions takes no more calls; those bound to it are told"
            ),
            Self::WorkerGone { worker, moved, lost } => tracing::debug!(
                name: "session.worker_gone",
                target: "snakepit::session",
                %pool,
                worker_id = %worker,
                moved,
                lost,
                "the worker of sessions takes no more calls; they move to others"
            ),
        }
    }
}

/// The error of a strict call whose worker is gone.
fn unavailable(session: &SessionId, worker: &WorkerId) -> Error {
    let message = format!("worker `{worker}` of session `{session}` takes no more calls");
    Error::new(ErrorKind::SessionWorkerUnavailable, message)
        .with_detail("session", session.as_str())
        .with_detail("worker", worker.as_str())
        .with_help(
            "what it kept for the session is gone with it: build that anew with the next call, \
             which binds the session to another worker",
        )
}

/// The error of a call in line whose session was ended.
fn over(session: &SessionId) -> Error {
    let message = format!("session `{session}` was ended before the call started");
    Error::new(ErrorKind::Cancelled, message).with_detail("session", session.as_str())
}
