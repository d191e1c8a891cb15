//! What one parameter takes.
//!
//! Owns the check of plain types and the hand-over to Python converters for the rest. Invariant:
//! a check that passes without converting leaves the value as it is.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

const NONE: u16 = 1;
const BOOL: u16 = 2;
const INT: u16 = 4;
const FLOAT: u16 = 8;
const STR: u16 = 16;
const BYTES: u16 = 32;
const LIST: u16 = 64;
const DICT: u16 = 128;

/// Names of the plain types, for discovery.
pub(crate) const KINDS: [(&str, u16); 8] = [
    ("NONE", NONE),
    ("BOOL", BOOL),
    ("INT", INT),
    ("FLOAT", FLOAT),
    ("STR", STR),
    ("BYTES", BYTES),
    ("LIST", LIST),
    ("DICT", DICT),
];

/// A precompiled type hint.
///
/// In Python it is `0` for anything, a set of kinds as one number, `("list", item)`,
/// `("dict", key, value)`, `("nullable", inner)`, or a function that takes the value and returns
/// the converted one or raises.
#[derive(Debug)]
pub(super) enum Check {
    Any,
    Kinds(u16),
    List(Box<Check>),
    Dict(Box<Check>, Box<Check>),
    Nullable(Box<Check>),
    Convert(Py<PyAny>),
}

/// Why a value was not accepted, and where in it.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// Innermost step first.
    pub(super) path: Vec<String>,
    /// What a converter said; none where the type alone is wrong.
    pub(super) message: Option<String>,
    /// The type that came.
    pub(super) got: String,
}

impl Mismatch {
    fn of(value: &Bound<'_, PyAny>, message: Option<String>) -> Self {
        let got = value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        Self { path: Vec::new(), message, got }
    }

    fn at(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }
}

type Checked<'py> = Result<Option<Bound<'py, PyAny>>, Mismatch>;

impl Check {
    /// The check of a parameter, and whether that wants bytes as they lie in memory: then it is
    /// `("memory", check)`.
    pub(super) fn of_parameter(spec: &Bound<'_, PyAny>) -> PyResult<(Self, bool)> {
        if let Ok((kind, inner)) = spec.extract::<(String, Bound<'_, PyAny>)>()
            && kind == "memory"
        {
            return Ok((Self::new(&inner)?, true));
        }
        Ok((Self::new(spec)?, false))
    }

    pub(super) fn new(spec: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(kinds) = spec.extract::<u16>() {
            return Ok(if kinds == 0 { Self::Any } else { Self::Kinds(kinds) });
        }
        let Ok(spec) = spec.cast::<PyTuple>() else {
            return Ok(Self::Convert(spec.clone().unbind()));
        };
        let inner = |index| Ok::<_, PyErr>(Box::new(Self::new(&spec.get_item(index)?)?));
        match &*spec.get_item(0)?.extract::<String>()? {
            "list" => Ok(Self::List(inner(1)?)),
            "dict" => Ok(Self::Dict(inner(1)?, inner(2)?)),
            "nullable" => Ok(Self::Nullable(inner(1)?)),
            other => Err(pyo3::exceptions::PyValueError::new_err(format!("no check {other:?}"))),
        }
    }

    /// Accepts a value, returning another one to put in its place where it was converted.
    pub(super) fn apply<'py>(&self, value: &Bound<'py, PyAny>) -> Checked<'py> {
        match self {
            Self::Any => Ok(None),
            Self::Kinds(kinds) if kinds & kind_of(value) != 0 => Ok(None),
            Self::Kinds(kinds) if kinds & LIST != 0 => match listed(value) {
                Some(list) => Ok(Some(list.into_any())),
                None => Err(Mismatch::of(value, None)),
            },
            Self::Kinds(_) => Err(Mismatch::of(value, None)),
            Self::Nullable(inner) => {
                if value.is_none() {
                    return Ok(None);
                }
                inner.apply(value)
            }
            Self::List(item) => apply_to_list(value, item),
            Self::Dict(key, item) => apply_to_dict(value, key, item),
            Self::Convert(function) => match function.bind(value.py()).call1((value,)) {
                Ok(converted) => Ok(Some(converted)),
                Err(error) => {
                    let said = error.is_instance_of::<PyException>(value.py());
                    let text = error.value(value.py()).str();
                    let message = match text {
                        Ok(text) if said => text.to_string_lossy().into_owned(),
                        _ => error.to_string(),
                    };
                    Err(Mismatch::of(value, Some(message)))
                }
            },
        }
    }
}

/// The kind of a decoded value; 0 for anything that is no plain type.
fn kind_of(value: &Bound<'_, PyAny>) -> u16 {
    if value.is_exact_instance_of::<PyString>() {
        STR
    } else if value.is_exact_instance_of::<PyInt>() {
        INT
    } else if value.is_exact_instance_of::<PyFloat>() {
        FLOAT
    } else if value.is_none() {
        NONE
    } else if value.is_exact_instance_of::<PyBool>() {
        BOOL
    } else if value.is_exact_instance_of::<PyDict>() {
        DICT
    } else if value.is_exact_instance_of::<PyList>() {
        LIST
    } else if value.is_exact_instance_of::<PyBytes>() {
        BYTES
    } else {
        0
    }
}

/// An array as nested lists, for a parameter that takes nothing else; none if it is no array.
fn listed<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyList>> {
    if kind_of(value) != 0 {
        return None;
    }
    value.call_method0("tolist").ok()?.cast_into().ok()
}

fn apply_to_list<'py>(value: &Bound<'py, PyAny>, item: &Check) -> Checked<'py> {
    let Ok(list) = value.cast_exact::<PyList>() else {
        let Some(list) = listed(value) else {
            return Err(Mismatch::of(value, None));
        };
        let converted = apply_to_list(list.as_any(), item)?;
        return Ok(Some(converted.unwrap_or(list.into_any())));
    };
    for (index, element) in list.iter().enumerate() {
        let checked = item.apply(&element).map_err(|error| error.at(format!("[{index}]")))?;
        if let Some(converted) = checked {
            list.set_item(index, converted)
                .map_err(|error| Mismatch::of(value, Some(error.to_string())))?;
        }
    }
    Ok(None)
}

fn apply_to_dict<'py>(value: &Bound<'py, PyAny>, key: &Check, item: &Check) -> Checked<'py> {
    let Ok(dict) = value.cast_exact::<PyDict>() else {
        return Err(Mismatch::of(value, None));
    };
    let failed = |error: PyErr| Mismatch::of(value, Some(error.to_string()));
    // From a list of its own, because converted entries change the dict.
    for entry in dict.items().iter() {
        let (name, element) =
            entry.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>().map_err(failed)?;
        let step = || name.repr().map_or_else(|_| "[?]".to_owned(), |repr| format!("[{repr}]"));
        let new_key = key.apply(&name).map_err(|error| error.at(format!("key {}", step())))?;
        let new_item = item.apply(&element).map_err(|error| error.at(step()))?;
        if let Some(new_key) = new_key {
            dict.del_item(&name).map_err(failed)?;
            dict.set_item(new_key, new_item.unwrap_or(element)).map_err(failed)?;
        } else if let Some(new_item) = new_item {
            dict.set_item(&name, new_item).map_err(failed)?;
        }
    }
    Ok(None)
}
