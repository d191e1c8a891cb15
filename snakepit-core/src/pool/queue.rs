//! The waiting line: calls in the order in which they may start, fair between sessions.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996) with equal weights and unit cost: a call's tag
//! is one more than its session's previous tag, or the tag of the call that left last if that is
//! later. A session with a thousand calls and one with a single call take turns. Calls without a
//! session are one flow. Invariant: a place is unique, so a call that is put back stands where it
//! stood before.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::ids::{CallId, SessionId};

/// Where a call stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    tag: u64,
    arrival: u64,
}

#[derive(Debug, Default)]
pub(super) struct FairQueue {
    line: BTreeMap<Place, CallId>,
    flows: FxHashMap<Option<SessionId>, Flow>,
    /// Tag of the call that left the line last.
    virtual_time: u64,
    arrivals: u64,
}

#[derive(Debug)]
struct Flow {
    last_tag: u64,
    waiting: usize,
}

impl FairQueue {
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) fn first(&self) -> Option<CallId> {
        self.line.first_key_value().map(|(_, call)| *call)
    }

    /// The calls in the order in which they may start.
    pub(super) fn iter(&self) -> impl Iterator<Item = CallId> {
        self.line.values().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// The place behind its session's others, for a call that arrives now. It is taken by
    /// [`put`](Self::put), unless the line is empty and the call can start at once.
    pub(super) fn next_place(&mut self, session: Option<&SessionId>) -> Place {
        self.arrivals += 1;
        let tag = match self.flows.get(&session.cloned()) {
            Some(flow) => self.virtual_time.max(flow.last_tag + 1),
            None => self.virtual_time,
        };
        Place { tag, arrival: self.arrivals }
    }

    /// Puts a call in its place, where it may have stood before.
    pub(super) fn put(&mut self, place: Place, session: Option<&SessionId>, call: CallId) {
        let flow =
            self.flows.entry(session.cloned()).or_insert(Flow { last_tag: place.tag, waiting: 0 });
        flow.last_tag = flow.last_tag.max(place.tag);
        flow.waiting += 1;
        let earlier = self.line.insert(place, call);
        debug_assert!(earlier.is_none(), "two calls in one place");
    }

    /// Takes a call out of the line because it starts.
    pub(super) fn start(&mut self, place: Place, session: Option<&SessionId>) {
        if self.remove(place, session) {
            self.virtual_time = self.virtual_time.max(place.tag);
        }
    }

    /// Takes a call out of the line because it will not start.
    pub(super) fn remove(&mut self, place: Place, session: Option<&SessionId>) -> bool {
        if self.line.remove(&place).is_none() {
            return false;
        }
        let key = session.cloned();
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.waiting -= 1;
            if flow.waiting == 0 {
                self.flows.remove(&key);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u64) -> CallId {
        CallId::new(n).unwrap()
    }

    fn push(queue: &mut FairQueue, session: Option<&SessionId>, call: CallId) -> Place {
        let place = queue.next_place(session);
        queue.put(place, session, call);
        place
    }

    fn drain(
        queue: &mut FairQueue,
        places: &FxHashMap<CallId, (Place, Option<SessionId>)>,
    ) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some(call) = queue.first() {
            let (place, session) = &places[&call];
            queue.start(*place, session.as_ref());
            order.push(call.get());
        }
        order
    }

    #[test]
    fn sessions_take_turns_however_much_one_of_them_asks() {
        let (greedy, modest) = (SessionId::from("greedy"), SessionId::from("modest"));
        let mut queue = FairQueue::default();
        let mut places = FxHashMap::default();
        for n in 1..=4 {
            places.insert(id(n), (push(&mut queue, Some(&greedy), id(n)), Some(greedy.clone())));
        }
        for n in 5..=6 {
            places.insert(id(n), (push(&mut queue, Some(&modest), id(n)), Some(modest.clone())));
        }
        assert_eq!(drain(&mut queue, &places), [1, 5, 2, 6, 3, 4]);
        assert!(queue.flows.is_empty(), "nothing is kept for sessions that wait no more");
    }

    proptest! {
        /// Any mix of arrivals, starts, put-backs and removals keeps each session's calls in their
        /// order of arrival, loses none and keeps no flow without calls.
        #[test]
        fn order_within_a_session_survives_everything(steps in prop::collection::vec((0_u8..4, 0_usize..3), 1..200)) {
            let sessions = [None, Some(SessionId::from("a")), Some(SessionId::from("b"))];
            let mut queue = FairQueue::default();
            let mut places = FxHashMap::default();
            let mut expected: [Vec<u64>; 3] = Default::default();
            let mut next = 0;
            for (action, s) in steps {
                let session = &sessions[s];
                match action {
                    0 | 1 => {
                        next += 1;
                        places.insert(id(next), (push(&mut queue, session.as_ref(), id(next)), session.clone()));
                        expected[s].push(next);
                    }
                    2 => {
                        // Start the first and take it back, as a revoked prefetch does.
                        if let Some(call) = queue.first() {
                            let (place, session) = &places[&call];
                            queue.start(*place, session.as_ref());
                            queue.put(*place, session.as_ref(), call);
                        }
                    }
                    _ => {
                        if let Some(gone) = expected[s].pop() {
                            let (place, session) = &places[&id(gone)];
                            prop_assert!(queue.remove(*place, session.as_ref()));
                        }
                    }
                }
            }
            let order = drain(&mut queue, &places);
            prop_assert_eq!(order.len(), expected.iter().map(Vec::len).sum::<usize>());
            for (session, calls) in sessions.iter().zip(&expected) {
                let seen: Vec<u64> =
                    order.iter().copied().filter(|n| &places[&id(*n)].1 == session).collect();
                prop_assert_eq!(&seen, calls);
            }
            prop_assert!(queue.flows.is_empty());
        }
    }
}
