//! How objects that are no plain data become plain data.
//!
//! Owns the classification of types by the value mapping table, remembered per type. Invariant: a
//! type keeps the answer it got first, and the memory of types has a fixed size.

use std::cell::RefCell;
use std::rc::Rc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMemoryView, PySet,
    PyString, PyTuple, PyType,
};
use rustc_hash::FxHashMap;

use super::Marker;
use crate::shm::Buffer;

/// Most elements a `tolist` may make; the original library's guard.
pub(super) const MAX_ELEMENTS: u64 = 1_000_000;

/// Types remembered per thread; beyond it the memory starts anew.
const MAX_TYPES: usize = 1024;

/// Conversion methods, in the order in which they are tried.
const METHODS: [&str; 5] = ["model_dump", "to_dict", "_asdict", "tolist", "isoformat"];

/// What an object is treated as.
#[derive(Debug)]
pub(super) enum Plain {
    Text,
    Int,
    Float,
    Bytes,
    /// A `memoryview`: its bytes.
    View,
    /// Anything else that has nothing but memory: the same.
    Memory,
    /// Our own.
    Buffer,
    /// Something that gives record batches to whoever speaks Arrow.
    Batches,
    /// Something with `tolist`, and with memory that can go in one piece.
    Array,
    Dict,
    List,
    Tuple,
    Set,
    /// A map of these attributes.
    Fields(Vec<Py<PyString>>),
    /// An enum member: its value.
    Enum,
    /// Its `str`.
    Str,
    /// Its `total_seconds`.
    Seconds,
    /// What this method returns.
    Method(&'static str),
    Marker,
}

impl Plain {
    /// Name of what [`convert`] calls, for messages.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Enum => "value",
            Self::Str => "__str__",
            Self::Seconds => "total_seconds",
            Self::Method(name) => name,
            Self::Array => "tolist",
            _ => "type",
        }
    }
}

/// Why [`convert`] failed.
pub(super) enum ConvertError {
    Raised(PyErr),
    TooMany(u64),
}

impl From<PyErr> for ConvertError {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// What is known of types, by their address.
type Known = FxHashMap<usize, (Py<PyType>, Rc<Plain>)>;

/// How `value` is to be treated, by its type.
pub(super) fn plan_for(value: &Bound<'_, PyAny>) -> PyResult<Rc<Plain>> {
    thread_local! {
        // The types are kept alive, so that an address means the same type for ever.
        static KNOWN: RefCell<Known> = RefCell::default();
    }
    let ty = value.get_type();
    let address = ty.as_ptr() as usize;
    if let Some(plan) = KNOWN.with_borrow(|known| known.get(&address).map(|(_, plan)| plan.clone()))
    {
        return Ok(plan);
    }
    let plan = Rc::new(classify(&ty, value)?);
    // Dropping a type may run Python code that comes back here: let go of it outside the borrow.
    let forgotten = KNOWN.with_borrow_mut(|known| {
        let forgotten = (known.len() >= MAX_TYPES).then(|| std::mem::take(known));
        known.insert(address, (ty.unbind(), plan.clone()));
        forgotten
    });
    drop(forgotten);
    Ok(plan)
}

/// The plain form of an object that stands for one other value.
pub(super) fn convert<'py>(
    value: &Bound<'py, PyAny>,
    plan: &Plain,
) -> Result<Bound<'py, PyAny>, ConvertError> {
    match plan {
        Plain::Enum => Ok(value.getattr(intern!(value.py(), "value"))?),
        Plain::Str => Ok(value.str()?.into_any()),
        Plain::Seconds => Ok(value.call_method0(intern!(value.py(), "total_seconds"))?),
        Plain::Array => convert(value, &Plain::Method("tolist")),
        Plain::Method(name) => {
            if *name == "tolist"
                && let Some(count) = element_count(value)
                && count > MAX_ELEMENTS
            {
                return Err(ConvertError::TooMany(count));
            }
            Ok(value.call_method0(*name)?)
        }
        _ => Ok(value.clone()),
    }
}

/// The scalar form of a map key; none if it has none.
pub(super) fn scalar<'py>(key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut key = key.clone();
    // An enum member whose value is a UUID takes two steps; nothing sensible takes more.
    for _ in 0..3 {
        if key.is_none() || key.is_instance_of::<PyBool>() {
            return Ok(Some(key));
        }
        let plan = plan_for(&key)?;
        match &*plan {
            Plain::Text | Plain::Int | Plain::Float | Plain::Bytes => return Ok(Some(key)),
            Plain::Enum
            | Plain::Str
            | Plain::Seconds
            | Plain::Array
            | Plain::Method("tolist" | "isoformat") => match convert(&key, &plan) {
                Ok(converted) => key = converted,
                Err(ConvertError::Raised(error)) => return Err(error),
                Err(ConvertError::TooMany(_)) => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn classify(ty: &Bound<'_, PyType>, value: &Bound<'_, PyAny>) -> PyResult<Plain> {
    let py = ty.py();
    if is_subclass_of(ty, "enum", "Enum")? {
        return Ok(Plain::Enum);
    }
    if ty.is_subclass_of::<PyString>()? {
        return Ok(Plain::Text);
    }
    if ty.is_subclass_of::<PyInt>()? {
        return Ok(Plain::Int);
    }
    if ty.is_subclass_of::<PyFloat>()? {
        return Ok(Plain::Float);
    }
    if ty.is_subclass_of::<PyBytes>()? || ty.is_subclass_of::<PyByteArray>()? {
        return Ok(Plain::Bytes);
    }
    if ty.is_subclass_of::<PyMemoryView>()? {
        return Ok(Plain::View);
    }
    if ty.is_subclass_of::<Buffer>()? {
        return Ok(Plain::Buffer);
    }
    if ty.is_subclass_of::<PyTuple>()? {
        return named_tuple_fields(ty);
    }
    if ty.hasattr(intern!(py, "__dataclass_fields__"))? {
        return dataclass_fields(ty);
    }
    if let Some(attributes) = ty.getattr_opt(intern!(py, "__attrs_attrs__"))? {
        return names_of(&attributes).map(Plain::Fields);
    }
    if ty.is_subclass_of::<PyDict>()? {
        return Ok(Plain::Dict);
    }
    if ty.is_subclass_of::<PyList>()? {
        return Ok(Plain::List);
    }
    if ty.is_subclass_of::<PySet>()? || ty.is_subclass_of::<PyFrozenSet>()? {
        return Ok(Plain::Set);
    }
    if ty.is(py.get_type::<Marker>()) {
        return Ok(Plain::Marker);
    }
    if is_subclass_of(ty, "datetime", "timedelta")? {
        return Ok(Plain::Seconds);
    }
    for (module, name) in [("decimal", "Decimal"), ("uuid", "UUID"), ("pathlib", "PurePath")] {
        if is_subclass_of(ty, module, name)? {
            return Ok(Plain::Str);
        }
    }
    for method in METHODS {
        if !ty.hasattr(method)? {
            continue;
        }
        // The elements of a masked array are not all that its memory holds.
        let is_array = method == "tolist"
            && (has_memory(value) || ty.hasattr("__dlpack__")?)
            && !is_subclass_of(ty, "numpy.ma", "MaskedArray")?;
        return Ok(if is_array { Plain::Array } else { Plain::Method(method) });
    }
    if ty.hasattr(intern!(py, "__arrow_c_stream__"))? {
        return Ok(Plain::Batches);
    }
    Ok(if has_memory(value) { Plain::Memory } else { Plain::Marker })
}

/// Whether an object, and with it all of its type, speaks the buffer protocol.
fn has_memory(value: &Bound<'_, PyAny>) -> bool {
    PyMemoryView::from(value).is_ok()
}

/// Whether a type derives from a class of a module. A module that was never imported has no
/// instances, so it is not imported for the question.
fn is_subclass_of(ty: &Bound<'_, PyType>, module: &str, name: &str) -> PyResult<bool> {
    match loaded(ty.py(), module)? {
        // A half-imported module may lack the class.
        Some(module) => match module.getattr_opt(name)? {
            Some(class) => ty.is_subclass(&class),
            None => Ok(false),
        },
        None => Ok(false),
    }
}

fn loaded<'py>(py: Python<'py>, module: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    modules.cast::<PyDict>()?.get_item(module)
}

/// A named tuple is a map of its fields, any other tuple a list.
fn named_tuple_fields(ty: &Bound<'_, PyType>) -> PyResult<Plain> {
    let fields = ty.getattr_opt("_fields")?;
    let names = fields.and_then(|fields| fields.extract::<Vec<Py<PyString>>>().ok());
    match names {
        Some(names) if ty.hasattr("_asdict")? => Ok(Plain::Fields(names)),
        _ => Ok(Plain::Tuple),
    }
}

fn dataclass_fields(ty: &Bound<'_, PyType>) -> PyResult<Plain> {
    let fields = ty.py().import("dataclasses")?.call_method1("fields", (ty,))?;
    names_of(&fields).map(Plain::Fields)
}

/// The names of fields, as `dataclasses` and attrs describe them.
fn names_of(fields: &Bound<'_, PyAny>) -> PyResult<Vec<Py<PyString>>> {
    let py = fields.py();
    fields.try_iter()?.map(|field| Ok(field?.getattr(intern!(py, "name"))?.extract()?)).collect()
}

/// How many elements an array-like object says it has.
fn element_count(value: &Bound<'_, PyAny>) -> Option<u64> {
    let attribute = |name| value.getattr(name).ok();
    attribute("size")
        .and_then(|size| size.extract().ok())
        .or_else(|| attribute("numel")?.call0().ok()?.extract().ok())
        .or_else(|| value.len().ok().map(|len| len as u64))
}
