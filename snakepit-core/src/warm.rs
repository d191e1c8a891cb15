//! Memory for large payloads that stays with the process between them.
//!
//! Owns spare buffers and how a growing one is exchanged for a larger one; knows no codec. Memory
//! of this size that an allocator gives back to the system comes again page by page, and the page
//! faults cost more than the copy into it. Invariant: what is kept never exceeds [`KEPT_BYTES`].

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Below this size allocators keep memory by themselves: glibc gives blocks of 128 KiB back.
const SMALLEST_BYTES: usize = 64 * 1024;

/// Spare memory of the whole process. A payload larger than this gains nothing: it does not fit
/// into the processor's caches either.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Shared by all threads: encoding and the end of a payload are rarely on the same one.
static SPARE: Mutex<Spare> = Mutex::new(Spare { buffers: Vec::new(), bytes: 0 });

struct Spare {
    buffers: Vec<Vec<u8>>,
    /// Their capacities together.
    bytes: usize,
}

impl Spare {
    /// The smallest buffer that is large enough.
    fn take(&mut self, capacity: usize) -> Option<Vec<u8>> {
        let fitting = self.buffers.iter().enumerate().filter(|(_, b)| b.capacity() >= capacity);
        let (index, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
        let buffer = self.buffers.swap_remove(index);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps a buffer if there is room; else it comes back.
    fn keep(&mut self, mut buffer: Vec<u8>) -> Option<Vec<u8>> {
        if self.bytes + buffer.capacity() > KEPT_BYTES {
            return Some(buffer);
        }
        buffer.clear();
        self.bytes += buffer.capacity();
        self.buffers.push(buffer);
        None
    }
}

fn spare() -> MutexGuard<'static, Spare> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer that joins the spare ones when it is dropped, if it is of their kind.
#[derive(Debug, Default)]
pub(crate) struct Warm(Vec<u8>);

impl Warm {
    /// An empty buffer with at least this capacity.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        if capacity < SMALLEST_BYTES {
            return Self(Vec::with_capacity(capacity));
        }
        let kept = spare().take(capacity);
        // Powers of two, so that payloads of about one size can use each other's buffers.
        Self(kept.unwrap_or_else(|| {
            Vec::with_capacity(capacity.checked_next_power_of_two().unwrap_or(capacity))
        }))
    }

    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.0.capacity() - self.0.len() < bytes.len() {
            self.grow(bytes.len());
        }
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn freeze(mut self) -> Bytes {
        if self.0.capacity() < SMALLEST_BYTES {
            std::mem::take(&mut self.0).into()
        } else {
            Bytes::from_owner(self)
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let capacity = (self.0.len() + more).max(2 * self.0.capacity());
        if capacity > KEPT_BYTES {
            // The system moves memory of this size without a copy.
            self.0.reserve(more);
            return;
        }
        let mut larger = Self::with_capacity(capacity);
        larger.0.extend_from_slice(&self.0);
        *self = larger;
    }
}

impl AsRef<[u8]> for Warm {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for Warm {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.push(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        if self.0.capacity() >= SMALLEST_BYTES {
            let refused = spare().keep(std::mem::take(&mut self.0));
            // Not under the lock: to give memory back takes the system a while.
            drop(refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn spare_memory_is_bounded_and_the_closest_fit_is_used() {
        let mut spare = Spare { buffers: Vec::new(), bytes: 0 };
        for capacity in [SMALLEST_BYTES, 8 * SMALLEST_BYTES, 2 * SMALLEST_BYTES] {
            assert!(spare.keep(Vec::with_capacity(capacity)).is_none());
        }
        assert!(spare.keep(Vec::with_capacity(KEPT_BYTES)).is_some(), "over the limit");
        assert_eq!(spare.take(SMALLEST_BYTES + 1).unwrap().capacity(), 2 * SMALLEST_BYTES);
        assert!(spare.take(9 * SMALLEST_BYTES).is_none());
        assert_eq!(spare.bytes, 9 * SMALLEST_BYTES);
    }

    #[test]
    fn what_is_written_survives_every_exchange() {
        let mut out = Warm::default();
        let mut expected = Vec::new();
        for n in 0_u32..60_000 {
            out.write_all(&n.to_le_bytes()).unwrap();
            expected.extend_from_slice(&n.to_le_bytes());
        }
        assert_eq!(out.freeze(), expected);
    }
}
