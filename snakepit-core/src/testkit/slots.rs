//! Slots that are counted, for workers of tests and examples.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::slots::Slots;

/// Room for a fixed number of calls.
#[derive(Debug)]
pub struct CountedSlots {
    capacity: usize,
    taken: AtomicUsize,
}

impl CountedSlots {
    /// That many free slots; none at all is a worker that takes no calls.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, taken: AtomicUsize::new(0) }
    }
}

impl Slots for CountedSlots {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn load(&self) -> usize {
        // A figure that is out of date as soon as it is read.
        self.taken.load(Ordering::Relaxed)
    }

    fn try_acquire(&self) -> bool {
        let more = |taken| (taken < self.capacity).then_some(taken + 1);
        // Acquire pairs with the Release in `release`: whoever takes a slot sees what its last holder
        // did. A failed attempt learns nothing it acts upon.
        self.taken.fetch_update(Ordering::Acquire, Ordering::Relaxed, more).is_ok()
    }

    fn release(&self) {
        let before = self.taken.fetch_sub(1, Ordering::Release);
        assert!(before > 0, "a slot was given back that nobody had taken");
    }
}
