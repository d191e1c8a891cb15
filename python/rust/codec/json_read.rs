//! JSON text to Python objects.
//!
//! Owns reading of the format. Invariant: nesting is limited by the parser (128 levels). Integers
//! beyond 64 bits become floats, as everywhere in serde's JSON.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::DecodeError;
use super::parts::{Parts, total_len};

/// Reads exactly one value.
pub(super) fn read<'py>(
    py: Python<'py>,
    parts: &[Bytes],
) -> Result<Bound<'py, PyAny>, DecodeError> {
    let text = Parts::new(parts).take(total_len(parts)).unwrap_or(Cow::Borrowed(&[]));
    let mut deserializer = serde_json::Deserializer::from_slice(&text);
    Object(py)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| DecodeError::new(error.to_string()))
}

/// Makes one Python object of whatever comes.
#[derive(Clone, Copy)]
struct Object<'py>(Python<'py>);

impl<'de, 'py> DeserializeSeed<'de> for Object<'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 'py> Visitor<'de> for Object<'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.0.None().into_bound(self.0))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(PyBool::new(self.0, value).to_owned().into_any())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.0, value).into_any())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.0, value).into_any())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(PyFloat::new(self.0, value).into_any())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(PyString::new(self.0, value).into_any())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let list = PyList::empty(self.0);
        while let Some(element) = access.next_element_seed(self)? {
            list.append(element).map_err(A::Error::custom)?;
        }
        Ok(list.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let map = PyDict::new(self.0);
        while let Some(key) = access.next_key_seed(self)? {
            let value = access.next_value_seed(self)?;
            map.set_item(key, value).map_err(A::Error::custom)?;
        }
        Ok(map.into_any())
    }
}
