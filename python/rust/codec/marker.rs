//! The marker: what stands for a value that has no plain form.
//!
//! Owns its Python class and the text it shows of the value. Invariant: that text is short, and
//! what sounds like a secret is not in it.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::redact::redact;

/// Longest `repr` that is sent along, in characters.
const MAX_REPR_CHARS: usize = 200;

/// Stands for a value that could not cross: its type's name and a shortened `repr`.
#[pyclass(frozen, eq, hash, module = "snakepit")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Marker {
    /// Qualified name of the type.
    #[pyo3(get, name = "type")]
    pub(crate) type_name: String,
    /// Shortened `repr` of the value.
    #[pyo3(get, name = "repr")]
    pub(crate) repr: String,
}

#[pymethods]
impl Marker {
    #[new]
    fn new(r#type: String, repr: String) -> Self {
        Self { type_name: r#type, repr }
    }

    fn __repr__(&self) -> String {
        format!("Marker({:?}, {:?})", self.type_name, self.repr)
    }
}

impl Marker {
    /// The marker of an object.
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> Self {
        let repr = value
            .repr()
            .map_or_else(|_| "<repr failed>".to_owned(), |repr| shown(&repr.to_string_lossy()));
        Self { type_name: type_name(&value.get_type()), repr }
    }
}

/// The type's name with its module, which is left out for builtins.
pub(crate) fn type_name(ty: &Bound<'_, PyType>) -> String {
    let name = ty.qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    match ty.module() {
        Ok(module) if module.to_string_lossy() != "builtins" => format!("{module}.{name}"),
        _ => name,
    }
}

/// A `repr` as it may be shown: short, and without secrets.
pub(crate) fn shown(repr: &str) -> String {
    // Secrets are looked for beyond what is shown, as one that is cut off has lost its end.
    let looked_at =
        repr.char_indices().nth(8 * MAX_REPR_CHARS).map_or(repr, |(end, _)| &repr[..end]);
    let redacted = redact(looked_at);
    match redacted.char_indices().nth(MAX_REPR_CHARS) {
        Some((end, _)) => format!("{}…", &redacted[..end]),
        None => redacted,
    }
}
