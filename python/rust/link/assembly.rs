//! Payloads that come in fragments: the arguments of calls, the answers of the host's tools.
//!
//! Owns what has arrived of them, and what lies in shared memory beside them. Invariant: no payload grows beyond what its head announced, nor
//! beyond the limit, and what it belongs to comes out exactly when its last byte is in.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use snakepit_proto::v1::{Codec, Fragment, Payload};

use super::Violation;
use crate::call::{CallState, Pending};
use crate::shm::{Arrived, Sharing};

pub(super) struct Assembly {
    max_payload_bytes: u64,
    sharing: Arc<Sharing>,
    /// By payload id.
    parked: FxHashMap<u64, Parked>,
}

/// What has arrived entirely.
pub(super) enum Whole {
    Call(Pending),
    /// The answer to a tool call, by its id.
    Answer(u64, Codec, Vec<Bytes>, Arrived),
}

struct Parked {
    /// None once a call was cancelled or taken back; its fragments still come.
    owner: Option<Owner>,
    codec: Codec,
    parts: Vec<Bytes>,
    beside: Arrived,
    received: u64,
    total: u64,
}

/// What a payload belongs to.
enum Owner {
    Call(Arc<CallState>),
    Answer(u64),
}

impl Owner {
    fn whole(self, codec: Codec, parts: Vec<Bytes>, beside: Arrived) -> Whole {
        match self {
            Self::Call(state) => Whole::Call(Pending { state, codec, arguments: parts, beside }),
            Self::Answer(id) => Whole::Answer(id, codec, parts, beside),
        }
    }

    /// For people who read a broken rule.
    fn name(&self) -> String {
        match self {
            Self::Call(state) => format!("call {}", state.id),
            Self::Answer(id) => format!("the answer to tool call {id}"),
        }
    }
}

impl Assembly {
    pub(super) fn new(max_payload_bytes: u64, sharing: Arc<Sharing>) -> Self {
        Self { max_payload_bytes, sharing, parked: FxHashMap::default() }
    }

    /// Takes a call's arguments; gives the call back if they are complete.
    pub(super) fn start(
        &mut self,
        state: CallState,
        arguments: Option<Payload>,
    ) -> Result<Option<Whole>, Violation> {
        self.head(Owner::Call(Arc::new(state)), arguments)
    }

    /// Takes the answer to a tool call; gives it back if it is complete.
    pub(super) fn answer(
        &mut self,
        tool_call_id: u64,
        value: Option<Payload>,
    ) -> Result<Option<Whole>, Violation> {
        self.head(Owner::Answer(tool_call_id), value)
    }

    fn head(&mut self, owner: Owner, payload: Option<Payload>) -> Result<Option<Whole>, Violation> {
        let Some(payload) = payload else {
            // A message that is left out is an empty one: no arguments.
            return Ok(Some(owner.whole(Codec::Raw, Vec::new(), Arrived::default())));
        };
        let codec = payload.codec();
        // Before anything else: what is not taken over here would never be given back.
        let beside = self.sharing.arrive(&payload.shm).map_err(Violation::of("shared memory"))?;
        let received = payload.data.len() as u64;
        if received.max(payload.total_bytes) > self.max_payload_bytes {
            return Err(Violation(format!(
                "{} carries {} bytes, over the limit of {}",
                owner.name(),
                received.max(payload.total_bytes),
                self.max_payload_bytes
            )));
        }
        if payload.total_bytes == 0 || payload.total_bytes == received {
            return Ok(Some(owner.whole(codec, vec![payload.data], beside)));
        }
        if payload.payload_id == 0 || payload.total_bytes < received {
            return Err(Violation(format!("{} has a malformed payload head", owner.name())));
        }
        let parked = Parked {
            owner: Some(owner),
            codec,
            parts: if received > 0 { vec![payload.data] } else { Vec::new() },
            beside,
            received,
            total: payload.total_bytes,
        };
        match self.parked.insert(payload.payload_id, parked) {
            None => Ok(None),
            Some(_) => Err(Violation(format!("payload {} begins twice", payload.payload_id))),
        }
    }

    /// Takes the next part of a payload; gives back what it completes.
    pub(super) fn add(&mut self, fragment: Fragment) -> Result<Option<Whole>, Violation> {
        let id = fragment.payload_id;
        let Some(parked) = self.parked.get_mut(&id) else {
            return Err(Violation(format!("a fragment of payload {id}, which has no head")));
        };
        let received = parked.received + fragment.data.len() as u64;
        if fragment.offset != parked.received || received > parked.total {
            return Err(Violation(format!("fragments of payload {id} are out of order")));
        }
        parked.received = received;
        if parked.owner.is_some() {
            parked.parts.push(fragment.data);
        }
        if received < parked.total {
            return Ok(None);
        }
        let complete = self.parked.remove(&id);
        Ok(complete.and_then(|Parked { owner, codec, parts, beside, .. }| {
            owner.map(|owner| owner.whole(codec, parts, beside))
        }))
    }

    /// Forgets a call that has not arrived entirely; false if there is none.
    pub(super) fn forget(&mut self, call_id: u64) -> bool {
        let parked = self.parked.values_mut().find(|parked| parked.call_of(call_id).is_some());
        parked.is_some_and(|parked| {
            parked.parts.clear();
            parked.beside = Arrived::default();
            parked.owner.take().is_some()
        })
    }

    /// The state of a call that has not arrived entirely.
    pub(super) fn find(&self, call_id: u64) -> Option<Arc<CallState>> {
        self.parked.values().find_map(|parked| parked.call_of(call_id).cloned())
    }
}

impl Parked {
    fn call_of(&self, call_id: u64) -> Option<&Arc<CallState>> {
        match &self.owner {
            Some(Owner::Call(state)) if state.id == call_id => Some(state),
            _ => None,
        }
    }
}
