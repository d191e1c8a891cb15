//! The heap of a process that is about to be forked many times.
//!
//! Owns filling its holes. A child writes to every page it finds room on, and each such page is then
//! its own: with room all over an inherited heap, small allocations cost a page each. Without it
//! they come from new memory, one after the other.
#![expect(unsafe_code, reason = "asks the C library for memory that is never given back")]

use nix::libc;
use pyo3::pyfunction;

/// Sizes of the larger blocks that holes are filled with, in bytes.
const LARGE: [usize; 5] = [65_536, 16_384, 8_192, 4_096, 2_048];

/// From there on down each size that has a list of its own, in steps of [`GRAIN`] (malloc(3), tcache):
/// so many of them, down to 24 bytes.
const SMALLER: usize = 64;

const GRAIN: usize = 16;

/// Blocks of one size that come from the heap's end before its holes of that size are taken to be
/// full: there are several lists of them (malloc(3), tcache and bins).
const MISSES: usize = 3;

/// Most that is spent on it. What is filled is memory that nobody used, and all children share it.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Takes what is free inside the heap and keeps it for good.
#[pyfunction]
pub(crate) fn fill_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: gives free memory back to the system and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: with zero it only says where the heap ends.
    let end = unsafe { libc::sbrk(0) } as usize;
    let mut spent = 0;
    let small = (0..SMALLER).rev().map(|step| 24 + step * GRAIN);
    for size in LARGE.into_iter().chain(small) {
        let mut misses = 0;
        while misses < MISSES && spent < MOST_BYTES {
            // SAFETY: any size may be asked for, and nobody uses the answer as memory.
            let block = unsafe { libc::malloc(size) } as usize;
            spent += size;
            // Another region, or none at all, is as good as the end.
            misses += usize::from(block >= end || block == 0);
        }
    }
}
