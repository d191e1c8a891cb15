//! What can go wrong with a value, and where in it.
//!
//! Owns the two error types of the codec. Invariant: a path is collected only while an error
//! travels outward, so it costs nothing where nothing goes wrong.

use std::fmt::Write as _;

use pyo3::PyErr;
use snakepit_shm::LayoutError;

/// Payload bytes that are no value.
#[derive(Debug)]
pub(crate) struct DecodeError {
    message: String,
}

impl DecodeError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<PyErr> for DecodeError {
    fn from(error: PyErr) -> Self {
        Self::new(error.to_string())
    }
}

impl From<LayoutError> for DecodeError {
    fn from(error: LayoutError) -> Self {
        Self::new(error.to_string())
    }
}

/// A Python object that has no encoded form, or too large a one.
#[derive(Debug)]
pub(crate) struct EncodeError {
    message: String,
    type_name: Option<String>,
    /// Innermost step first.
    path: Vec<Step>,
    too_large: bool,
    unshared: bool,
}

/// One step from a value to a part of it.
#[derive(Debug)]
pub(super) enum Step {
    Index(usize),
    /// A map key as Python would write it.
    Key(String),
    Field(String),
}

impl EncodeError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            type_name: None,
            path: Vec::new(),
            too_large: false,
            unshared: false,
        }
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("the encoded value is over the payload limit of {limit} bytes");
        Self { too_large: true, ..Self::new(message) }
    }

    /// So many bytes cannot go through shared memory, and are not to go otherwise.
    pub(super) fn unshared(bytes: usize) -> Self {
        let message =
            format!("{bytes} bytes cannot go through shared memory, and the pool is strict");
        Self { unshared: true, ..Self::new(message) }
    }

    pub(super) fn of_type(mut self, type_name: String) -> Self {
        self.type_name = Some(type_name);
        self
    }

    pub(super) fn at(mut self, step: impl FnOnce() -> Step) -> Self {
        // The place where a limit was hit says nothing about the cause.
        if !self.too_large {
            self.path.push(step());
        }
        self
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.too_large
    }

    pub(crate) fn is_unshared(&self) -> bool {
        self.unshared
    }

    /// The offending object's type, where there is one.
    pub(crate) fn type_name(&self) -> Option<&str> {
        self.type_name.as_deref()
    }

    /// Where the offending object is, as a Python expression that starts with `root`.
    pub(crate) fn path(&self, root: &str) -> String {
        let mut text = root.to_owned();
        for step in self.path.iter().rev() {
            // Writing to a String does not fail.
            let _ = match step {
                Step::Index(index) => write!(text, "[{index}]"),
                Step::Key(key) => write!(text, "[{key}]"),
                Step::Field(name) => write!(text, ".{name}"),
            };
        }
        text
    }

    /// One sentence that says what and where.
    pub(crate) fn describe(&self, root: &str) -> String {
        if self.too_large {
            return self.message.clone();
        }
        format!("{}: {}", self.path(root), self.message)
    }
}
