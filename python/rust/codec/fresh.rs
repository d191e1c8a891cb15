//! `bytes` objects made in the memory they keep.
//!
//! Owns filling one without clearing it first, which takes about as long as the copy. Invariant: no object leaves here with a byte that was not written.
#![expect(unsafe_code, reason = "PyO3's own way to fill a `bytes` object clears it first")]

use std::mem::MaybeUninit;
use std::slice;

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::DecodeError;
use super::parts::Parts;

/// The next `len` bytes as an object; there must be as many.
pub(super) fn bytes<'py>(
    py: Python<'py>,
    parts: &mut Parts<'_>,
    len: usize,
) -> Result<Bound<'py, PyAny>, DecodeError> {
    if len > parts.remaining() {
        return Err(DecodeError::new("the payload ends within a value"));
    }
    let object = filled(py, len, |mut room| {
        // As many bytes as there are places, as was checked above.
        parts.each(len, |piece| {
            let (here, rest) = std::mem::take(&mut room).split_at_mut(piece.len());
            for (place, byte) in here.iter_mut().zip(piece) {
                place.write(*byte);
            }
            room = rest;
        });
    })?;
    Ok(object.into_any())
}

/// An object of `len` bytes, every one of which `fill` writes.
pub(crate) fn filled<'py>(
    py: Python<'py>,
    len: usize,
    fill: impl FnOnce(&mut [MaybeUninit<u8>]),
) -> PyResult<Bound<'py, PyBytes>> {
    let size = ffi::Py_ssize_t::try_from(len)
        .map_err(|_| PyMemoryError::new_err("longer than an object can be"))?;
    // SAFETY: without a source it makes an object of this size whose bytes are still to be written;
    // only the immortal empty one is ever shared, and that has none.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), size) };
    // SAFETY: it is a new reference, or null with an exception set.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
    // SAFETY: it is a `bytes` object.
    let start = unsafe { ffi::PyBytes_AsString(object.as_ptr()) };
    // SAFETY: the object owns `len` bytes from there on, and nobody else has seen it yet.
    fill(unsafe { slice::from_raw_parts_mut(start.cast::<MaybeUninit<u8>>(), len) });
    Ok(object.cast_into()?)
}
