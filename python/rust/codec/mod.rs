//! Values: payload bytes to Python objects and back.
//!
//! Owns the value mapping of `proto/README.md` and nothing of calls or frames. Invariant: bytes
//! from outside never cause more than an error, and never an allocation larger than themselves.

mod error;
mod fresh;
mod json_read;
mod json_write;
mod keys;
mod marker;
mod msgpack_read;
mod msgpack_write;
mod parts;
mod plain;
mod redact;
mod walk;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use snakepit_proto::v1::{Codec, Payload};

use crate::shm::{Kept, Parcel, Sealed};
pub(crate) use error::{DecodeError, EncodeError};
pub(crate) use fresh::filled;
pub(crate) use keys::KeyCache;
pub(crate) use marker::{Marker, shown};
pub(crate) use msgpack_read::{Beside, Place};
pub(crate) use parts::total_len;

/// Deepest nesting of lists and maps, both ways: far beyond real data, far below the stack.
const MAX_DEPTH: usize = 256;

/// Turns payload bytes, possibly in several parts, and what lies beside them into one Python object.
pub(crate) fn decode<'py>(
    py: Python<'py>,
    codec: Codec,
    parts: &[Bytes],
    beside: Beside<'_>,
    keys: &mut KeyCache,
) -> Result<Bound<'py, PyAny>, DecodeError> {
    match codec {
        Codec::Msgpack => msgpack_read::read(py, parts, beside, keys),
        Codec::Json => json_read::read(py, parts, keys),
        Codec::Raw => fresh::bytes(py, &mut parts::Parts::new(parts), total_len(parts)),
        Codec::Unspecified => Err(DecodeError::new("the payload names no codec this worker knows")),
    }
}

/// A value as it travels.
pub(crate) struct Encoded {
    /// Of a raw call whose result is not `bytes` it is MessagePack.
    pub(crate) codec: Codec,
    pub(crate) data: Vec<u8>,
    /// What lies beside the bytes.
    pub(crate) sealed: Sealed,
}

impl Encoded {
    /// The payload, which is to leave now, and what the outbox keeps until then; it splits the payload
    /// if that is large.
    pub(crate) fn into_payload(self) -> (Payload, Kept) {
        let (shm, kept) = self.sealed.send();
        let (codec, data) = (self.codec.into(), self.data.into());
        (Payload { codec, data, shm, ..Default::default() }, kept)
    }
}

/// Turns a Python object into at most `limit` payload bytes and what the parcel takes of it.
pub(crate) fn encode(
    value: &Bound<'_, PyAny>,
    codec: Codec,
    limit: usize,
    mut parcel: Parcel<'_>,
) -> Result<Encoded, EncodeError> {
    if codec == Codec::Raw
        && let Ok(bytes) = value.cast::<PyBytes>()
    {
        if bytes.as_bytes().len() > limit {
            return Err(EncodeError::too_large(limit));
        }
        let data = bytes.as_bytes().to_vec();
        return Ok(Encoded { codec, data, sealed: parcel.seal() });
    }
    if codec == Codec::Json {
        let json = walk::write(value, json_write::Json::default(), limit)?;
        return Ok(Encoded { codec, data: json.finish(), sealed: parcel.seal() });
    }
    let msgpack = walk::write(value, msgpack_write::Msgpack::new(&mut parcel, limit), limit)?;
    let data = msgpack.finish();
    Ok(Encoded { codec: Codec::Msgpack, data, sealed: parcel.seal() })
}
