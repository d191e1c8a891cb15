//! Puts large payloads from a worker together again and keeps each call's frames in order.
//!
//! Owns the rules of fragments and their limits; knows no call and no transport. Invariant: a
//! frame is released only when its payload is whole and every earlier frame of the same call has
//! been released; frames of other calls never wait for it. Fragments are copied together as they
//! come: what was received is then free for the transport's next read, and the payload is whole
//! for its decoder.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use snakepit_core::{Blob, Codec, Payload, PayloadBuilder};
use snakepit_proto::v1;

use crate::convert;
use crate::loans::Loans;

/// Payloads that may be incomplete at the same time on one link. Far more than calls run at a time
/// in one worker; what it stops is a worker that sends heads and never tails.
const MAX_INCOMPLETE: usize = 1024;

/// Frames that may wait behind one incomplete payload of their call. Chunks are bounded by credit;
/// this bounds what else a confused worker may pile up.
const MAX_WAITING: usize = 4096;

/// A frame about a call, with its payload whole.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack; a box would be an allocation")]
pub(crate) enum CallFrame {
    Result { value: Payload, run_us: u64 },
    Error(v1::Error),
    Chunk { index: u64, value: Payload },
    ChunkEnd { chunks: u64, run_us: u64 },
    ToolCall { tool_call_id: u64, name: String, timeout_us: u64, arguments: Payload },
    ToolCancel { tool_call_id: u64 },
}

/// A rule of the protocol that the worker broke.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum Breach {
    #[error("fragment of a payload that was never announced (payload {0})")]
    UnknownPayload(u64),
    #[error("fragment out of order: payload {payload} continues at byte {expected}, not {found}")]
    OutOfOrder { payload: u64, expected: u64, found: u64 },
    #[error("fragment runs past the end of payload {payload} ({total} bytes)")]
    Overrun { payload: u64, total: u64 },
    #[error("payload of {total} bytes is over the limit of {limit}")]
    TooLarge { total: u64, limit: u64 },
    #[error("malformed payload: {0}")]
    Malformed(&'static str),
    #[error("shared memory: {0}")]
    Loans(#[from] snakepit_shm::Breach),
    #[error("more than {0} payloads or frames wait for fragments")]
    TooManyWaiting(usize),
}

/// Payloads that are not whole yet, and what waits behind them.
pub(crate) struct Inbox {
    max_payload_bytes: u64,
    incomplete: FxHashMap<u64, Incomplete>,
    waiting: FxHashMap<u64, VecDeque<Waiting>>,
}

struct Incomplete {
    call_id: u64,
    received: PayloadBuilder,
    total: u64,
    parts: Vec<Blob>,
}

/// A frame of a call that has an incomplete payload; `payload_id` is 0 when its own is whole.
struct Waiting {
    payload_id: u64,
    frame: CallFrame,
}

impl Inbox {
    pub(crate) fn new(max_payload_bytes: u64) -> Self {
        Self { max_payload_bytes, incomplete: FxHashMap::default(), waiting: FxHashMap::default() }
    }

    /// Takes a frame without a payload; gives it back if nothing of its call comes before it.
    pub(crate) fn plain(
        &mut self,
        call_id: u64,
        frame: CallFrame,
    ) -> Result<Option<CallFrame>, Breach> {
        // Nearly always no large payload is under way, and this is all there is to do.
        if self.waiting.is_empty() {
            return Ok(Some(frame));
        }
        let Some(queue) = self.waiting.get_mut(&call_id) else {
            return Ok(Some(frame));
        };
        if queue.len() >= MAX_WAITING {
            return Err(Breach::TooManyWaiting(MAX_WAITING));
        }
        queue.push_back(Waiting { payload_id: 0, frame });
        Ok(None)
    }

    /// Takes a frame with a payload, made by `frame` once the payload is known.
    pub(crate) fn with_payload(
        &mut self,
        call_id: u64,
        payload: Option<v1::Payload>,
        loans: Option<&Loans>,
        frame: impl FnOnce(Payload) -> CallFrame,
    ) -> Result<Option<CallFrame>, Breach> {
        let payload = payload.ok_or(Breach::Malformed("it is missing"))?;
        let codec = convert::codec_from_wire(payload.codec)
            .ok_or(Breach::Malformed("its codec is not known"))?;
        let head = payload.data;
        let limit = self.max_payload_bytes;
        let parts = match payload.shm.as_slice() {
            [] => Vec::new(),
            references => take_parts(codec, references, loans)?,
        };
        let beside: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if payload.payload_id == 0 {
            let total = head.len() as u64 + beside;
            if total > limit {
                return Err(Breach::TooLarge { total, limit });
            }
            return self.plain(call_id, frame(Payload::with_parts(codec, head, parts)));
        }
        let total = payload.total_bytes;
        if total.saturating_add(beside) > limit {
            return Err(Breach::TooLarge { total: total.saturating_add(beside), limit });
        }
        if head.len() as u64 >= total {
            return Err(Breach::Malformed("its head is not a proper part of it"));
        }
        if self.incomplete.len() >= MAX_INCOMPLETE {
            return Err(Breach::TooManyWaiting(MAX_INCOMPLETE));
        }
        let mut received = PayloadBuilder::new(codec, usize::try_from(total).unwrap_or(usize::MAX));
        received.push(&head);
        let incomplete = Incomplete { call_id, received, total, parts };
        if self.incomplete.insert(payload.payload_id, incomplete).is_some() {
            return Err(Breach::Malformed("its id is in use"));
        }
        let queue = self.waiting.entry(call_id).or_default();
        if queue.len() >= MAX_WAITING {
            return Err(Breach::TooManyWaiting(MAX_WAITING));
        }
        // The frame waits with an empty payload, which is exchanged when the last fragment is there.
        let frame = frame(Payload::from_bytes(codec, Vec::new()));
        queue.push_back(Waiting { payload_id: payload.payload_id, frame });
        Ok(None)
    }

    /// Takes a fragment and appends the frames it releases, with the call they belong to.
    pub(crate) fn fragment(
        &mut self,
        fragment: v1::Fragment,
        released: &mut Vec<(u64, CallFrame)>,
    ) -> Result<(), Breach> {
        let payload = fragment.payload_id;
        let Some(incomplete) = self.incomplete.get_mut(&payload) else {
            return Err(Breach::UnknownPayload(payload));
        };
        let expected = incomplete.received.len() as u64;
        if fragment.offset != expected {
            return Err(Breach::OutOfOrder { payload, expected, found: fragment.offset });
        }
        if fragment.data.is_empty() {
            return Err(Breach::Malformed("a fragment of it is empty"));
        }
        let received = expected + fragment.data.len() as u64;
        if received > incomplete.total {
            return Err(Breach::Overrun { payload, total: incomplete.total });
        }
        incomplete.received.push(&fragment.data);
        if received == incomplete.total {
            let call_id = incomplete.call_id;
            self.complete(call_id, payload);
            self.release(call_id, released);
        }
        Ok(())
    }

    /// Hands a whole payload to the frame that waits for it.
    fn complete(&mut self, call_id: u64, payload_id: u64) {
        let Some(done) = self.incomplete.remove(&payload_id) else {
            return;
        };
        let mut queue = self.waiting.get_mut(&call_id).into_iter().flatten();
        let Some(waiting) = queue.find(|waiting| waiting.payload_id == payload_id) else {
            return;
        };
        waiting.payload_id = 0;
        if let CallFrame::Result { value, .. }
        | CallFrame::Chunk { value, .. }
        | CallFrame::ToolCall { arguments: value, .. } = &mut waiting.frame
        {
            *value = done.received.finish(done.parts);
        }
    }

    /// Releases a call's frames up to the first whose payload is incomplete.
    fn release(&mut self, call_id: u64, released: &mut Vec<(u64, CallFrame)>) {
        let Some(queue) = self.waiting.get_mut(&call_id) else {
            return;
        };
        while queue.front().is_some_and(|first| first.payload_id == 0) {
            released.extend(queue.pop_front().map(|first| (call_id, first.frame)));
        }
        if queue.is_empty() {
            self.waiting.remove(&call_id);
        }
    }
}

/// The parts that lie beside a payload.
fn take_parts(
    codec: Codec,
    references: &[v1::ShmRef],
    loans: Option<&Loans>,
) -> Result<Vec<Blob>, Breach> {
    if codec != Codec::MsgPack {
        return Err(Breach::Malformed("only MessagePack refers to shared memory"));
    }
    let loans = loans.ok_or(Breach::Malformed("this worker has no shared memory"))?;
    Ok(loans.take(references)?)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn head(payload_id: u64, total_bytes: u64, data: &'static [u8]) -> Option<v1::Payload> {
        let codec = v1::Codec::Raw.into();
        let data = Bytes::from_static(data);
        Some(v1::Payload { codec, data, total_bytes, payload_id, ..Default::default() })
    }

    fn fragment(payload_id: u64, offset: u64, data: &'static [u8]) -> v1::Fragment {
        v1::Fragment { payload_id, offset, data: Bytes::from_static(data) }
    }

    fn chunk(index: u64) -> impl FnOnce(Payload) -> CallFrame {
        move |value| CallFrame::Chunk { index, value }
    }

    #[test]
    fn later_frames_of_a_call_wait_for_its_payload_and_other_calls_do_not() {
        let mut inbox = Inbox::new(100);
        assert!(inbox.with_payload(1, head(9, 4, b"ab"), None, chunk(0)).unwrap().is_none());
        assert!(inbox.with_payload(1, head(0, 0, b"x"), None, chunk(1)).unwrap().is_none());
        let end = CallFrame::ChunkEnd { chunks: 2, run_us: 0 };
        assert!(inbox.plain(1, end).unwrap().is_none());
        assert!(inbox.with_payload(2, head(0, 0, b"y"), None, chunk(0)).unwrap().is_some());

        let mut released = Vec::new();
        inbox.fragment(fragment(9, 2, b"c"), &mut released).unwrap();
        assert!(released.is_empty());
        inbox.fragment(fragment(9, 3, b"d"), &mut released).unwrap();
        let order: Vec<_> = released
            .iter()
            .map(|(call, frame)| match frame {
                CallFrame::Chunk { index, value } => (*call, *index, value.len()),
                CallFrame::ChunkEnd { chunks, .. } => (*call, *chunks, 0),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, [(1, 0, 4), (1, 1, 1), (1, 2, 0)]);
        assert!(inbox.waiting.is_empty() && inbox.incomplete.is_empty());
    }

    #[test]
    fn a_payload_may_be_announced_before_its_first_byte() {
        let mut inbox = Inbox::new(100);
        inbox.with_payload(1, head(9, 6, b""), None, chunk(0)).unwrap();
        let mut released = Vec::new();
        inbox.fragment(fragment(9, 0, b"abcd"), &mut released).unwrap();
        inbox.fragment(fragment(9, 4, b"ef"), &mut released).unwrap();
        let Some((1, CallFrame::Chunk { value, .. })) = released.pop() else { panic!() };
        assert_eq!(value.into_bytes(), "abcdef");
    }

    #[test]
    fn every_broken_rule_is_named() {
        let mut released = Vec::new();
        let mut inbox = Inbox::new(10);
        let mut feed = |f| inbox.fragment(f, &mut released).unwrap_err();
        assert_eq!(feed(fragment(5, 0, b"x")), Breach::UnknownPayload(5));

        let mut inbox = Inbox::new(10);
        let too_large = Breach::TooLarge { total: 11, limit: 10 };
        assert_eq!(
            inbox.with_payload(1, head(9, 11, b"a"), None, chunk(0)).unwrap_err(),
            too_large
        );
        let whole = head(0, 0, b"elevenbytes");
        assert_eq!(inbox.with_payload(1, whole, None, chunk(0)).unwrap_err(), too_large);
        assert!(
            inbox.with_payload(1, head(9, 2, b"ab"), None, chunk(0)).is_err(),
            "head is all of it"
        );
        assert!(inbox.with_payload(1, None, None, chunk(0)).is_err());

        inbox.with_payload(1, head(9, 4, b"ab"), None, chunk(0)).unwrap();
        assert!(inbox.with_payload(2, head(9, 4, b"ab"), None, chunk(0)).is_err(), "id in use");
        let mut inbox = Inbox::new(10);
        inbox.with_payload(1, head(9, 4, b"ab"), None, chunk(0)).unwrap();
        let wrong = Breach::OutOfOrder { payload: 9, expected: 2, found: 3 };
        assert_eq!(inbox.fragment(fragment(9, 3, b"d"), &mut released).unwrap_err(), wrong);
        let overrun = Breach::Overrun { payload: 9, total: 4 };
        assert_eq!(inbox.fragment(fragment(9, 2, b"cde"), &mut released).unwrap_err(), overrun);
    }
}
