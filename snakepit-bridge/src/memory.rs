//! Shared memory as the links of one pool use it.
//!
//! Owns what a pool may have of it, from which size on it is used, and what is told of values that go
//! another way. Segments, and who may look at them, are `snakepit-shm`'s.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use snakepit_core::{Blob, Error, ErrorKind, PoolName, Store};
use snakepit_shm::{FileRegion, Lease, Quota, ShmError};

/// What one pool does with shared memory: where its arguments are placed, and what its links may grant.
pub struct Memory {
    pool: PoolName,
    quota: Quota,
    threshold: usize,
    strict: bool,
    counts: Counts,
}

// Independent figures for people; nothing is published through them, so every access is relaxed.
#[derive(Default)]
struct Counts {
    placed: AtomicU64,
    placed_bytes: AtomicU64,
    lent: AtomicU64,
    lent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    fallbacks: AtomicU64,
}

/// How much has gone through a pool's shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryCounts {
    /// Values copied into shared memory on this side.
    pub placed: u64,
    /// Their bytes.
    pub placed_bytes: u64,
    /// Values that workers were shown, placed for it or there already.
    pub lent: u64,
    /// Their bytes.
    pub lent_bytes: u64,
    /// Values that workers have left in shared memory for this side, or handed back as they lay.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Values that had to go inline, or for which a worker was granted no memory.
    pub fallbacks: u64,
}

impl Memory {
    /// A pool's shared memory: arrays and bytes from `threshold` on. `strict` refuses what has to go
    /// inline.
    pub fn new(pool: PoolName, quota: Quota, threshold: usize, strict: bool) -> Self {
        Self { pool, quota, threshold, strict, counts: Counts::default() }
    }

    /// What the pool may have.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Whether what cannot go through shared memory goes nowhere.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// What has gone through it.
    pub fn counts(&self) -> MemoryCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        MemoryCounts {
            placed: read(&counts.placed),
            placed_bytes: read(&counts.placed_bytes),
            lent: read(&counts.lent),
            lent_bytes: read(&counts.lent_bytes),
            received: read(&counts.received),
            received_bytes: read(&counts.received_bytes),
            fallbacks: read(&counts.fallbacks),
        }
    }

    /// Places bytes, which `fill` writes, whatever the threshold.
    ///
    /// # Errors
    /// `ShmUnavailable` with the reason.
    pub fn reserve(&self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<Blob, Error> {
        self.fill(len, fill).map_err(|e| unavailable(&e.to_string()))
    }

    fn fill(&self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<Blob, ShmError> {
        let mut draft = self.quota.draft(len)?;
        fill(&mut draft.as_mut_slice()[..len]);
        self.counts.placed.fetch_add(1, Ordering::Relaxed);
        self.counts.placed_bytes.fetch_add(len as u64, Ordering::Relaxed);
        Ok(blob(draft.freeze(len)))
    }

    pub(crate) fn lent(&self, bytes: u64) {
        self.counts.lent.fetch_add(1, Ordering::Relaxed);
        self.counts.lent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.counts.received.fetch_add(1, Ordering::Relaxed);
        self.counts.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Tells that a value goes inline, or what its caller gets in a strict pool.
    pub(crate) fn fall_back(&self, bytes: u64, reason: &str) -> Result<(), Error> {
        self.counts.fallbacks.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(
            name: "shm.fallback",
            target: "snakepit::shm",
            pool = %self.pool,
            bytes,
            reason,
            refused = self.strict,
            "a value cannot go through shared memory"
        );
        if self.strict { Err(unavailable(reason)) } else { Ok(()) }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, threshold, strict, .. } = self;
        write!(f, "Memory({pool}, from {threshold} bytes on, strict: {strict})")
    }
}

impl Store for Memory {
    fn threshold(&self) -> usize {
        self.threshold
    }

    fn place(&self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<Option<Blob>, Error> {
        match self.fill(len, fill) {
            Ok(blob) => Ok(Some(blob)),
            Err(error) => self.fall_back(len as u64, &error.to_string()).map(|()| None),
        }
    }
}

/// The error of a value that cannot go through shared memory.
pub(crate) fn unavailable(reason: &str) -> Error {
    Error::new(
        ErrorKind::ShmUnavailable,
        format!("the value cannot go through shared memory: {reason}"),
    )
    .with_help(
        "drop results that hold shared memory, raise `shm.quota`, or set `shm.mode` to \"auto\"",
    )
}

/// What a lease keeps, as a value has it.
pub(crate) fn blob(lease: Lease) -> Blob {
    Blob::leased(lease.clone().into_bytes(), Arc::new(lease))
}

/// The file that a part stands for; none if it is bytes.
pub(crate) fn file(blob: &Blob) -> Option<&FileRegion> {
    blob.lease()?.downcast_ref()
}

/// The lease that a value in shared memory stands on; none if it is not in memory of ours.
pub(crate) fn lease(blob: &Blob) -> Option<Lease> {
    let whole = blob.lease()?.downcast_ref::<Lease>()?;
    let start = blob.as_ptr().addr().checked_sub(whole.as_slice().as_ptr().addr())?;
    let end = start.checked_add(blob.len()).filter(|end| *end <= whole.len())?;
    Some(whole.slice(start..end))
}
