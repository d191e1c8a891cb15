//! Walking a Python object and writing what it is made of.
//!
//! Owns the order of attempts from exact builtin types to markers, the depth limit, cycles and
//! the path in errors; the bytes are the sink's. Invariant: a container is written from a private
//! copy, so user code or another thread that changes it meanwhile cannot tear the output.

use std::cell::RefCell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};

use super::error::Step;
use super::marker::{shown, type_name};
use super::plain::{self, Plain};
use super::{EncodeError, MAX_DEPTH, Marker};
use crate::shm::arrow::Batches;
use crate::shm::{Buffer, Piece, Source, through_dlpack};

pub(super) type WriteResult = Result<(), EncodeError>;

/// Takes the pieces of one value in order.
pub(super) trait Sink {
    /// Bytes written so far.
    fn len(&self) -> usize;
    fn nil(&mut self);
    fn bool(&mut self, value: bool);
    fn int(&mut self, value: i64);
    fn uint(&mut self, value: u64);
    /// An `int` beyond 64 bits.
    fn big_int(&mut self, value: &Bound<'_, PyAny>) -> WriteResult;
    fn float(&mut self, value: f64) -> WriteResult;
    fn text(&mut self, value: &str) -> WriteResult;
    fn bytes(&mut self, value: &[u8]) -> WriteResult;
    /// From what size on bytes and arrays go to [`memory`](Self::memory) instead, if they can.
    fn large(&self) -> usize {
        usize::MAX
    }
    /// Bytes, an array or an Arrow stream. Only for a sink whose [`large`](Self::large) is some size.
    fn memory(&mut self, value: &Bound<'_, PyAny>, _source: &dyn Piece) -> WriteResult {
        Err(EncodeError::new("no memory goes here").of_type(type_name(&value.get_type())))
    }
    fn begin_list(&mut self, len: usize) -> WriteResult;
    fn begin_map(&mut self, len: usize) -> WriteResult;
    fn marker(&mut self, marker: &Marker) -> WriteResult;
    /// Before the list element or map entry at `index`.
    fn before(&mut self, _index: usize) {}
    /// Before and after a key that is no text.
    fn around_key(&mut self) {}
    /// Between a key and its value.
    fn between(&mut self) {}
    fn end_list(&mut self) {}
    fn end_map(&mut self) {}
}

/// Writes one object into a sink.
pub(super) fn write<S: Sink>(
    value: &Bound<'_, PyAny>,
    sink: S,
    limit: usize,
) -> Result<S, EncodeError> {
    let large = sink.large();
    let mut walk = Walk { sink, limit, large, open: Vec::new() };
    walk.value(value)?;
    walk.check_size()?;
    Ok(walk.sink)
}

struct Walk<S> {
    sink: S,
    limit: usize,
    /// The sink's.
    large: usize,
    /// Identities of the objects we are inside of.
    open: Vec<usize>,
}

impl<S: Sink> Walk<S> {
    fn value(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        if value.is_exact_instance_of::<PyString>() {
            return self.text(value);
        }
        if value.is_exact_instance_of::<PyInt>() {
            return self.int(value);
        }
        if value.is_exact_instance_of::<PyFloat>() {
            return self.float(value);
        }
        if value.is_none() {
            self.sink.nil();
            return Ok(());
        }
        if value.is_exact_instance_of::<PyDict>() {
            return self.dict(value);
        }
        if value.is_exact_instance_of::<PyList>() {
            return self.list(value);
        }
        if let Ok(value) = value.cast_exact::<PyBool>() {
            self.sink.bool(value.is_true());
            return Ok(());
        }
        if value.is_exact_instance_of::<PyBytes>() {
            return self.bytes(value);
        }
        if value.is_exact_instance_of::<PyTuple>() {
            return self.sequence(value);
        }
        self.other(value)
    }

    /// Everything that is not exactly one of the common builtin types.
    fn other(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        let plan = plain::plan_for(value).map_err(|error| raised(value, "type", &error))?;
        match &*plan {
            Plain::Text => self.text(value),
            Plain::Int => self.int(value),
            Plain::Float => self.float(value),
            Plain::Bytes => self.bytes(value),
            Plain::View => {
                if byte_count(value) >= self.large {
                    return self.blob(value);
                }
                let copy = value.call_method0("tobytes");
                self.bytes(&copy.map_err(|error| raised(value, "tobytes", &error))?)
            }
            Plain::Memory => {
                let view = PyMemoryView::from(value);
                let view = view.map_err(|error| raised(value, "memoryview", &error))?;
                self.other(view.as_any())
            }
            Plain::Buffer => self.buffer(value),
            Plain::Array if self.array(value)? => Ok(()),
            Plain::Dict => self.dict(value),
            Plain::List => self.list(value),
            Plain::Tuple => self.sequence(value),
            Plain::Set => {
                let elements = value.try_iter().and_then(|elements| {
                    let elements: PyResult<Vec<_>> = elements.collect();
                    PyTuple::new(value.py(), elements?)
                });
                self.elements(value, &elements.map_err(|error| raised(value, "iter", &error))?)
            }
            Plain::Fields(names) => self.fields(value, names),
            Plain::Batches => self.batches(value),
            Plain::Marker => {
                if let Ok(marker) = value.cast::<Marker>() {
                    return self.sink.marker(marker.get());
                }
                self.sink.marker(&Marker::of(value))
            }
            converted => self.converted(value, converted),
        }
    }

    /// An object that stands for another.
    fn converted(&mut self, value: &Bound<'_, PyAny>, plan: &Plain) -> WriteResult {
        let how = plan.method();
        let result = plain::convert(value, plan).map_err(|error| match error {
            plain::ConvertError::Raised(error) => raised(value, how, &error),
            plain::ConvertError::TooMany(count) => EncodeError::new(format!(
                "`{how}` would make {count} elements, more than the {} allowed; send bytes, or a \
                 part of it",
                plain::MAX_ELEMENTS
            ))
            .of_type(type_name(&value.get_type())),
        })?;
        // An object that converts to its own kind has no plain form after all.
        if result.get_type().is(value.get_type()) {
            return self.sink.marker(&Marker::of(value));
        }
        self.inside(value, |walk| walk.value(&result))
    }

    /// An array in one piece, if it is a large one whose elements can go so; whether it was.
    fn array(&mut self, value: &Bound<'_, PyAny>) -> Result<bool, EncodeError> {
        if byte_count(value) < self.large {
            return Ok(false);
        }
        let failed = |error: PyErr| raised(value, "buffer", &error);
        if let Some(source) = Source::array(value).map_err(failed)? {
            return self.sink.memory(value, &source).map(|()| true);
        }
        if !value.hasattr("__dlpack_device__").map_err(failed)? {
            return Ok(false);
        }
        let Some(array) = through_dlpack(value).map_err(failed)? else {
            return Ok(false);
        };
        match Source::array(&array).map_err(failed)? {
            Some(source) => self.sink.memory(&array, &source).map(|()| true),
            None => Ok(false),
        }
    }

    /// Memory that came from the host, or was granted: what it was there.
    fn buffer(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        let failed = |error: PyErr| raised(value, "buffer", &error);
        let buffer = cast::<Buffer>(value)?.get();
        if self.large == usize::MAX {
            // Of a sink without memory: a list, or bytes.
            let view = PyMemoryView::from(value).map_err(failed)?;
            if buffer.is_bytes() {
                return self.other(view.as_any());
            }
            return self.converted(&view, &Plain::Array);
        }
        if buffer.is_bytes() {
            return self.blob(value);
        }
        match Source::array(value).map_err(failed)? {
            Some(source) => self.sink.memory(value, &source),
            None => self.blob(value),
        }
    }

    /// What has record batches to give, as an Arrow stream.
    fn batches(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        let failed = |error: PyErr| raised(value, "__arrow_c_stream__", &error);
        let Some(batches) = Batches::of(value).map_err(failed)? else {
            return self.sink.marker(&Marker::of(value));
        };
        if self.large != usize::MAX {
            return self.sink.memory(value, &batches);
        }
        let mut stream = Vec::new();
        batches.append_to(value.py(), &mut stream).map_err(failed)?;
        self.sink.bytes(&stream)
    }

    /// Bytes as they lie in memory.
    fn blob(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        let source = Source::bytes(value).map_err(|error| raised(value, "buffer", &error))?;
        self.sink.memory(value, &source)
    }

    fn text(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        let text = cast::<PyString>(value)?;
        match text.to_str() {
            Ok(text) => self.sink.text(text),
            Err(_) => Err(EncodeError::new("text with lone surrogates has no UTF-8 form")
                .of_type(type_name(&value.get_type()))),
        }
    }

    fn int(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        if let Ok(value) = value.extract::<i64>() {
            self.sink.int(value);
        } else if let Ok(value) = value.extract::<u64>() {
            self.sink.uint(value);
        } else {
            return self.sink.big_int(value);
        }
        Ok(())
    }

    fn float(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        self.sink.float(cast::<PyFloat>(value)?.value())
    }

    fn bytes(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        if let Ok(bytes) = value.cast::<PyByteArray>() {
            if bytes.len() >= self.large {
                return self.blob(value);
            }
            return self.sink.bytes(&bytes.to_vec());
        }
        let bytes = cast::<PyBytes>(value)?.as_bytes();
        if bytes.len() >= self.large {
            return self.blob(value);
        }
        self.sink.bytes(bytes)
    }

    fn list(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        let copy = cast::<PyList>(value)?.to_tuple();
        self.elements(value, &copy)
    }

    fn sequence(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        self.elements(value, cast::<PyTuple>(value)?)
    }

    fn elements(&mut self, owner: &Bound<'_, PyAny>, elements: &Bound<'_, PyTuple>) -> WriteResult {
        self.inside(owner, |walk| {
            walk.sink.begin_list(elements.len())?;
            for (index, element) in elements.iter_borrowed().enumerate() {
                walk.sink.before(index);
                walk.value(&element).map_err(|error| error.at(|| Step::Index(index)))?;
                walk.check_size()?;
            }
            walk.sink.end_list();
            Ok(())
        })
    }

    fn dict(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        let entries = entries(cast::<PyDict>(value)?);
        let entries = entries.map_err(|error| raised(value, "items", &error))?;
        self.inside(value, |walk| {
            walk.sink.begin_map(entries.len())?;
            for (index, (key, element)) in entries.iter().enumerate() {
                walk.sink.before(index);
                walk.key(key)?;
                walk.sink.between();
                walk.value(element).map_err(|error| error.at(|| key_step(key)))?;
                walk.check_size()?;
            }
            walk.sink.end_map();
            Ok(())
        })
    }

    fn key(&mut self, key: &Bound<'_, PyAny>) -> WriteResult {
        if key.is_exact_instance_of::<PyString>() {
            return self.text(key);
        }
        let plain = plain::scalar(key).map_err(|error| raised(key, "key", &error))?;
        let Some(plain) = plain else {
            let type_name = type_name(&key.get_type());
            let message = format!("a map key must be a scalar, not `{type_name}`");
            return Err(EncodeError::new(message).of_type(type_name));
        };
        if plain.is_instance_of::<PyString>() {
            return self.text(&plain);
        }
        // Bytes are text already where keys have to be.
        if plain.is_instance_of::<PyBytes>() {
            return self.bytes(&plain);
        }
        self.sink.around_key();
        self.value(&plain)?;
        self.sink.around_key();
        Ok(())
    }

    fn fields(&mut self, value: &Bound<'_, PyAny>, names: &[Py<PyString>]) -> WriteResult {
        self.inside(value, |walk| {
            walk.sink.begin_map(names.len())?;
            for (index, name) in names.iter().enumerate() {
                let name = name.bind(value.py());
                let field = || Step::Field(name.to_string_lossy().into_owned());
                walk.sink.before(index);
                walk.text(name)?;
                walk.sink.between();
                let element = value.getattr(name);
                let element = element.map_err(|error| raised(value, "field", &error).at(field))?;
                walk.value(&element).map_err(|error| error.at(field))?;
                walk.check_size()?;
            }
            walk.sink.end_map();
            Ok(())
        })
    }

    /// Runs `body` one level deeper, inside `owner`.
    fn inside(
        &mut self,
        owner: &Bound<'_, PyAny>,
        body: impl FnOnce(&mut Self) -> WriteResult,
    ) -> WriteResult {
        let identity = owner.as_ptr() as usize;
        let problem = if self.open.contains(&identity) {
            Some("it contains itself".to_owned())
        } else if self.open.len() >= MAX_DEPTH {
            Some(format!("nested deeper than {MAX_DEPTH} levels"))
        } else {
            None
        };
        if let Some(message) = problem {
            return Err(EncodeError::new(message).of_type(type_name(&owner.get_type())));
        }
        self.open.push(identity);
        let result = body(self);
        self.open.pop();
        result
    }

    fn check_size(&self) -> WriteResult {
        if self.sink.len() > self.limit { Err(EncodeError::too_large(self.limit)) } else { Ok(()) }
    }
}

type Entry<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// The entries of a dict as they are at this moment: it is locked meanwhile, and nothing runs.
fn entries<'py>(dict: &Bound<'py, PyDict>) -> PyResult<Vec<Entry<'py>>> {
    let entries = RefCell::new(Vec::with_capacity(dict.len()));
    dict.locked_for_each(|key, value| {
        entries.borrow_mut().push((key, value));
        Ok(())
    })?;
    Ok(entries.into_inner())
}

/// How many bytes an array or a view says it has; 0 if it does not say.
fn byte_count(value: &Bound<'_, PyAny>) -> usize {
    let number = |name: &Bound<'_, PyString>| value.getattr(name).ok()?.extract::<usize>().ok();
    let py = value.py();
    number(intern!(py, "nbytes"))
        // `array.array` has no such thing.
        .or_else(|| number(intern!(py, "itemsize"))?.checked_mul(value.len().ok()?))
        .unwrap_or(0)
}

/// A cast that the caller has already made sure of.
fn cast<'a, 'py, T: pyo3::PyTypeCheck>(
    value: &'a Bound<'py, PyAny>,
) -> Result<&'a Bound<'py, T>, EncodeError> {
    value.cast::<T>().map_err(|error| EncodeError::new(error.to_string()))
}

fn key_step(key: &Bound<'_, PyAny>) -> Step {
    let repr = key.repr().map_or_else(|_| "?".to_owned(), |repr| repr.to_string());
    Step::Key(shown(&repr))
}

/// User code failed while its object was being converted.
fn raised(value: &Bound<'_, PyAny>, how: &str, error: &PyErr) -> EncodeError {
    let type_name = type_name(&value.get_type());
    EncodeError::new(format!("`{how}` of `{type_name}` raised {error}")).of_type(type_name)
}
