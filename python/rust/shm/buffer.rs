//! The Python object over memory that is not Python's.
//!
//! Owns the class `snakepit.Buffer` and the buffer protocol of it. Invariant: it does not change but
//! for one thing: what was writable becomes read-only when the host has it, for views made from then
//! on. Every view keeps it, and it keeps its memory.
#![expect(unsafe_code, reason = "the buffer protocol is spoken in pointers")]

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use snakepit_shm::{Dtype, Layout, LayoutError};

use super::memory::Memory;
use super::{dlpack, element};
use crate::codec;

/// Bytes or an array in memory that is shared with the host, or a copy of such.
#[pyclass(frozen, module = "snakepit")]
pub(crate) struct Buffer {
    memory: Memory,
    /// None for plain bytes.
    dtype: Option<Dtype>,
    shape: Box<[isize]>,
    /// C order.
    strides: Box<[isize]>,
}

impl Buffer {
    /// Plain bytes.
    pub(crate) fn of_bytes(py: Python<'_>, memory: Memory) -> Self {
        let shape = Box::new([memory.len(py).cast_signed()]);
        Self { memory, dtype: None, shape, strides: Box::new([1]) }
    }

    /// An array in C order.
    ///
    /// # Errors
    /// Fails if the memory is not as large as such an array.
    pub(crate) fn of_array(
        py: Python<'_>,
        memory: Memory,
        layout: &Layout,
    ) -> Result<Self, LayoutError> {
        layout.check_len(memory.len(py))?;
        let shape = layout.shape().iter().map(|side| side.cast_signed()).collect();
        let (dtype, strides) = (Some(layout.dtype()), layout.strides().into_boxed_slice());
        Ok(Self { memory, dtype, shape, strides })
    }

    pub(crate) fn is_bytes(&self) -> bool {
        self.dtype.is_none()
    }

    pub(crate) fn element(&self) -> Dtype {
        self.dtype.unwrap_or(Dtype::U8)
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn sides(&self) -> &[isize] {
        &self.shape
    }

    /// A copy of its bytes.
    pub(crate) fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        if let Memory::Own(bytes) = &self.memory {
            return Ok(bytes.bind(py).clone());
        }
        let (start, len) = (self.memory.start(py) as usize, self.memory.len(py));
        codec::filled(py, len, |room| {
            let room = room.as_mut_ptr() as usize;
            py.detach(|| copy(start, room, len));
        })
    }

    /// The same as a numpy array.
    pub(crate) fn to_numpy<'py>(
        slf: &Bound<'py, Self>,
        numpy: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let options = PyDict::new(py);
        options.set_item("buffer", slf)?;
        let shape = PyTuple::new(py, &this.shape)?;
        numpy.getattr("ndarray")?.call((shape, this.element().as_str()), Some(&options))
    }
}

/// Copies memory that neither the caller nor the object it belongs to lets go of meanwhile. Whoever
/// writes to it at the same time tears what is copied, as with every copy in Python without the GIL.
pub(super) fn copy(from: usize, to: usize, len: usize) {
    let (from, to) = (ptr::with_exposed_provenance(from), ptr::with_exposed_provenance_mut(to));
    // SAFETY: both are as large, as the callers have seen to: the source is exported by a buffer or
    // kept by a reference that the caller holds, the target is new or this side's alone to write.
    unsafe { ptr::copy_nonoverlapping::<u8>(from, to, len) };
}

#[pymethods]
impl Buffer {
    /// Bytes of this process's own, as the same thing.
    #[new]
    fn new(data: Bound<'_, PyBytes>) -> Self {
        let py = data.py();
        Self::of_bytes(py, Memory::Own(data.unbind()))
    }

    fn __len__(&self) -> PyResult<usize> {
        match self.shape.first() {
            Some(side) => Ok(side.cast_unsigned()),
            None => Err(pyo3::exceptions::PyTypeError::new_err("0-dim memory has no length")),
        }
    }

    /// Size in bytes.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> usize {
        self.memory.len(py)
    }

    /// Length of each side.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shape)
    }

    /// Element type, as `numpy.dtype.str` has it.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.element().as_str()
    }

    /// Whether it cannot be written to.
    #[getter]
    fn readonly(&self) -> bool {
        !self.memory.is_writable()
    }

    /// A copy of the bytes.
    fn tobytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.to_bytes(py)
    }

    /// Where the memory is: the CPU, as `dlpack.h` names it.
    fn __dlpack_device__(&self) -> (i32, i32) {
        dlpack::CPU
    }

    /// The memory as a DLPack capsule.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        slf: &Bound<'py, Self>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // The CPU has no streams, so whatever it says is nothing to wait for.
        drop(stream);
        if dl_device.is_some_and(|device| device != dlpack::CPU) {
            return Err(PyBufferError::new_err("the memory is the CPU's and stays there"));
        }
        if copy == Some(true) {
            return Err(PyBufferError::new_err("copy what this gives, with `copy=None`"));
        }
        dlpack::export(slf, max_version)
    }

    /// # Safety
    /// As the protocol says: `view` is null or a structure to fill in.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill in"));
        }
        let (py, this) = (slf.py(), slf.get());
        let readonly = !this.memory.is_writable();
        if readonly && flags & ffi::PyBUF_WRITABLE != 0 {
            return Err(PyBufferError::new_err("the memory is read-only"));
        }
        let wants = |flag| flags & flag == flag;
        // Fortran order is asked for without C order by nobody who takes both.
        if wants(ffi::PyBUF_F_CONTIGUOUS) && !wants(ffi::PyBUF_C_CONTIGUOUS) && this.shape.len() > 1
        {
            return Err(PyBufferError::new_err("the memory is in C order"));
        }
        let pointer = |wanted: bool, sides: &[isize]| {
            if wanted { sides.as_ptr().cast_mut() } else { ptr::null_mut() }
        };
        let format = element::format(this.element());
        let filled = ffi::Py_buffer {
            buf: this.memory.start(py).cast::<c_void>().cast_mut(),
            obj: ptr::null_mut(),
            len: this.memory.len(py).cast_signed(),
            itemsize: this.element().item_bytes().cast_signed(),
            readonly: c_int::from(readonly),
            ndim: this.shape.len() as c_int,
            format: if wants(ffi::PyBUF_FORMAT) {
                format.as_ptr().cast_mut()
            } else {
                ptr::null_mut()
            },
            // These live as long as the object, which does not change, and the view keeps that.
            shape: pointer(wants(ffi::PyBUF_ND), &this.shape),
            strides: pointer(wants(ffi::PyBUF_STRIDES), &this.strides),
            suboffsets: ptr::null_mut(),
            internal: ptr::null_mut(),
        };
        let filled = ffi::Py_buffer { obj: slf.into_any().into_ptr(), ..filled };
        // SAFETY: it is not null, and the protocol says that it is a structure to fill in.
        unsafe { view.write(filled) };
        Ok(())
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (bytes, how) =
            (self.memory.len(py), if self.readonly() { "read-only" } else { "writable" });
        match self.dtype {
            None => format!("<snakepit.Buffer: {bytes} bytes, {how}>"),
            Some(dtype) => {
                format!("<snakepit.Buffer: {} {:?}, {how}>", dtype.as_str(), self.shape)
            }
        }
    }
}
