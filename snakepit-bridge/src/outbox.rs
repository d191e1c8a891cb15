//! What waits to be sent to one worker: small frames in order, and the tails of large payloads.
//!
//! Owns how payloads are cut into fragments and who goes first; knows no lock, no waker and no
//! transport. Invariant: a fragment is given out only when no frame waits, so that frames overtake
//! payloads and never the other way round.

use std::collections::VecDeque;

use bytes::Bytes;
use snakepit_proto::FRAGMENT_BYTES;
use snakepit_proto::v1::host_message::Frame;
use snakepit_proto::v1::{self};

use crate::convert;
use crate::loans::Sending;

/// Frames and payload tails on their way out.
#[derive(Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Frame>,
    tails: VecDeque<Tail>,
    last_payload_id: u64,
}

/// What is left of a payload that was announced.
struct Tail {
    payload_id: u64,
    offset: u64,
    rest: Bytes,
}

impl Outbox {
    /// Puts a frame at the end of the queue.
    pub(crate) fn push(&mut self, frame: Frame) {
        self.frames.push_back(frame);
    }

    /// Turns a payload into the field of a frame. What does not fit into one fragment is queued
    /// behind every frame; the field must be pushed next.
    pub(crate) fn attach(&mut self, sending: Sending<'_>) -> v1::Payload {
        let Sending { payload, references: shm } = sending;
        let codec = convert::codec_to_wire(payload.codec()).into();
        let bytes = payload.bytes().clone();
        if bytes.len() <= FRAGMENT_BYTES {
            return v1::Payload { codec, data: bytes, total_bytes: 0, payload_id: 0, shm };
        }
        let total_bytes = bytes.len() as u64;
        self.last_payload_id += 1;
        let payload_id = self.last_payload_id;
        self.tails.push_back(Tail { payload_id, offset: 0, rest: bytes });
        v1::Payload { codec, data: Bytes::new(), total_bytes, payload_id, shm }
    }

    /// Moves every waiting frame into `batch`.
    pub(crate) fn take_frames(&mut self, batch: &mut VecDeque<Frame>) {
        if batch.is_empty() {
            std::mem::swap(&mut self.frames, batch);
        } else {
            batch.append(&mut self.frames);
        }
    }

    /// The next fragment; large payloads take turns. Only meaningful when no frame waits.
    pub(crate) fn next_fragment(&mut self) -> Option<Frame> {
        let mut tail = self.tails.pop_front()?;
        let data = tail.rest.split_to(FRAGMENT_BYTES.min(tail.rest.len()));
        let fragment = v1::Fragment { payload_id: tail.payload_id, offset: tail.offset, data };
        tail.offset += fragment.data.len() as u64;
        if !tail.rest.is_empty() {
            self.tails.push_back(tail);
        }
        Some(Frame::Fragment(fragment))
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.tails.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use snakepit_core::{Codec, Payload};

    use super::*;

    fn large(fill: u8, len: usize) -> Sending<'static> {
        inline(Bytes::from(vec![fill; len]))
    }

    fn inline(bytes: Bytes) -> Sending<'static> {
        let payload = Cow::Owned(Payload::from_bytes(Codec::Raw, bytes));
        Sending { payload, references: Vec::new() }
    }

    #[test]
    fn a_payload_of_one_fragment_travels_whole() {
        let mut outbox = Outbox::default();
        let head = outbox.attach(large(1, FRAGMENT_BYTES));
        assert_eq!((head.total_bytes, head.payload_id), (0, 0));
        assert_eq!(head.data.len(), FRAGMENT_BYTES);
        assert!(outbox.next_fragment().is_none());
    }

    #[test]
    fn large_payloads_take_turns_and_arrive_without_gaps() {
        let mut outbox = Outbox::default();
        let sizes = [3 * FRAGMENT_BYTES + 1, 2 * FRAGMENT_BYTES];
        let heads: Vec<_> = sizes.iter().map(|&len| outbox.attach(large(7, len))).collect();
        assert!(heads.iter().all(|head| head.data.is_empty()));
        let mut received = [0, 0];
        let mut order = Vec::new();
        while let Some(Frame::Fragment(fragment)) = outbox.next_fragment() {
            let which = (fragment.payload_id - 1) as usize;
            assert_eq!(fragment.offset, received[which]);
            received[which] += fragment.data.len() as u64;
            order.push(fragment.payload_id);
        }
        assert_eq!(order, [1, 2, 1, 2, 1, 1]);
        assert_eq!(received.map(|n| n as usize), sizes);
    }

    #[test]
    fn slices_share_the_payloads_memory() {
        let bytes = Bytes::from(vec![3; 2 * FRAGMENT_BYTES]);
        let mut outbox = Outbox::default();
        outbox.attach(inline(bytes.clone()));
        let Some(Frame::Fragment(first)) = outbox.next_fragment() else { panic!() };
        assert_eq!(first.data.as_ptr(), bytes.as_ptr());
    }
}
