//! Slots: room for calls inside one worker. A profile brings its own tracker; the engine acquires
//! from it and keeps no count beside it.

use std::fmt;
use std::sync::Arc;

/// Counts the slots of one worker. Implementations are lock-free or nearly so, and never hand out
/// more than `capacity`.
pub trait Slots: Send + Sync + 'static {
    /// How many calls may run at a time.
    fn capacity(&self) -> usize;

    /// How many slots are taken.
    fn load(&self) -> usize;

    /// Takes a slot if one is free.
    fn try_acquire(&self) -> bool;

    /// Gives a taken slot back.
    fn release(&self);
}

/// A taken slot; dropping it gives the slot back.
#[must_use = "dropping a lease gives its slot back"]
pub struct Lease(Arc<dyn Slots>);

impl Lease {
    /// Takes a slot if one is free.
    pub fn acquire(slots: &Arc<dyn Slots>) -> Option<Self> {
        slots.try_acquire().then(|| Self(Arc::clone(slots)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({}/{} taken)", self.0.load(), self.0.capacity())
    }
}
