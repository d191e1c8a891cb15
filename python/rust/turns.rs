//! Turns on the processor.
//!
//! A thread that runs small calls works for microseconds and sleeps until the next one, beside others
//! that compute for long, such as a worker that starts. Owns how the two get along: who starts gives
//! way (`SCHED_BATCH`: nobody's turn ends because it has woken), and who runs calls takes short turns
//! (`sched_runtime`, from Linux 6.12 on), so that it need not wait for the end of somebody else's.
//! Neither changes anybody's share of the processor. Invariant: what an adapter's code starts, unless
//! in a hook of a fork, is not told to give way. Where the system refuses, nothing changes.
#![expect(unsafe_code, reason = "the C library has no functions for these system calls")]

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::{self, SCHED_BATCH, SCHED_OTHER, sched_attr};
use pyo3::pyfunction;

/// The shortest turn that Linux grants.
const TURN_NS: u64 = 100_000;

/// Threads of the ordinary policy give way. Not set where the whole process was started to do so.
static GIVING_WAY: AtomicBool = AtomicBool::new(false);

/// Has the calling thread, and what it starts, give way. For a process with one thread.
pub(crate) fn give_way() {
    change(|attributes| {
        if attributes.sched_policy == SCHED_OTHER as u32 {
            attributes.sched_policy = SCHED_BATCH as u32;
            GIVING_WAY.store(true, Ordering::Relaxed);
        }
    });
}

/// Takes that back, for this thread and what it starts.
#[pyfunction]
pub(crate) fn compete() {
    if GIVING_WAY.load(Ordering::Relaxed) {
        change(compete_again);
    }
}

/// Has the calling thread, and what it starts, take short turns, and compete for them.
pub(crate) fn keep_short() {
    change(|attributes| {
        compete_again(attributes);
        attributes.sched_runtime = TURN_NS;
    });
}

fn compete_again(attributes: &mut sched_attr) {
    if GIVING_WAY.load(Ordering::Relaxed) {
        attributes.sched_policy = SCHED_OTHER as u32;
    }
}

/// Changes how the calling thread is scheduled, if that is in one of the two ordinary ways.
fn change(how: impl FnOnce(&mut sched_attr)) {
    const SIZE: usize = mem::size_of::<sched_attr>();
    // SAFETY: plain integers, for which zero is a value.
    let mut attributes: sched_attr = unsafe { mem::zeroed() };
    // SAFETY: writes so many bytes, the calling thread's attributes, to what is so large.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    let policy = attributes.sched_policy as i32;
    // Of other policies the fields say something else.
    if read != 0 || ![SCHED_OTHER, SCHED_BATCH].contains(&policy) {
        return;
    }
    attributes.size = SIZE as u32;
    how(&mut attributes);
    // SAFETY: reads the attributes, which live until after the call.
    let _refused = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
