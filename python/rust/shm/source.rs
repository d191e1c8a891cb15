//! A Python object's memory, on its way out.
//!
//! Owns reading it through the buffer protocol, and what it is: bytes, or an array of which elements
//! and which shape. Invariant: what is copied out is in C order and little endian, whatever the
//! object's own layout is; the object's memory stays where it is until the source is dropped.
#![expect(unsafe_code, reason = "copies to and from memory that the buffer protocol names")]

use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use snakepit_shm::{Content, Dtype, Layout};

use super::buffer::copy;
use super::element;
use super::sharing::Lent;

/// A value that goes in one piece: with its payload, or aside of it.
pub(crate) trait Piece {
    /// What its bytes are.
    fn content(&self) -> Content;

    /// How many there are.
    fn len(&self) -> usize;

    /// Where its bytes are, if they could be sent as they lie.
    fn place(&self) -> Option<usize>;

    /// Writes all bytes to a segment that was granted and is claimed.
    fn copy_to(&self, py: Python<'_>, lent: &Arc<Lent>, offset: usize) -> PyResult<()>;

    /// Appends all bytes.
    fn append_to(&self, py: Python<'_>, out: &mut Vec<u8>) -> PyResult<()>;
}

/// Memory that an object exports.
pub(crate) struct Source {
    buffer: PyUntypedBuffer,
    /// None for plain bytes.
    array: Option<Layout>,
    /// Whether the elements' bytes are in the other order.
    swapped: bool,
}

impl Source {
    /// An object's memory as plain bytes, whatever its elements are.
    pub(crate) fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { buffer: PyUntypedBuffer::get(value)?, array: None, swapped: false })
    }

    /// An array's memory; none if its elements do not cross in one piece.
    pub(crate) fn array(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        // Numpy says at once what `memoryview` would say later: some elements have no format.
        let Ok(buffer) = PyUntypedBuffer::get(value) else {
            return Ok(None);
        };
        // Memory behind pointers, as PIL once had it.
        if buffer.suboffsets().is_some() {
            return Ok(None);
        }
        let Some((dtype, swapped)) = element::of_format(buffer.format(), buffer.item_size()) else {
            return Ok(None);
        };
        Ok(Self::of_layout(buffer, dtype, swapped))
    }

    fn of_layout(buffer: PyUntypedBuffer, dtype: Dtype, swapped: bool) -> Option<Self> {
        let layout = Layout::new(dtype, buffer.shape().to_vec()).ok()?;
        Some(Self { buffer, array: Some(layout), swapped })
    }

    fn write(&self, py: Python<'_>, target: *mut u8) -> PyResult<()> {
        let len = self.len();
        if self.buffer.is_c_contiguous() {
            let (from, to) = (self.buffer.buf_ptr() as usize, target.expose_provenance());
            // The buffer's export and the segment are kept by who called; neither needs Python.
            py.detach(|| copy(from, to, len));
        } else {
            self.gather(py, target)?;
        }
        if self.swapped
            && let Some(layout) = &self.array
        {
            let (to, part) = (target.expose_provenance(), element::part_bytes(layout.dtype()));
            py.detach(|| swap(to, len, part));
        }
        Ok(())
    }

    /// Brings scattered elements into C order.
    fn gather(&self, py: Python<'_>, target: *mut u8) -> PyResult<()> {
        // The wrapper gives no view; everything in it but the owner is there to be asked for.
        let mut view = ffi::Py_buffer {
            buf: self.buffer.buf_ptr(),
            obj: ptr::null_mut(),
            len: self.len().cast_signed(),
            itemsize: self.buffer.item_size().cast_signed(),
            readonly: 1,
            ndim: self.buffer.dimensions() as i32,
            format: self.buffer.format().as_ptr().cast_mut(),
            shape: self.buffer.shape().as_ptr().cast_mut().cast(),
            strides: self.buffer.strides().as_ptr().cast_mut(),
            suboffsets: self
                .buffer
                .suboffsets()
                .map_or(ptr::null_mut(), |sub| sub.as_ptr().cast_mut()),
            internal: ptr::null_mut(),
        };
        // SAFETY: the view describes memory that the object exports until `self` is dropped, and the
        // target has room for all of it; the call reads the one and writes the other.
        let done = unsafe {
            ffi::PyBuffer_ToContiguous(target.cast(), &raw mut view, view.len, b'C' as c_char)
        };
        if done == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
    }
}

impl Piece for Source {
    fn content(&self) -> Content {
        self.array.as_ref().map_or(Content::Bytes, |layout| Content::Array(layout.clone()))
    }

    fn len(&self) -> usize {
        self.buffer.len_bytes()
    }

    fn place(&self) -> Option<usize> {
        (!self.swapped && self.buffer.is_c_contiguous()).then(|| self.buffer.buf_ptr() as usize)
    }

    fn copy_to(&self, py: Python<'_>, lent: &Arc<Lent>, offset: usize) -> PyResult<()> {
        debug_assert!(offset + self.len() <= lent.len());
        // SAFETY: the sum is within the segment.
        let target = unsafe { lent.start().add(offset) };
        self.write(py, target)
    }

    fn append_to(&self, py: Python<'_>, out: &mut Vec<u8>) -> PyResult<()> {
        let (before, len) = (out.len(), self.len());
        out.reserve_exact(len);
        self.write(py, out.spare_capacity_mut().as_mut_ptr().cast())?;
        // SAFETY: there is room for as many, and they have been written.
        unsafe { out.set_len(before + len) };
        Ok(())
    }
}

/// Turns the bytes of each number round.
fn swap(start: usize, len: usize, each: usize) {
    let start = ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the caller has just written as many bytes from there on, and they are its own.
    let bytes = unsafe { std::slice::from_raw_parts_mut(start, len) };
    bytes.chunks_exact_mut(each).for_each(<[u8]>::reverse);
}

/// What an object that speaks DLPack is as a numpy array; none where numpy is not loaded, or the
/// memory is not the CPU's.
pub(crate) fn through_dlpack<'py>(
    value: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    let Some(numpy) = loaded_numpy(py)? else {
        return Ok(None);
    };
    let device: (i32, i32) = value.call_method0("__dlpack_device__")?.extract()?;
    if device.0 != super::dlpack::CPU.0 {
        return Ok(None);
    }
    // What has a gradient, or elements that numpy has no type for, stays what it is.
    Ok(numpy.call_method1("from_dlpack", (value,)).ok())
}

/// Numpy, where the adapter has imported it.
pub(crate) fn loaded_numpy(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    loaded(py, "numpy", "ndarray")
}

/// A module that the adapter has imported, down to this class.
pub(super) fn loaded<'py>(
    py: Python<'py>,
    module: &str,
    class: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let modules = py.import("sys")?.getattr("modules")?;
    let module = modules.cast::<PyDict>()?.get_item(module)?;
    // A half-imported module may lack the class.
    match module {
        Some(module) if module.hasattr(class)? => Ok(Some(module)),
        _ => Ok(None),
    }
}
