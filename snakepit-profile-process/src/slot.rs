//! Room for exactly one call, and what that means for the worker.

use std::sync::Arc;

use snakepit_core::{CallId, Slots};
use snakepit_worker::{Manner, Stuck};

use crate::sync::{AtomicBool, Ordering};

/// Name of the profile.
pub(crate) const PROFILE: &str = "process";

/// The manner of a worker that runs one call at a time: a call that is stuck is all there is in it.
pub(crate) struct OneCall(Arc<dyn Slots>);

impl OneCall {
    pub(crate) fn new() -> Self {
        Self(Arc::new(SingleSlot::new()))
    }
}

impl Manner for OneCall {
    fn profile(&self) -> &'static str {
        PROFILE
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        &self.0
    }

    fn stuck(&self, _: CallId) -> Stuck {
        Stuck::End
    }
}

/// The slot of a worker that runs one call at a time.
#[derive(Debug)]
pub struct SingleSlot {
    taken: AtomicBool,
}

impl SingleSlot {
    /// A free slot.
    pub fn new() -> Self {
        Self { taken: AtomicBool::new(false) }
    }
}

impl Default for SingleSlot {
    fn default() -> Self {
        Self::new()
    }
}

impl Slots for SingleSlot {
    fn capacity(&self) -> usize {
        1
    }

    fn load(&self) -> usize {
        // A figure for choosing among workers; it is out of date as soon as it is read, so no
        // ordering could make it worth more.
        usize::from(self.taken.load(Ordering::Relaxed))
    }

    fn try_acquire(&self) -> bool {
        // Acquire pairs with the Release in `release`: whoever takes the slot sees what its last
        // holder did. A failed attempt learns nothing it acts upon, so it is relaxed.
        self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn release(&self) {
        // Release: see `try_acquire`. Only the holder calls this, so a plain store is enough.
        self.taken.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(snakepit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_call_at_a_time() {
        let slot = SingleSlot::new();
        assert_eq!((slot.capacity(), slot.load()), (1, 0));
        assert!(slot.try_acquire());
        assert!(!slot.try_acquire());
        assert_eq!(slot.load(), 1);
        slot.release();
        assert!(slot.try_acquire());
    }
}

#[cfg(all(test, snakepit_loom))]
mod loom_models {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    use super::*;

    /// What a holder does while it holds the slot; loom fails the model if two do it at the same
    /// time, or if one does not see what the one before it did.
    struct Guarded {
        slot: SingleSlot,
        visits: UnsafeCell<usize>,
    }

    impl Guarded {
        fn visit(&self) -> usize {
            if !self.slot.try_acquire() {
                return 0;
            }
            #[expect(unsafe_code, reason = "the exclusive access that the model checks")]
            // SAFETY: the slot is held; that this excludes everybody else is the model's claim.
            self.visits.with_mut(|visits| unsafe { *visits += 1 });
            self.slot.release();
            1
        }
    }

    #[test]
    fn a_slot_is_never_held_twice_and_its_holders_see_each_other() {
        loom::model(|| {
            let guarded = Arc::new(Guarded { slot: SingleSlot::new(), visits: UnsafeCell::new(0) });
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let guarded = Arc::clone(&guarded);
                    loom::thread::spawn(move || guarded.visit())
                })
                .collect();
            let mut visits = guarded.visit();
            visits += others.into_iter().map(|other| other.join().unwrap()).sum::<usize>();
            assert!(visits >= 1, "a free slot was refused to everybody");
            assert_eq!(guarded.slot.load(), 0);
            assert!(guarded.slot.try_acquire());
            #[expect(unsafe_code, reason = "the exclusive access that the model checks")]
            // SAFETY: the slot is held and the other threads have ended.
            let seen = guarded.visits.with(|seen| unsafe { *seen });
            assert_eq!(seen, visits);
        });
    }
}
