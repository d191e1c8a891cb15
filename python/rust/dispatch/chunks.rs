//! The chunks of one streamed result.
//!
//! Owns their numbering, encoding and credit. Invariant: no chunk leaves without credit, and they
//! leave in order.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use snakepit_proto::v1::worker_message::Frame;
use snakepit_proto::v1::{Chunk, Codec};

use super::failure::Failure;
use crate::call::CallState;
use crate::codec::{self, Encoded};
use crate::link::{Driver, Shared};
use crate::shm::{Parcel, Sender};

/// Sends the items of one call.
pub(super) struct Chunks {
    state: Arc<CallState>,
    shared: Arc<Shared>,
    driver: Arc<Driver>,
    codec: Codec,
    sent: u64,
    /// Without credit.
    waiting: Option<Encoded>,
}

impl Chunks {
    pub(super) fn new(
        state: Arc<CallState>,
        shared: Arc<Shared>,
        driver: Arc<Driver>,
        codec: Codec,
    ) -> Self {
        Self { state, shared, driver, codec, sent: 0, waiting: None }
    }

    /// Encodes the next item.
    pub(super) fn put(&mut self, item: &Bound<'_, PyAny>) -> Result<(), Failure> {
        let limit = self.shared.max_payload_bytes.load(Ordering::Relaxed);
        let sharing = &self.shared.sharing;
        let parcel = Parcel::new(Sender { sharing, driver: &self.driver, call: &self.state });
        let encoded = codec::encode(item, self.codec, limit, parcel)
            .map_err(|error| Failure::encode(&error, &format!("chunk {}", self.sent)))?;
        self.waiting = Some(encoded);
        Ok(())
    }

    /// The same without an item.
    fn following(&self) -> Self {
        let (state, shared, driver) =
            (self.state.clone(), self.shared.clone(), self.driver.clone());
        Self { state, shared, driver, codec: self.codec, sent: self.sent, waiting: None }
    }

    /// Sends the encoded item if there is credit; true if none is left to send.
    pub(super) fn try_send(&mut self) -> bool {
        if self.waiting.is_none() {
            return true;
        }
        if !self.state.try_take_credit() {
            return false;
        }
        let (value, kept) = self.waiting.take().map(Encoded::into_payload).unzip();
        let chunk = Chunk { call_id: self.state.id, index: self.sent, value };
        self.shared.outbox.push_with(Frame::Chunk(chunk), kept.unwrap_or_default());
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
        let mut next = self.chunks.lock().unwrap_or_else(PoisonError::into_inner).following();
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
