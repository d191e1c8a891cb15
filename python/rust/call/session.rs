//! One session, as this worker knows it.
//!
//! Owns what its tools keep for it. Which sessions there are is the link's business. Invariant: two
//! sessions that bear one id, one after the other, have nothing in common.

use std::fmt;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// A session that had a call here and has not ended.
pub(crate) struct Session {
    pub(crate) id: String,
    /// Made when a tool first asks for it.
    storage: PyOnceLock<Py<PyDict>>,
}

impl Session {
    pub(crate) fn new(id: String) -> Self {
        Self { id, storage: PyOnceLock::new() }
    }

    /// A session without a host, for tests of adapters.
    pub(crate) fn of(py: Python<'_>, id: String, storage: Py<PyDict>) -> Self {
        let session = Self::new(id);
        // It is new, so there is nothing in it.
        let _ = session.storage.set(py, storage);
        session
    }

    /// What tools keep for the session.
    pub(crate) fn storage(&self, py: Python<'_>) -> Py<PyDict> {
        self.storage.get_or_init(py, || PyDict::new(py).unbind()).clone_ref(py)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}
