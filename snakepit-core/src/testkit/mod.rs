//! For tests of pools, supervisors and profiles: workers whose every answer a test decides, a
//! profile whose starts succeed, fail or hang as scripted, calls made without a pool, events as text,
//! and the [`conformance`] suite that every profile passes. With the feature `testkit`; nothing that serves
//! calls depends on it.
//!
//! What does not go as a test expects panics, with a sentence that says what was expected.

mod calls;
pub mod conformance;
mod profile;
mod slots;
mod told;
mod worker;

pub use calls::{Calls, InFlight, LONG};
pub use profile::{FakeProfile, Ready, Start};
pub use slots::CountedSlots;
pub use told::Told;
pub use worker::FakeWorker;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A test that has failed while it held a lock has said why; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
