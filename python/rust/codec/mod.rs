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
use snakepit_proto::v1::Codec;

pub(crate) use error::{DecodeError, EncodeError};
pub(crate) use keys::KeyCache;
pub(crate) use marker::{Marker, shown};
pub(crate) use parts::total_len;

/// Deepest nesting of lists and maps, both ways: far beyond real data, far below the stack.
const MAX_DEPTH: usize = 256;

/// Turns payload bytes, possibly in several parts, into one Python object.
pub(crate) fn decode<'py>(
    py: Python<'py>,
    codec: Codec,
    parts: &[Bytes],
    keys: &mut KeyCache,
) -> Result<Bound<'py, PyAny>, DecodeError> {
    match codec {
        Codec::Msgpack => msgpack_read::read(py, parts, keys),
        Codec::Json => json_read::read(py, parts, keys),
        Codec::Raw => fresh::bytes(py, &mut parts::Parts::new(parts), total_len(parts)),
        Codec::Unspecified => Err(DecodeError::new("the payload names no codec this worker knows")),
    }
}

/// Turns a Python object into payload bytes of at most `limit` bytes.
///
/// The codec that was used comes back too: a raw call whose result is not `bytes` is answered in
/// MessagePack.
pub(crate) fn encode(
    value: &Bound<'_, PyAny>,
    codec: Codec,
    limit: usize,
) -> Result<(Codec, Vec<u8>), EncodeError> {
    if codec == Codec::Raw
        && let Ok(bytes) = value.cast::<PyBytes>()
    {
        if bytes.as_bytes().len() > limit {
            return Err(EncodeError::too_large(limit));
        }
        return Ok((Codec::Raw, bytes.as_bytes().to_vec()));
    }
    if codec == Codec::Json {
        let json = walk::write(value, json_write::Json::default(), limit)?;
        return Ok((Codec::Json, json.finish()));
    }
    let msgpack = walk::write(value, msgpack_write::Msgpack::default(), limit)?;
    Ok((Codec::Msgpack, msgpack.finish()))
}
