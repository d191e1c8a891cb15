//! Tools: what can be called, and how arguments are fitted to it.
//!
//! Owns the Python class that discovery makes of each tool, with its precompiled parameters. It
//! runs nothing. Invariant: a tool does not change after it was made.

mod check;
mod refusal;
mod signature;

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use snakepit_proto::v1;

pub(crate) use check::KINDS;
pub(crate) use refusal::{ArgumentsError, Refusal, nearest};
use signature::Signature;

use crate::codec::Place;

/// What calling a tool's function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Function,
    Coroutine,
    Generator,
    AsyncGenerator,
    /// A value, or a generator of either sort where the call asks for a stream.
    Either {
        /// Whether it usually streams.
        streams: bool,
    },
}

impl Kind {
    pub(crate) fn is_streaming(self) -> bool {
        matches!(self, Self::Generator | Self::AsyncGenerator | Self::Either { streams: true })
    }

    /// Whether it can answer a call for a stream, or for one value.
    pub(crate) fn fits(self, streaming: bool) -> bool {
        self.is_either() || self.is_streaming() == streaming
    }

    pub(crate) fn is_either(self) -> bool {
        matches!(self, Self::Either { .. })
    }
}

impl<'py> FromPyObject<'_, 'py> for Kind {
    type Error = PyErr;

    fn extract(text: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match &*text.extract::<String>()? {
            "function" => Ok(Self::Function),
            "coroutine" => Ok(Self::Coroutine),
            "generator" => Ok(Self::Generator),
            "async_generator" => Ok(Self::AsyncGenerator),
            "either" => Ok(Self::Either { streams: false }),
            "either_streaming" => Ok(Self::Either { streams: true }),
            other => {
                Err(pyo3::exceptions::PyValueError::new_err(format!("unknown tool kind {other:?}")))
            }
        }
    }
}

/// The name of the tool that takes the calls for which there is no other.
pub(crate) const ANY_NAME: &str = "*";

/// One function that can be called by name.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct Tool {
    #[pyo3(get)]
    pub(crate) name: String,
    /// The function, bound to its adapter.
    #[pyo3(get)]
    pub(crate) function: Py<PyAny>,
    pub(crate) kind: Kind,
    #[pyo3(get)]
    description: String,
    #[pyo3(get)]
    parameters_schema: String,
    #[pyo3(get)]
    returns_schema: String,
    signature: Arc<Signature>,
}

#[pymethods]
impl Tool {
    /// `parameters` holds one tuple `(name, kind, required, check, expected)` for each parameter,
    /// where `kind` counts as in `inspect.Parameter` and `check` is as `Check` reads it.
    #[new]
    #[pyo3(signature = (name, function, kind, parameters, *, description="", parameters_schema="{}", returns_schema=""))]
    fn new(
        name: String,
        function: Py<PyAny>,
        kind: Kind,
        parameters: &Bound<'_, PyAny>,
        description: &str,
        parameters_schema: &str,
        returns_schema: &str,
    ) -> PyResult<Self> {
        Ok(Self {
            name,
            function,
            kind,
            description: description.to_owned(),
            parameters_schema: parameters_schema.to_owned(),
            returns_schema: returns_schema.to_owned(),
            signature: Arc::new(Signature::new(parameters)?),
        })
    }

    /// The same tool with its function bound to another object.
    fn bound_to(&self, function: Py<PyAny>) -> Self {
        Self {
            name: self.name.clone(),
            function,
            kind: self.kind,
            description: self.description.clone(),
            parameters_schema: self.parameters_schema.clone(),
            returns_schema: self.returns_schema.clone(),
            signature: self.signature.clone(),
        }
    }

    /// Whether calling it yields a stream of chunks.
    #[getter]
    fn streaming(&self) -> bool {
        self.kind.is_streaming()
    }

    /// Whether it takes calls for a stream as well as for one value.
    #[getter]
    fn either(&self) -> bool {
        self.kind.is_either()
    }

    /// Whether it needs an event loop.
    #[getter]
    fn is_async(&self) -> bool {
        matches!(self.kind, Kind::Coroutine | Kind::AsyncGenerator)
    }

    /// Fits decoded arguments to the parameters, as a call does. A `dict` or `list` that is
    /// passed in may be changed.
    #[pyo3(name = "bind")]
    fn bind_py<'py>(
        &self,
        arguments: Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let py = arguments.py();
        let (args, kwargs) =
            self.bind(arguments).map_err(|refusal| refusal.into_exception(py, &self.name))?;
        Ok((args, kwargs.unwrap_or_else(|| PyDict::new(py))))
    }

    fn __repr__(&self) -> String {
        format!("<Tool {}>", self.name)
    }
}

/// Positional and keyword arguments of one call.
pub(crate) type Bindings<'py> = (Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>);

impl Tool {
    pub(crate) fn bind<'py>(&self, arguments: Bound<'py, PyAny>) -> Result<Bindings<'py>, Refusal> {
        self.signature.bind(arguments)
    }

    /// Whether a parameter takes bytes as they lie in memory.
    pub(crate) fn takes_memory(&self, place: Place<'_>) -> bool {
        self.signature.takes_memory(place)
    }

    /// The tool as the host is told of it.
    pub(crate) fn describe(&self) -> v1::Tool {
        v1::Tool {
            name: self.name.clone(),
            description: self.description.clone(),
            parameters_schema: self.parameters_schema.clone(),
            returns_schema: self.returns_schema.clone(),
            streaming: self.kind.is_streaming(),
        }
    }
}
