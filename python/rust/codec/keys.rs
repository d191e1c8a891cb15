//! Remembered map keys.
//!
//! Owns a small table of short strings that were map keys before, so that the same key is one
//! Python object instead of one per call. Strings are not interned in the interpreter: interned
//! strings live for ever on some versions, and keys come from outside. Invariant: the table has a
//! fixed size.

use std::hash::Hasher as _;

use pyo3::prelude::*;
use pyo3::types::PyString;
use rustc_hash::FxHasher;

/// Longest key worth remembering.
const MAX_KEY_BYTES: usize = 32;

/// Places in the table; a key's hash decides its place, the newest key has it.
const PLACES: usize = 256;

/// The keys one dispatch thread has met.
#[derive(Default)]
pub(crate) struct KeyCache {
    places: Vec<Option<Entry>>,
}

struct Entry {
    text: Box<[u8]>,
    object: Py<PyString>,
}

impl KeyCache {
    /// The Python string for `text`.
    pub(super) fn get<'py>(
        &mut self,
        py: Python<'py>,
        text: &[u8],
    ) -> PyResult<Bound<'py, PyString>> {
        if text.len() > MAX_KEY_BYTES {
            return PyString::from_bytes(py, text);
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let mut hasher = FxHasher::default();
        hasher.write(text);
        let place = &mut self.places[hasher.finish() as usize % PLACES];
        if let Some(entry) = place
            && *entry.text == *text
        {
            return Ok(entry.object.bind(py).clone());
        }
        let object = PyString::from_bytes(py, text)?;
        *place = Some(Entry { text: text.into(), object: object.clone().unbind() });
        Ok(object)
    }
}
