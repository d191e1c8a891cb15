//! The codec as Python functions, for tests, tools and the worker's own needs.
//!
//! Owns their exceptions. Invariant: they convert exactly as calls do.

use bytes::Bytes;
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use snakepit_proto::v1::Codec;

use crate::codec::{self, Beside, KeyCache};
use crate::shm::Parcel;

create_exception!(snakepit, EncodeError, PyValueError, "A value that has no encoded form.");
create_exception!(snakepit, DecodeError, PyValueError, "Bytes that are no encoded value.");

/// Encodes a value as MessagePack.
#[pyfunction]
pub(crate) fn pack<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(value.py(), &encode(value, Codec::Msgpack)?))
}

/// Decodes MessagePack.
#[pyfunction]
pub(crate) fn unpack<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    decode(py, data, Codec::Msgpack)
}

/// Encodes a value as JSON text.
#[pyfunction]
pub(crate) fn to_json(value: &Bound<'_, PyAny>) -> PyResult<String> {
    String::from_utf8(encode(value, Codec::Json)?)
        .map_err(|error| EncodeError::new_err(error.to_string()))
}

/// Decodes JSON text.
#[pyfunction]
pub(crate) fn from_json<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    decode(py, text.as_bytes(), Codec::Json)
}

/// The candidate that `name` was most likely meant to be.
#[pyfunction]
pub(crate) fn nearest(name: &str, candidates: &Bound<'_, PyList>) -> PyResult<Option<String>> {
    let candidates: Vec<String> = candidates.extract()?;
    let near = crate::tool::nearest(name, candidates.iter().map(String::as_str));
    Ok(near.map(str::to_owned))
}

fn encode(value: &Bound<'_, PyAny>, codec: Codec) -> PyResult<Vec<u8>> {
    codec::encode(value, codec, usize::MAX, Parcel::inline())
        .map(|encoded| encoded.data)
        .map_err(|error| EncodeError::new_err(error.describe("value")))
}

fn decode<'py>(py: Python<'py>, data: &[u8], codec: Codec) -> PyResult<Bound<'py, PyAny>> {
    let parts = [Bytes::copy_from_slice(data)];
    codec::decode(py, codec, &parts, Beside::NOTHING, &mut KeyCache::default())
        .map_err(|error| DecodeError::new_err(error.message().to_owned()))
}
