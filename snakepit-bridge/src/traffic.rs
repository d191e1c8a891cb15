//! How many frames have crossed a server's links: what benchmarks count, and nothing depends on.

use std::sync::atomic::{AtomicU64, Ordering};

/// Frames over all links of a server so far, fragments and heartbeats included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frames {
    /// From the host to workers.
    pub sent: u64,
    /// From workers to the host.
    pub received: u64,
}

/// Sums for people: independent of each other, and nothing is published through them, so every
/// access is relaxed.
#[derive(Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn frames(&self) -> Frames {
        Frames {
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}
