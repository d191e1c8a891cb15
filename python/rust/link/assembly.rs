//! Calls whose arguments come in fragments.
//!
//! Owns what has arrived of them. Invariant: no payload grows beyond what its head announced, nor
//! beyond the limit, and a call comes out exactly when its last byte is in.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use snakepit_proto::v1::{Codec, Fragment, Payload};

use super::Violation;
use crate::call::{CallState, Pending};

pub(super) struct Assembly {
    max_payload_bytes: u64,
    /// By payload id.
    parked: FxHashMap<u64, Parked>,
}

struct Parked {
    /// None once the call was cancelled or taken back; its fragments still come.
    state: Option<Arc<CallState>>,
    codec: Codec,
    parts: Vec<Bytes>,
    received: u64,
    total: u64,
}

impl Assembly {
    pub(super) fn new(max_payload_bytes: u64) -> Self {
        Self { max_payload_bytes, parked: FxHashMap::default() }
    }

    /// Takes a call's arguments; gives the call back if they are complete.
    pub(super) fn start(
        &mut self,
        state: CallState,
        arguments: Option<Payload>,
    ) -> Result<Option<Pending>, Violation> {
        let state = Arc::new(state);
        let Some(payload) = arguments else {
            // A message that is left out is an empty one: no arguments.
            return Ok(Some(Pending { state, codec: Codec::Raw, arguments: Vec::new() }));
        };
        let codec = payload.codec();
        let received = payload.data.len() as u64;
        if received.max(payload.total_bytes) > self.max_payload_bytes {
            return Err(Violation(format!(
                "call {} carries {} bytes, over the limit of {}",
                state.id,
                received.max(payload.total_bytes),
                self.max_payload_bytes
            )));
        }
        if payload.total_bytes == 0 || payload.total_bytes == received {
            return Ok(Some(Pending { state, codec, arguments: vec![payload.data] }));
        }
        if payload.payload_id == 0 || payload.total_bytes < received {
            return Err(Violation(format!("call {} has a malformed payload head", state.id)));
        }
        let parked = Parked {
            state: Some(state),
            codec,
            parts: if received > 0 { vec![payload.data] } else { Vec::new() },
            received,
            total: payload.total_bytes,
        };
        match self.parked.insert(payload.payload_id, parked) {
            None => Ok(None),
            Some(_) => Err(Violation(format!("payload {} begins twice", payload.payload_id))),
        }
    }

    /// Takes the next part of a payload; gives back the call it completes.
    pub(super) fn add(&mut self, fragment: Fragment) -> Result<Option<Pending>, Violation> {
        let id = fragment.payload_id;
        let Some(parked) = self.parked.get_mut(&id) else {
            return Err(Violation(format!("a fragment of payload {id}, which has no head")));
        };
        let received = parked.received + fragment.data.len() as u64;
        if fragment.offset != parked.received || received > parked.total {
            return Err(Violation(format!("fragments of payload {id} are out of order")));
        }
        parked.received = received;
        if parked.state.is_some() {
            parked.parts.push(fragment.data);
        }
        if received < parked.total {
            return Ok(None);
        }
        let complete = self.parked.remove(&id);
        Ok(complete.and_then(|parked| {
            let (codec, arguments) = (parked.codec, parked.parts);
            parked.state.map(|state| Pending { state, codec, arguments })
        }))
    }

    /// Forgets a call that has not arrived entirely; false if there is none.
    pub(super) fn forget(&mut self, call_id: u64) -> bool {
        let parked = self.parked.values_mut().find(|parked| parked.is_of(call_id));
        parked.is_some_and(|parked| {
            parked.parts.clear();
            parked.state.take().is_some()
        })
    }

    /// The state of a call that has not arrived entirely.
    pub(super) fn find(&self, call_id: u64) -> Option<Arc<CallState>> {
        let parked = self.parked.values().find(|parked| parked.is_of(call_id));
        parked.and_then(|parked| parked.state.clone())
    }
}

impl Parked {
    fn is_of(&self, call_id: u64) -> bool {
        self.state.as_ref().is_some_and(|state| state.id == call_id)
    }
}
