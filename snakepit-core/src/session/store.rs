//! The sessions there are: how many, how long unused, and what their callers keep in them.
//!
//! Plain data without a lock or a clock: whoever holds it says what time it is. Knows no worker; a
//! `T` for each session is its holder's. Invariants: a session with a call under way does not
//! expire; one that has ended is not found any more, and its calls are still counted; the values of
//! all sessions together never take more than they may.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use slab::Slab;
use tokio::time::Instant;

use super::{SessionInfo, SessionOptions, SessionStats};
use crate::error::{Error, ErrorKind};
use crate::ids::SessionId;
use crate::payload::Payload;

/// The longest id. It travels with each call.
const MAX_ID_BYTES: usize = 256;

/// What a value takes beside its name and its bytes, so that empty ones do not come for nothing.
const VALUE_BYTES: u64 = 64;

/// Sessions by their ids.
///
/// # Examples
/// ```
/// use snakepit_core::session::{SessionOptions, SessionStore};
/// use snakepit_core::{Codec, Payload, SessionId};
/// use tokio::time::{Duration, Instant};
///
/// # fn main() -> Result<(), snakepit_core::Error> {
/// let mut store = SessionStore::<()>::new(SessionOptions::new());
/// let (ada, now) = (SessionId::from("ada"), Instant::now());
/// store.put(&ada, "model", Payload::encode(Codec::MsgPack, "small")?, now)?;
/// let model: String = store.value(&ada, "model", now).expect("it was put there").decode()?;
/// assert_eq!(model, "small");
/// // Unused for an hour, a session is over.
/// let later = now + Duration::from_secs(3600);
/// assert_eq!(store.expire(later).map(|(id, ..)| id), Some(ada));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SessionStore<T = ()> {
    options: SessionOptions,
    ids: FxHashMap<SessionId, SessionKey>,
    entries: Slab<Entry<T>>,
    /// When to look whether a session is still used, no later than it expires.
    due: BTreeSet<(Instant, SessionKey)>,
    data_bytes: u64,
    /// Whether it was said that there are many.
    crowded: bool,
    counts: Counts,
}

/// Where a session is in its store: good for as long as a call of it is counted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(usize);

/// A session that was found or begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// Where it is.
    pub key: SessionKey,
    /// Whether with this one four fifths of the quota are used up; said once, and again only after
    /// they were far fewer.
    pub crowded: bool,
}

#[derive(Debug)]
struct Entry<T> {
    id: SessionId,
    begun: Instant,
    used: Instant,
    /// The instant under which it is in `due`.
    due: Option<Instant>,
    calls: u64,
    in_flight: usize,
    ended: bool,
    values: BTreeMap<String, Payload>,
    data_bytes: u64,
    tag: T,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    begun: u64,
    ended: u64,
    expired: u64,
    refused: u64,
}

impl<T: Default> SessionStore<T> {
    /// Makes an empty store.
    pub fn new(options: SessionOptions) -> Self {
        Self {
            options,
            ids: FxHashMap::default(),
            entries: Slab::new(),
            due: BTreeSet::new(),
            data_bytes: 0,
            crowded: false,
            counts: Counts::default(),
        }
    }

    /// Its limits.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Changes its limits. Sessions that are there already last for the new time from their last use;
    /// none ends because there are too many of them now.
    pub fn set_options(&mut self, options: SessionOptions) {
        if self.options.ttl != options.ttl {
            self.due.clear();
            for (index, entry) in &mut self.entries {
                let ttl = options.ttl.filter(|_| !entry.ended);
                entry.due = ttl.map(|ttl| entry.used + ttl);
                self.due.extend(entry.due.map(|due| (due, SessionKey(index))));
            }
        }
        self.options = options;
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no session, and no call of one that has ended.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Finds a session or begins it, and notes that it is used.
    ///
    /// # Errors
    /// `SessionQuotaExceeded` for one too many; `InvalidArguments` for an id that is empty or longer
    /// than 256 bytes.
    pub fn open(&mut self, id: &SessionId, now: Instant) -> Result<Opened, Error> {
        if let Some(key) = self.ids.get(id) {
            self.entries[key.0].used = now;
            return Ok(Opened { key: *key, crowded: false });
        }
        self.begin(id, now)
    }

    fn begin(&mut self, id: &SessionId, now: Instant) -> Result<Opened, Error> {
        if !(1..=MAX_ID_BYTES).contains(&id.as_str().len()) {
            let message = format!("the id of a session has 1 to {MAX_ID_BYTES} bytes");
            return Err(Error::new(ErrorKind::InvalidArguments, message));
        }
        let quota = self.options.quota;
        if self.ids.len() >= quota {
            self.counts.refused += 1;
            return Err(too_many(quota));
        }
        self.counts.begun += 1;
        let due = self.options.ttl.map(|ttl| now + ttl);
        let key = SessionKey(self.entries.insert(Entry {
            id: id.clone(),
            begun: now,
            used: now,
            due,
            calls: 0,
            in_flight: 0,
            ended: false,
            values: BTreeMap::new(),
            data_bytes: 0,
            tag: T::default(),
        }));
        self.ids.insert(id.clone(), key);
        self.due.extend(due.map(|due| (due, key)));
        let crowded = !self.crowded && self.ids.len() * 5 >= quota * 4;
        self.crowded |= crowded;
        Ok(Opened { key, crowded })
    }

    /// The session of that id; it does not count as used.
    pub fn find(&self, id: &SessionId) -> Option<SessionKey> {
        self.ids.get(id).copied()
    }

    /// Whether it is over, and there only because calls of it are.
    pub fn is_ended(&self, key: SessionKey) -> bool {
        self.entries[key.0].ended
    }

    /// What the holder keeps for a session.
    pub fn tag(&self, key: SessionKey) -> &T {
        &self.entries[key.0].tag
    }

    /// What the holder keeps for a session, to change it.
    pub fn tag_mut(&mut self, key: SessionKey) -> &mut T {
        &mut self.entries[key.0].tag
    }

    /// The id of a session.
    pub fn id(&self, key: SessionKey) -> &SessionId {
        &self.entries[key.0].id
    }

    /// A call of the session is under way.
    pub fn enter(&mut self, key: SessionKey) {
        let entry = &mut self.entries[key.0];
        entry.calls += 1;
        entry.in_flight += 1;
    }

    /// A call of the session is over.
    pub fn leave(&mut self, key: SessionKey, now: Instant) {
        let entry = &mut self.entries[key.0];
        entry.in_flight -= 1;
        entry.used = now;
        if entry.ended && entry.in_flight == 0 {
            self.entries.remove(key.0);
        }
    }

    /// Ends a session; gives what its holder kept for it. Calls under way are counted on; the id is
    /// free for another session.
    pub fn end(&mut self, id: &SessionId) -> Option<T> {
        let key = self.ids.get(id).copied()?;
        self.counts.ended += 1;
        Some(self.forget(key).1)
    }

    /// Ends one session that has not been used for its time, if there is one.
    pub fn expire(&mut self, now: Instant) -> Option<(SessionId, SessionKey, T)> {
        let ttl = self.options.ttl?;
        while let Some((due, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            let entry = &mut self.entries[key.0];
            // It is looked at once in its time, and not with each use.
            let next = if entry.in_flight > 0 { now + ttl } else { entry.used + ttl };
            if next <= now {
                self.counts.expired += 1;
                let (id, tag) = self.forget(key);
                return Some((id, key, tag));
            }
            entry.due = Some(next);
            self.due.remove(&(due, key));
            self.due.insert((next, key));
        }
        None
    }

    /// When [`expire`](Self::expire) has to look next.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn forget(&mut self, key: SessionKey) -> (SessionId, T) {
        let entry = &mut self.entries[key.0];
        if let Some(due) = entry.due.take() {
            self.due.remove(&(due, key));
        }
        entry.ended = true;
        entry.values.clear();
        self.data_bytes -= std::mem::take(&mut entry.data_bytes);
        let (id, tag) = (entry.id.clone(), std::mem::take(&mut entry.tag));
        let over = entry.in_flight == 0;
        self.ids.remove(&id);
        if over {
            self.entries.remove(key.0);
        }
        // A tenth below, so that one session more or less is not said again and again.
        if self.ids.len() * 10 < self.options.quota * 7 {
            self.crowded = false;
        }
        (id, tag)
    }

    /// Puts a value under a name, in a session that begins with it if need be.
    ///
    /// # Errors
    /// As [`open`](Self::open), and `SessionQuotaExceeded` when the values of all sessions together
    /// would take more than they may.
    pub fn put(
        &mut self,
        id: &SessionId,
        name: &str,
        value: Payload,
        now: Instant,
    ) -> Result<Opened, Error> {
        let bytes = size(name, &value);
        let held = self.find(id).map_or(0, |key| self.entries[key.0].size_of(name));
        let limit = self.options.max_data_bytes;
        if self.data_bytes - held + bytes > limit {
            return Err(too_much(name, bytes, limit));
        }
        let opened = self.open(id, now)?;
        let entry = &mut self.entries[opened.key.0];
        entry.values.insert(name.to_owned(), value);
        entry.data_bytes = entry.data_bytes - held + bytes;
        self.data_bytes = self.data_bytes - held + bytes;
        Ok(opened)
    }

    /// The value under a name; looking counts as use.
    pub fn value(&mut self, id: &SessionId, name: &str, now: Instant) -> Option<Payload> {
        let key = self.find(id)?;
        let entry = &mut self.entries[key.0];
        entry.used = now;
        entry.values.get(name).cloned()
    }

    /// Takes the value under a name away.
    pub fn take(&mut self, id: &SessionId, name: &str, now: Instant) -> Option<Payload> {
        let key = self.find(id)?;
        let entry = &mut self.entries[key.0];
        entry.used = now;
        let value = entry.values.remove(name)?;
        let bytes = size(name, &value);
        entry.data_bytes -= bytes;
        self.data_bytes -= bytes;
        Some(value)
    }

    /// What is known of a session. Its worker is its holder's business.
    pub fn info(&self, id: &SessionId, now: Instant) -> Option<SessionInfo> {
        self.find(id).map(|key| self.entries[key.0].info(now))
    }

    /// Where all sessions are, in no order.
    pub fn keys(&self) -> impl Iterator<Item = SessionKey> {
        self.ids.values().copied()
    }

    /// The sessions there are and the sums so far.
    pub fn stats(&self) -> SessionStats {
        let Counts { begun, ended, expired, refused } = self.counts;
        SessionStats {
            active: self.ids.len(),
            data_bytes: self.data_bytes,
            begun,
            ended,
            expired,
            refused,
            ..SessionStats::default()
        }
    }
}

impl<T> Entry<T> {
    fn size_of(&self, name: &str) -> u64 {
        self.values.get(name).map_or(0, |value| size(name, value))
    }

    fn info(&self, now: Instant) -> SessionInfo {
        let idle = now.saturating_duration_since(self.used);
        SessionInfo {
            id: self.id.clone(),
            worker: None,
            strict: false,
            age: now.saturating_duration_since(self.begun),
            idle: if self.in_flight > 0 { std::time::Duration::ZERO } else { idle },
            calls: self.calls,
            in_flight: self.in_flight,
            keys: self.values.keys().cloned().collect(),
            data_bytes: self.data_bytes,
        }
    }
}

fn size(name: &str, value: &Payload) -> u64 {
    name.len() as u64 + value.len() as u64 + VALUE_BYTES
}

fn too_many(quota: usize) -> Error {
    Error::new(
        ErrorKind::SessionQuotaExceeded,
        format!("there are {quota} sessions, as many as there may be"),
    )
    .with_help("end sessions that are over, or raise `session.quota` of the pool")
    .with_detail("quota", quota.to_string())
}

fn too_much(name: &str, bytes: u64, limit: u64) -> Error {
    let message = format!(
        "the {bytes} bytes of `{name}` do not fit: the values of all sessions may take {limit}"
    );
    Error::new(ErrorKind::SessionQuotaExceeded, message)
        .with_help("end sessions that are over, or raise `session.max_data` of the pool")
        .with_detail("limit_bytes", limit.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::payload::Codec;

    const TTL: Duration = Duration::from_secs(60);

    fn store(quota: usize) -> SessionStore<u8> {
        SessionStore::new(SessionOptions { ttl: Some(TTL), quota, max_data_bytes: 1000 })
    }

    fn id(n: usize) -> SessionId {
        SessionId::new(format!("s{n}"))
    }

    fn bytes(n: usize) -> Payload {
        Payload::from_bytes(Codec::Raw, vec![0; n])
    }

    #[test]
    fn one_session_too_many_is_refused_and_four_fifths_are_told_of_once() {
        let (mut store, now) = (store(10), Instant::now());
        let told: Vec<bool> = (0..10).map(|n| store.open(&id(n), now).unwrap().crowded).collect();
        assert_eq!(told.iter().position(|told| *told), Some(7));
        assert_eq!(told.iter().filter(|told| **told).count(), 1);
        let refused = store.open(&id(10), now).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::SessionQuotaExceeded);
        assert!(store.open(&id(3), now).is_ok(), "one that is there may be used");
        assert!(store.end(&id(0)).is_some());
        assert!(!store.open(&id(10), now).unwrap().crowded, "it is known already");
        assert!((1..5).all(|n| store.end(&id(n)).is_some()));
        let again: Vec<bool> = (20..24).map(|n| store.open(&id(n), now).unwrap().crowded).collect();
        assert_eq!(again, [false, true, false, false]);
        let stats = store.stats();
        assert_eq!((stats.active, stats.begun, stats.ended, stats.refused), (10, 15, 5, 1));
    }

    #[test]
    fn a_call_under_way_keeps_its_session_and_its_end_begins_the_wait() {
        let (mut store, start) = (store(10), Instant::now());
        let key = store.open(&id(0), start).unwrap().key;
        store.enter(key);
        assert_eq!(store.expire(start + TTL * 5), None, "a call is under way");
        store.leave(key, start + TTL * 5);
        assert_eq!(store.expire(start + TTL * 6 - Duration::from_millis(1)), None);
        assert!(store.next_expiry().unwrap() <= start + TTL * 6);
        assert_eq!(store.expire(start + TTL * 6).map(|(id, ..)| id), Some(id(0)));
        assert!(store.is_empty());
    }

    #[test]
    fn a_session_that_ended_leaves_its_id_to_another_while_its_calls_are_counted() {
        let (mut store, now) = (store(10), Instant::now());
        let old = store.open(&id(0), now).unwrap().key;
        *store.tag_mut(old) = 7;
        store.enter(old);
        store.put(&id(0), "name", bytes(10), now).unwrap();
        assert_eq!(store.end(&id(0)), Some(7));
        assert_eq!(store.end(&id(0)), None);
        let new = store.open(&id(0), now).unwrap().key;
        assert_ne!(old, new);
        assert_eq!(store.value(&id(0), "name", now).map(|_| ()), None, "values end with it");
        store.leave(old, now);
        assert_eq!(store.info(&id(0), now).unwrap().in_flight, 0);
        assert_eq!(store.stats().data_bytes, 0);
    }

    #[test]
    fn values_of_all_sessions_share_one_limit_and_a_new_value_replaces_the_old() {
        let (mut store, now) = (store(10), Instant::now());
        store.put(&id(0), "a", bytes(400), now).unwrap();
        let refused = store.put(&id(1), "a", bytes(600), now).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::SessionQuotaExceeded);
        assert!(store.find(&id(1)).is_none(), "what is refused begins no session");
        store.put(&id(0), "a", bytes(900), now).unwrap();
        assert_eq!(store.take(&id(0), "a", now).unwrap().len(), 900);
        assert_eq!(store.stats().data_bytes, 0);
    }

    #[test]
    fn an_id_that_cannot_travel_is_refused() {
        let (mut store, now) = (store(10), Instant::now());
        for id in [String::new(), "x".repeat(257)] {
            let refused = store.open(&SessionId::from(id), now).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArguments);
        }
    }

    proptest! {
        /// Beside a plain model: whatever comes, a session is there exactly until it was unused for
        /// its time or ended, and the sums agree.
        #[test]
        fn it_agrees_with_a_plain_model(steps in prop::collection::vec((0_u8..6, 0_usize..4, 0_u64..40), 1..120)) {
            #[derive(Default)]
            struct Plain { used: u64, calls: Vec<SessionKey> }
            let start = Instant::now();
            let mut store = store(3);
            let mut model = BTreeMap::<usize, Plain>::new();
            let mut orphans = Vec::new();
            let mut now = 0;
            for (action, n, seconds) in steps {
                let at = start + Duration::from_secs(now);
                match action {
                    0 | 1 => {
                        let room = model.len() < 3 || model.contains_key(&n);
                        let opened = store.open(&id(n), at);
                        prop_assert_eq!(opened.is_ok(), room);
                        if let Ok(opened) = opened {
                            let plain = model.entry(n).or_default();
                            plain.used = now;
                            if action == 1 {
                                store.enter(opened.key);
                                plain.calls.push(opened.key);
                            }
                        }
                    }
                    2 => if let Some(plain) = model.get_mut(&n) && let Some(key) = plain.calls.pop() {
                        store.leave(key, at);
                        plain.used = now;
                    },
                    3 => {
                        let plain = model.remove(&n);
                        prop_assert_eq!(store.end(&id(n)).is_some(), plain.is_some());
                        orphans.extend(plain.into_iter().flat_map(|plain| plain.calls));
                    }
                    4 => if let Some(key) = orphans.pop() { store.leave(key, at) },
                    _ => now += seconds,
                }
                let at = start + Duration::from_secs(now);
                let mut gone = Vec::new();
                while let Some((id, ..)) = store.expire(at) {
                    gone.push(id);
                }
                let is_over = |plain: &Plain| plain.calls.is_empty() && plain.used + TTL.as_secs() <= now;
                let mut over: Vec<SessionId> = Vec::new();
                model.retain(|n, plain| { let gone = is_over(plain); if gone { over.push(id(*n)) } !gone });
                gone.sort();
                prop_assert_eq!(gone, over);
                prop_assert!(store.next_expiry().is_none_or(|next| next > at));
                prop_assert_eq!(store.len(), model.len());
                let stats = store.stats();
                prop_assert_eq!(stats.begun, stats.ended + stats.expired + model.len() as u64);
            }
        }
    }
}
