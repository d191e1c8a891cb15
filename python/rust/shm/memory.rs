//! Memory that Python objects lie over.
//!
//! Owns the kinds of it and where each begins. Invariant: it stays where it is, and mapped, for
//! as long as its owner lives.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use snakepit_shm::RegionUse;

use super::sharing::Lent;

/// Where an object's bytes are.
pub(crate) enum Memory {
    /// What the host has sent.
    Sent(RegionUse),
    /// The first so many bytes of what the host has granted.
    Lent(Arc<Lent>, usize),
    /// A part of it that a payload names which has not left, by its start and length.
    Room(Arc<Lent>, usize, usize),
    /// This process's own.
    Own(Py<PyBytes>),
}

impl Memory {
    pub(super) fn start(&self, py: Python<'_>) -> *const u8 {
        match self {
            Self::Sent(region) => region.as_ptr(),
            Self::Lent(lent, _) => lent.start().cast_const(),
            Self::Room(lent, offset, _) => lent.start().cast_const().wrapping_add(*offset),
            Self::Own(bytes) => bytes.bind(py).as_bytes().as_ptr(),
        }
    }

    pub(super) fn len(&self, py: Python<'_>) -> usize {
        match self {
            Self::Sent(region) => region.len(),
            Self::Lent(_, len) | Self::Room(.., len) => *len,
            Self::Own(bytes) => bytes.bind(py).as_bytes().len(),
        }
    }

    /// Whether Python may write to it now.
    pub(super) fn is_writable(&self) -> bool {
        match self {
            Self::Lent(lent, _) => lent.is_unsent(),
            Self::Room(lent, ..) => lent.is_claimed(),
            Self::Sent(_) | Self::Own(_) => false,
        }
    }
}
