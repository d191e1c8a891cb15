//! Bytes that may lie in shared memory. Owns nothing of how that memory is come by: who placed the
//! bytes says what keeps them there.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

use super::Dtype;
use crate::error::Error;

/// Bytes in memory of their own, or in memory that workers share.
///
/// Clones are of the same bytes. As an argument it arrives in Python as `bytes`, or as a view of the
/// same memory where the tool's hint says so; what lies in shared memory already is not copied on its
/// way. The memory is used again when the last clone is gone and no worker looks at it any more.
#[derive(Clone)]
pub struct Blob {
    bytes: Bytes,
    lease: Option<Arc<dyn Any + Send + Sync>>,
}

impl Blob {
    /// Bytes in shared memory, and what keeps them there: for those who own shared memory.
    pub fn leased(bytes: Bytes, lease: Arc<dyn Any + Send + Sync>) -> Self {
        Self { bytes, lease: Some(lease) }
    }

    /// What keeps the bytes in shared memory; none when they are in memory of their own.
    pub fn lease(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.lease.as_ref()
    }

    /// Whether the bytes lie in shared memory.
    pub fn is_shared(&self) -> bool {
        self.lease.is_some()
    }

    /// The bytes; they keep shared memory in use like the blob does.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// A part of it, in the same memory.
    ///
    /// # Panics
    /// If the range is not within the blob.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self { bytes: self.bytes.slice(range), lease: self.lease.clone() }
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, lease: None }
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_shared() { " in shared memory" } else { "" };
        write!(f, "Blob({} bytes{place})", self.bytes.len())
    }
}

/// Bytes that a worker can be shown and this process does not hold, such as a file's.
///
/// It is an argument and no result. Where it cannot be shown, whoever sends it reads it.
#[derive(Clone)]
pub struct External {
    pub(super) part: Blob,
    pub(super) layout: Option<(Dtype, Vec<usize>)>,
}

impl External {
    /// What `handle` stands for, as bytes or as an array: for those who can show it.
    pub fn new(handle: Arc<dyn Any + Send + Sync>, layout: Option<(Dtype, Vec<usize>)>) -> Self {
        Self { part: Blob::leased(Bytes::new(), handle), layout }
    }
}

/// Shared memory as an encoder of values needs it.
pub trait Store: Send + Sync {
    /// Bytes from this many on are placed.
    fn threshold(&self) -> usize;

    /// Places `len` bytes, which `fill` writes. `None` has them travel inline.
    ///
    /// # Errors
    /// When they may not travel inline either.
    fn place(&self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<Option<Blob>, Error>;
}
