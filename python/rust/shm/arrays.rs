//! Arrays for tools to fill.
//!
//! Owns where such an array lies: in a granted segment where there is one, in Python's own memory
//! otherwise. Invariant: the tool cannot tell, but by what returning it costs.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use snakepit_shm::{Dtype, Layout};

use super::buffer::Buffer;
use super::memory::Memory;
use super::parcel::{Sender, obtain};

/// A numpy array of this shape whose elements have yet to be written, of Python's own memory.
#[pyfunction]
pub(crate) fn empty<'py>(
    shape: &Bound<'py, PyAny>,
    dtype: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    empty_for(shape, dtype, None)
}

/// The same, where the host can read it if there is such memory.
pub(crate) fn empty_for<'py>(
    shape: &Bound<'py, PyAny>,
    dtype: &Bound<'py, PyAny>,
    sender: Option<Sender<'_>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = shape.py();
    // It is asked for by name.
    let numpy = py.import("numpy")?.into_any();
    let dtype = numpy.call_method1("dtype", (dtype,))?;
    if let Some(sender) = sender
        && let Some(array) = shared(&numpy, shape, &dtype, sender)?
    {
        return Ok(array);
    }
    numpy.call_method1("empty", (shape, dtype))
}

fn shared<'py>(
    numpy: &Bound<'py, PyAny>,
    shape: &Bound<'py, PyAny>,
    dtype: &Bound<'py, PyAny>,
    sender: Sender<'_>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(threshold) = sender.sharing.threshold() else {
        return Ok(None);
    };
    let name: String = dtype.getattr("str")?.extract()?;
    // What cannot be, numpy is to refuse itself.
    let (Ok(dtype), Some(shape)) = (Dtype::parse(&name), sides(shape)) else {
        return Ok(None);
    };
    let Ok(layout) = Layout::new(dtype, shape) else {
        return Ok(None);
    };
    let bytes = layout.byte_len();
    if bytes < threshold {
        return Ok(None);
    }
    let py = numpy.py();
    let Some(lent) = obtain(py, sender, bytes) else {
        return Ok(None);
    };
    sender.sharing.show(&lent);
    let buffer = Buffer::of_array(py, Memory::Lent(lent, bytes), &layout)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    Buffer::to_numpy(&Bound::new(py, buffer)?, numpy).map(Some)
}

/// A shape as numpy takes it: one side, or several.
fn sides(shape: &Bound<'_, PyAny>) -> Option<Vec<usize>> {
    shape.extract().ok().map(|side| vec![side]).or_else(|| shape.extract().ok())
}
