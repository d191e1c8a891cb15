//! The chunks of one streamed result.
//!
//! Owns their numbering, encoding and credit. Invariant: no chunk leaves without credit, and they
//! leave in order.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use snakepit_proto::v1::worker_message::Frame;
use snakepit_proto::v1::{Chunk, Codec, Payload};

use super::failure::Failure;
use super::invoke::payload;
use crate::call::CallState;
use crate::codec;
use crate::link::Outbox;

/// Sends the items of one call.
pub(super) struct Chunks {
    state: Arc<CallState>,
    outbox: Arc<Outbox>,
    codec: Codec,
    limit: usize,
    sent: u64,
    /// Encoded, but without credit.
    waiting: Option<Payload>,
}

impl Chunks {
    pub(super) fn new(
        state: Arc<CallState>,
        outbox: Arc<Outbox>,
        codec: Codec,
        limit: usize,
    ) -> Self {
        Self { state, outbox, codec, limit, sent: 0, waiting: None }
    }

    /// Encodes the next item.
    pub(super) fn put(&mut self, item: &Bound<'_, PyAny>) -> Result<(), Failure> {
        let (codec, data) = codec::encode(item, self.codec, self.limit)
            .map_err(|error| Failure::encode(&error, &format!("chunk {}", self.sent)))?;
        self.waiting = Some(payload(codec, data));
        Ok(())
    }

    /// Sends the encoded item if there is credit; true if none is left to send.
    pub(super) fn try_send(&mut self) -> bool {
        if self.waiting.is_none() {
            return true;
        }
        if !self.state.try_take_credit() {
            return false;
        }
        let value = self.waiting.take();
        let chunk = Chunk { call_id: self.state.id, index: self.sent, value };
        self.outbox.push(Frame::Chunk(chunk));
        self.sent += 1;
        true
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}

/// The same for an asynchronous generator, which is driven from Python.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct ChunkSink {
    chunks: Mutex<Chunks>,
    /// Why the stream failed, if the sink itself is the reason.
    failure: Mutex<Option<Failure>>,
}

impl ChunkSink {
    pub(super) fn new(chunks: Chunks) -> Self {
        Self { chunks: Mutex::new(chunks), failure: Mutex::new(None) }
    }

    pub(super) fn sent(&self) -> u64 {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner).sent()
    }

    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl ChunkSink {
    /// Encodes the next item; false if it has no encoded form, and the stream must end.
    fn put(&self, item: &Bound<'_, PyAny>) -> bool {
        // Taken out, because encoding may run Python code that comes back here.
        let (state, outbox, codec, limit, sent) = {
            let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            (chunks.state.clone(), chunks.outbox.clone(), chunks.codec, chunks.limit, chunks.sent)
        };
        let mut next = Chunks { state, outbox, codec, limit, sent, waiting: None };
        match next.put(item) {
            Ok(()) => {
                *self.chunks.lock().unwrap_or_else(PoisonError::into_inner) = next;
                true
            }
            Err(failure) => {
                let mut slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *slot = Some(failure);
                false
            }
        }
    }

    /// Sends the encoded item; false as long as there is no credit.
    fn try_send(&self) -> bool {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner).try_send()
    }
}
