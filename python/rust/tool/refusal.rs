//! Arguments that do not fit.
//!
//! Owns the refusal, its Python exception and the nearest-name hint. Invariant: a refusal names
//! the parameter it is about wherever there is one.

use pyo3::create_exception;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

create_exception!(
    snakepit,
    ArgumentsError,
    PyTypeError,
    "The arguments do not fit the tool's parameters; `parameter` names the one it is about."
);

/// Why arguments were not accepted.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// One sentence.
    pub(crate) message: String,
    /// What to do about it; may be empty.
    pub(crate) help: String,
    /// The parameter; empty if it is about none.
    pub(crate) parameter: String,
    /// What the parameter takes; may be empty.
    pub(crate) expected: String,
}

impl Refusal {
    pub(super) fn new(message: String) -> Self {
        Self { message, help: String::new(), parameter: String::new(), expected: String::new() }
    }

    pub(super) fn about(self, parameter: &str) -> Self {
        Self { parameter: parameter.to_owned(), ..self }
    }

    pub(super) fn help(self, help: String) -> Self {
        Self { help, ..self }
    }

    pub(super) fn into_exception(self, py: Python<'_>, tool: &str) -> PyErr {
        let mut message = format!("`{tool}`: {}", self.message);
        if !self.help.is_empty() {
            message = format!("{message}; {}", self.help);
        }
        let error = ArgumentsError::new_err(message);
        match error.value(py).setattr("parameter", self.parameter) {
            Ok(()) => error,
            Err(other) => other,
        }
    }
}

/// Python itself failed while arguments were looked at, for want of memory for instance.
impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Self::new(error.to_string())
    }
}

/// The candidate that `name` was most likely meant to be.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // A third of the letters wrong is a typing error; more is another word.
    let limit = name.chars().count().max(3) / 3;
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        // Something of the name has to be left.
        .filter(|(distance, candidate)| {
            *distance <= limit && *distance < name.len().max(candidate.len())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
