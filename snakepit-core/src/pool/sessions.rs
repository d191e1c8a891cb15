//! What a program may ask of a pool's sessions. How calls hold to workers is in `affinity.rs`.

use super::Pool;
use super::turn::Turn;
use crate::error::Error;
use crate::ids::SessionId;
use crate::payload::Payload;
use crate::session::SessionInfo;

impl Pool {
    /// Ends a session: its values are gone, its workers drop what tools keep for it, its calls in
    /// line end with `Cancelled`. Calls that run go on. A call that comes later under this id begins
    /// another session. `false` if there was none.
    pub fn end_session(&self, id: &SessionId) -> bool {
        let mut turn = Turn::new(&self.0);
        let ended = turn.end_session(id);
        turn.pump();
        turn.end();
        ended
    }

    /// Keeps a value for a session, under a name, until the session ends; in place of the one that
    /// is there. The session begins with it if need be.
    ///
    /// # Errors
    /// `SessionQuotaExceeded` for one session too many, or when the values of all sessions together
    /// would take more than they may; `InvalidArguments` for an id that cannot be.
    pub fn put_session_value(
        &self,
        id: &SessionId,
        name: &str,
        value: Payload,
    ) -> Result<(), Error> {
        let mut turn = Turn::new(&self.0);
        let now = turn.now;
        let put = turn.state.sessions.store.put(id, name, value, now);
        if put.as_ref().is_ok_and(|opened| opened.crowded) {
            turn.note_crowded();
        }
        turn.end();
        put.map(|_| ())
    }

    /// The value of a session under a name.
    pub fn session_value(&self, id: &SessionId, name: &str) -> Option<Payload> {
        let now = self.0.clock.now();
        self.0.lock().sessions.store.value(id, name, now)
    }

    /// Takes the value of a session under a name away.
    pub fn take_session_value(&self, id: &SessionId, name: &str) -> Option<Payload> {
        let now = self.0.clock.now();
        self.0.lock().sessions.store.take(id, name, now)
    }

    /// What is known of a session; looking does not count as use.
    pub fn session(&self, id: &SessionId) -> Option<SessionInfo> {
        let now = self.0.clock.now();
        self.0.lock().session_info(id, now)
    }

    /// What is known of every session, in the order of their ids.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let now = self.0.clock.now();
        let state = self.0.lock();
        let store = &state.sessions.store;
        let known = store.keys().filter_map(|key| state.session_info(store.id(key), now));
        let mut sessions: Vec<SessionInfo> = known.collect();
        drop(state);
        sessions.sort_by(|a, b| a.id.cmp(&b.id));
        sessions
    }
}
