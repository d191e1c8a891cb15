//! Arrow's record batches, by way of pyarrow.
//!
//! Owns when there are some: pyarrow is never imported for them. What is done with it is said in
//! Python, in `snakepit._arrow`. Invariant: a stream is written once, to where it stays, and read where
//! it lies.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use snakepit_shm::Content;

use super::buffer::Buffer;
use super::memory::Memory;
use super::sharing::Lent;
use super::source::{Piece, Source, loaded};

/// The record batches of a stream, where the adapter has imported pyarrow; else the stream as it is.
pub(crate) fn read<'py>(stream: &Bound<'py, Buffer>) -> PyResult<Bound<'py, PyAny>> {
    match helpers(stream.py())? {
        Some(helpers) => helpers.call_method1(intern!(stream.py(), "table_in"), (stream,)),
        None => Ok(stream.clone().into_any()),
    }
}

/// What is done with pyarrow; none where that is not imported.
fn helpers(py: Python<'_>) -> PyResult<Option<Bound<'_, PyModule>>> {
    match loaded(py, "pyarrow", "Table")? {
        Some(_) => py.import(intern!(py, "snakepit._arrow")).map(Some),
        None => Ok(None),
    }
}

/// Record batches on their way out.
pub(crate) struct Batches<'py> {
    helpers: Bound<'py, PyModule>,
    table: Bound<'py, PyAny>,
    /// Of the stream.
    len: usize,
}

impl<'py> Batches<'py> {
    /// What an object has to give; none where pyarrow is not imported, or it gives a single column.
    pub(crate) fn of(value: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        let py = value.py();
        let Some(helpers) = helpers(py)? else {
            return Ok(None);
        };
        let table = helpers.call_method1(intern!(py, "table_of"), (value,))?;
        if table.is_none() {
            return Ok(None);
        }
        let len = helpers.call_method1(intern!(py, "stream_bytes"), (&table,))?.extract()?;
        Ok(Some(Self { helpers, table, len }))
    }
}

impl Piece for Batches<'_> {
    fn content(&self) -> Content {
        Content::Arrow
    }

    fn len(&self) -> usize {
        self.len
    }

    fn place(&self) -> Option<usize> {
        None
    }

    fn copy_to(&self, py: Python<'_>, lent: &Arc<Lent>, offset: usize) -> PyResult<()> {
        debug_assert!(offset + self.len <= lent.len());
        let room = Buffer::of_bytes(py, Memory::Room(Arc::clone(lent), offset, self.len));
        self.helpers.call_method1(intern!(py, "write"), (&self.table, Bound::new(py, room)?))?;
        Ok(())
    }

    fn append_to(&self, py: Python<'_>, out: &mut Vec<u8>) -> PyResult<()> {
        let stream = self.helpers.call_method1(intern!(py, "stream"), (&self.table,))?;
        Source::bytes(&stream)?.append_to(py, out)
    }
}
