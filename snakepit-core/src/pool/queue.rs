//! The waiting line: calls in the order in which they may start, fair between sessions.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996) with equal weights and unit cost: a call's tag
//! is one more than its session's previous tag, or the tag of the call that left last if that is
//! later. A session with a thousand calls and one with a single call take turns. Calls without a
//! session are one flow. Calls that wait for a certain member stand in a line of their own, so that
//! nobody else waits behind them; places compare across lines. Invariant: a place is unique, so a
//! call that is put back stands where it stood before.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::ids::CallId;
use crate::session::SessionKey;

/// Where a call stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    tag: u64,
    arrival: u64,
}

/// A call's place, and whom it waits for and with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) place: Place,
    /// The session whose calls keep their order and take turns with others.
    pub(super) flow: Option<SessionKey>,
    /// The member it waits for, if it waits for one.
    pub(super) member: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct FairQueue {
    line: BTreeMap<Place, CallId>,
    /// Calls that wait for a certain member. None of these lines is empty.
    bound: FxHashMap<u64, BTreeMap<Place, CallId>>,
    /// Calls in all lines.
    len: usize,
    flows: FxHashMap<Option<SessionKey>, Flow>,
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
    /// Calls in line, for whatever they wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Calls that any member may take.
    pub(super) fn len_unbound(&self) -> usize {
        self.line.len()
    }

    /// The first of the calls that any member may take.
    pub(super) fn first(&self) -> Option<(Place, CallId)> {
        self.line.first_key_value().map(|(place, call)| (*place, *call))
    }

    /// The calls that any member may take, in the order in which they may start.
    pub(super) fn iter(&self) -> impl Iterator<Item = CallId> {
        self.line.values().copied()
    }

    /// The first of the calls that wait for this member.
    pub(super) fn first_for(&self, member: u64) -> Option<(Place, CallId)> {
        let line = self.bound.get(&member)?;
        line.first_key_value().map(|(place, call)| (*place, *call))
    }

    /// Whether no call waits that any member may take.
    pub(super) fn is_clear(&self) -> bool {
        self.line.is_empty()
    }

    /// Whether calls wait for certain members.
    pub(super) fn has_bound(&self) -> bool {
        !self.bound.is_empty()
    }

    /// Whether calls of this session wait.
    pub(super) fn has_flow(&self, session: SessionKey) -> bool {
        self.flows.contains_key(&Some(session))
    }

    /// All calls in line.
    pub(super) fn calls(&self) -> impl Iterator<Item = CallId> {
        self.line.values().chain(self.bound.values().flat_map(BTreeMap::values)).copied()
    }

    /// The place behind its session's others, for a call that arrives now. It is taken by
    /// [`put`](Self::put), unless the call can start at once.
    pub(super) fn next_place(&mut self, flow: Option<SessionKey>) -> Place {
        self.arrivals += 1;
        let tag = match self.flows.get(&flow) {
            Some(flow) => self.virtual_time.max(flow.last_tag + 1),
            // 0 is the front's.
            None => self.virtual_time.max(1),
        };
        Place { tag, arrival: self.arrivals }
    }

    /// The place before all but earlier ones like it, for a call that others wait for inside their
    /// slots: the sooner it is done the sooner those come back.
    pub(super) fn front_place(&mut self) -> Place {
        self.arrivals += 1;
        Place { tag: 0, arrival: self.arrivals }
    }

    /// Puts a call in its place, where it may have stood before.
    pub(super) fn put(&mut self, spot: Spot, call: CallId) {
        let Spot { place, flow, member } = spot;
        let flow = self.flows.entry(flow).or_insert(Flow { last_tag: place.tag, waiting: 0 });
        flow.last_tag = flow.last_tag.max(place.tag);
        flow.waiting += 1;
        let line = match member {
            None => &mut self.line,
            Some(member) => self.bound.entry(member).or_default(),
        };
        let earlier = line.insert(place, call);
        debug_assert!(earlier.is_none(), "two calls in one place");
        self.len += 1;
    }

    /// Takes a call out of the line because it starts.
    pub(super) fn start(&mut self, spot: Spot) {
        if self.remove(spot) {
            self.virtual_time = self.virtual_time.max(spot.place.tag);
        }
    }

    /// Takes a call out of the line because it will not start, or not here.
    pub(super) fn remove(&mut self, spot: Spot) -> bool {
        let Spot { place, flow: key, member } = spot;
        let removed = match member {
            None => self.line.remove(&place),
            Some(member) => {
                let line = self.bound.get_mut(&member);
                let removed = line.and_then(|line| line.remove(&place));
                if self.bound.get(&member).is_some_and(BTreeMap::is_empty) {
                    self.bound.remove(&member);
                }
                removed
            }
        };
        if removed.is_none() {
            return false;
        }
        self.len -= 1;
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
    use tokio::time::Instant;

    use super::*;
    use crate::ids::SessionId;
    use crate::session::{SessionOptions, SessionStore};

    fn id(n: u64) -> CallId {
        CallId::new(n).unwrap()
    }

    fn sessions<const N: usize>() -> [SessionKey; N] {
        let mut store = SessionStore::<()>::new(SessionOptions::new());
        std::array::from_fn(|n| {
            store.open(&SessionId::new(format!("{n}")), Instant::now()).unwrap().key
        })
    }

    fn push(queue: &mut FairQueue, flow: Option<SessionKey>, call: CallId) -> Spot {
        let spot = Spot { place: queue.next_place(flow), flow, member: None };
        queue.put(spot, call);
        spot
    }

    fn drain(queue: &mut FairQueue, spots: &FxHashMap<CallId, Spot>) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some((_, call)) = queue.first() {
            queue.start(spots[&call]);
            order.push(call.get());
        }
        order
    }

    #[test]
    fn sessions_take_turns_however_much_one_of_them_asks() {
        let [greedy, modest] = sessions();
        let mut queue = FairQueue::default();
        let mut spots = FxHashMap::default();
        for n in 1..=4 {
            spots.insert(id(n), push(&mut queue, Some(greedy), id(n)));
        }
        for n in 5..=6 {
            spots.insert(id(n), push(&mut queue, Some(modest), id(n)));
        }
        assert_eq!(drain(&mut queue, &spots), [1, 5, 2, 6, 3, 4]);
        assert!(queue.flows.is_empty(), "nothing is kept for sessions that wait no more");
    }

    #[test]
    fn who_waits_for_a_member_stands_in_nobodys_way_and_takes_turns_all_the_same() {
        let [bound, other] = sessions();
        let mut queue = FairQueue::default();
        let at_member = |queue: &mut FairQueue, n| {
            let place = queue.next_place(Some(bound));
            let spot = Spot { place, flow: Some(bound), member: Some(7) };
            queue.put(spot, id(n));
            spot
        };
        let first = at_member(&mut queue, 1);
        let second = at_member(&mut queue, 2);
        let modest = push(&mut queue, Some(other), id(3));
        assert_eq!(queue.first().map(|(_, call)| call), Some(id(3)));
        assert_eq!(queue.first_for(7), Some((first.place, id(1))));
        assert!(first.place < modest.place && modest.place < second.place, "they take turns");
        queue.start(first);
        queue.start(second);
        assert!(!queue.has_bound() && queue.len() == 1);
    }

    proptest! {
        /// Any mix of arrivals, starts, put-backs and removals keeps each session's calls in their
        /// order of arrival, loses none and keeps no flow without calls.
        #[test]
        fn order_within_a_session_survives_everything(steps in prop::collection::vec((0_u8..4, 0_usize..3), 1..200)) {
            let [a, b] = sessions();
            let flows = [None, Some(a), Some(b)];
            let mut queue = FairQueue::default();
            let mut spots = FxHashMap::default();
            let mut expected: [Vec<u64>; 3] = Default::default();
            let mut next = 0;
            for (action, s) in steps {
                match action {
                    0 | 1 => {
                        next += 1;
                        spots.insert(id(next), push(&mut queue, flows[s], id(next)));
                        expected[s].push(next);
                    }
                    2 => {
                        // Start the first and take it back, as a revoked prefetch does.
                        if let Some((_, call)) = queue.first() {
                            queue.start(spots[&call]);
                            queue.put(spots[&call], call);
                        }
                    }
                    _ => {
                        if let Some(gone) = expected[s].pop() {
                            prop_assert!(queue.remove(spots[&id(gone)]));
                        }
                    }
                }
                prop_assert_eq!(queue.len(), expected.iter().map(Vec::len).sum::<usize>());
            }
            let order = drain(&mut queue, &spots);
            prop_assert_eq!(order.len(), expected.iter().map(Vec::len).sum::<usize>());
            for (flow, calls) in flows.iter().zip(&expected) {
                let seen: Vec<u64> =
                    order.iter().copied().filter(|n| spots[&id(*n)].flow == *flow).collect();
                prop_assert_eq!(&seen, calls);
            }
            prop_assert!(queue.flows.is_empty());
        }
    }
}
