//! Showing the host what this process is doing, whatever it is doing.
//!
//! Owns the signal at which Python's faulthandler writes every thread's stack to the liveness
//! socket, and the byte that ends a dump. The worker registers faulthandler for it, chained to the
//! handler here. All of it runs in signal handlers, so it works while a tool holds the GIL.
#![expect(unsafe_code, reason = "signal handlers and calls that are safe in them")]

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use pyo3::prelude::*;

use crate::death;

/// Ends a dump; no line of one contains it.
const END: u8 = 0;

/// A thread is following requests.
static ANSWERING: AtomicBool = AtomicBool::new(false);

/// The signal: beside the one that says that the host is gone.
pub(crate) fn signal() -> libc::c_int {
    death::signal() + 1
}

/// Has dumps end, and asks for one that nobody registered for come to nothing.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn install() -> io::Result<()> {
    start_afresh();
    death::handle(signal(), on_signal)
}

/// In a fresh process: forked while another thread was at it, nobody is any more.
pub(crate) fn start_afresh() {
    ANSWERING.store(false, Ordering::SeqCst);
}

/// Has faulthandler write every thread's stack to the liveness socket when the host asks for it, and
/// then say that this was all. To be called after [`install`]; processes that are forked from this one
/// do the same, if their socket has the same number.
#[pyfunction]
pub(crate) fn show_stacks(py: Python<'_>, liveness_fd: RawFd) -> PyResult<()> {
    // Of all threads, and chained to what was there before.
    py.import("faulthandler")?.call_method1("register", (signal(), liveness_fd, true, true))?;
    Ok(())
}

/// Follows what the host has written, each byte a request. Safe in a signal handler.
///
/// One thread at a time: faulthandler is not registered while what it is chained to runs, and the
/// next request's signal may come to another thread then. Whoever finds somebody at it leaves the
/// request to them.
pub(crate) fn answer(socket: RawFd) {
    while is_asked(socket, libc::MSG_PEEK) && !ANSWERING.swap(true, Ordering::SeqCst) {
        while is_asked(socket, 0) {
            // SAFETY: it runs faulthandler, which is made to run in signal handlers, and
            // `on_signal`.
            unsafe { libc::raise(signal()) };
        }
        // What came after the last look was left to this thread, so it looks once more.
        ANSWERING.store(false, Ordering::SeqCst);
    }
}

/// Whether there is a request; takes it unless told to peek.
fn is_asked(socket: RawFd, flags: libc::c_int) -> bool {
    let mut request = [0_u8];
    // SAFETY: the buffer is as long as it says, and nobody else knows it.
    let read = unsafe {
        let flags = flags | libc::MSG_DONTWAIT;
        libc::recv(socket, request.as_mut_ptr().cast(), request.len(), flags)
    };
    read > 0
}

/// Runs after faulthandler, which chains to it.
extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let end = [END];
    // A host that is gone reads nothing; its end is another signal's business.
    // SAFETY: the buffer is as long as it says and is only read.
    unsafe { libc::send(death::socket(), end.as_ptr().cast(), end.len(), libc::MSG_NOSIGNAL) };
}
