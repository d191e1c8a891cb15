//! DLPack: memory in a capsule, for array libraries.
//!
//! Owns the structures of `dlpack.h` (1.0 and before it) and the capsules around them. Invariant: a
//! capsule keeps the object it was made of, and lets go of it exactly once: when the one who took it
//! is done, or when nobody took it.
#![expect(unsafe_code, reason = "DLPack is a structure of pointers in a capsule")]

use std::ffi::{CStr, c_void};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::buffer::Buffer;
use super::element;

/// `kDLCPU` and the number of the device.
pub(super) const CPU: (i32, i32) = (1, 0);

/// `DLPACK_FLAG_BITMASK_READ_ONLY`.
const READ_ONLY: u64 = 1;

const PLAIN: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

#[repr(C)]
struct Device {
    kind: i32,
    id: i32,
}

#[repr(C)]
struct DataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device: Device,
    ndim: i32,
    dtype: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct Version {
    major: u32,
    minor: u32,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct Versioned {
    version: Version,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    tensor: Tensor,
}

/// `DLManagedTensor`.
#[repr(C)]
struct Plain {
    tensor: Tensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Plain)>,
}

/// What a capsule keeps, and what its structure points to.
struct Kept {
    // Dropped without the interpreter too: then its reference is counted down later.
    _owner: Py<Buffer>,
    shape: Box<[i64]>,
    strides: Box<[i64]>,
}

/// A capsule over the buffer's memory, of the newest form that whoever asks knows.
pub(super) fn export<'py>(
    buffer: &Bound<'py, Buffer>,
    max_version: Option<(u32, u32)>,
) -> PyResult<Bound<'py, PyAny>> {
    let (py, this) = (buffer.py(), buffer.get());
    let readonly = !this.memory().is_writable();
    let versioned = max_version.is_some_and(|(major, _)| major >= 1);
    if readonly && !versioned {
        return Err(PyBufferError::new_err(
            "read-only memory needs DLPack 1.0, which says so: ask with `max_version=(1, 0)`, or \
             go through numpy and copy",
        ));
    }
    let shape: Box<[i64]> = this.sides().iter().map(|side| *side as i64).collect();
    let mut strides: Box<[i64]> = shape.clone();
    let mut stride = 1;
    for (place, side) in strides.iter_mut().zip(&shape).rev() {
        *place = stride;
        stride *= side;
    }
    let kept = Box::new(Kept { _owner: buffer.clone().unbind(), shape, strides });
    let (code, bits) = element::dlpack(this.element());
    let tensor = Tensor {
        data: this.memory().start(py).cast::<c_void>().cast_mut(),
        device: Device { kind: CPU.0, id: CPU.1 },
        ndim: kept.shape.len() as i32,
        dtype: DataType { code, bits, lanes: 1 },
        shape: kept.shape.as_ptr().cast_mut(),
        strides: kept.strides.as_ptr().cast_mut(),
        byte_offset: 0,
    };
    let context = Box::into_raw(kept).cast::<c_void>();
    if versioned {
        let managed = Box::into_raw(Box::new(Versioned {
            version: Version { major: 1, minor: 0 },
            context,
            deleter: Some(drop_versioned),
            flags: if readonly { READ_ONLY } else { 0 },
            tensor,
        }));
        // SAFETY: the name is static, and the destructor takes what is in such a capsule.
        let capsule = unsafe {
            ffi::PyCapsule_New(managed.cast(), VERSIONED.as_ptr(), Some(destroy_versioned))
        };
        if capsule.is_null() {
            // SAFETY: nobody else has it.
            unsafe { drop_versioned(managed) };
        }
        // SAFETY: it is a new reference, or null with an exception set.
        return unsafe { Bound::from_owned_ptr_or_err(py, capsule) };
    }
    let managed = Box::into_raw(Box::new(Plain { tensor, context, deleter: Some(drop_plain) }));
    // SAFETY: as above.
    let capsule =
        unsafe { ffi::PyCapsule_New(managed.cast(), PLAIN.as_ptr(), Some(destroy_plain)) };
    if capsule.is_null() {
        // SAFETY: nobody else has it.
        unsafe { drop_plain(managed) };
    }
    // SAFETY: as above.
    unsafe { Bound::from_owned_ptr_or_err(py, capsule) }
}

/// What whoever took the capsule calls, from any thread.
unsafe extern "C" fn drop_versioned(managed: *mut Versioned) {
    // SAFETY: it came from `Box::into_raw` in `export`, and the protocol calls this once.
    let managed = unsafe { Box::from_raw(managed) };
    // SAFETY: so did this.
    drop(unsafe { Box::from_raw(managed.context.cast::<Kept>()) });
}

/// The same for the older form.
unsafe extern "C" fn drop_plain(managed: *mut Plain) {
    // SAFETY: it came from `Box::into_raw` in `export`, and the protocol calls this once.
    let managed = unsafe { Box::from_raw(managed) };
    // SAFETY: so did this.
    drop(unsafe { Box::from_raw(managed.context.cast::<Kept>()) });
}

/// The capsule goes; what is in it too, unless somebody took it, who has renamed the capsule.
unsafe extern "C" fn destroy_versioned(capsule: *mut ffi::PyObject) {
    // SAFETY: Python passes the capsule that is being destroyed.
    if unsafe { ffi::PyCapsule_IsValid(capsule, VERSIONED.as_ptr()) } == 0 {
        return;
    }
    // SAFETY: it has this name, as just seen.
    let managed = unsafe { ffi::PyCapsule_GetPointer(capsule, VERSIONED.as_ptr()) };
    // SAFETY: with this name it is what `export` has put there.
    unsafe { drop_versioned(managed.cast()) };
}

/// The same for the older form.
unsafe extern "C" fn destroy_plain(capsule: *mut ffi::PyObject) {
    // SAFETY: Python passes the capsule that is being destroyed.
    if unsafe { ffi::PyCapsule_IsValid(capsule, PLAIN.as_ptr()) } == 0 {
        return;
    }
    // SAFETY: it has this name, as just seen.
    let managed = unsafe { ffi::PyCapsule_GetPointer(capsule, PLAIN.as_ptr()) };
    // SAFETY: with this name it is what `export` has put there.
    unsafe { drop_plain(managed.cast()) };
}
