//! Showing the host what this process is doing, whatever it is doing.
//!
//! Owns the signal at which Python's faulthandler writes every thread's stack to the liveness
//! socket, and the byte that ends a dump. The worker registers faulthandler for it, chained to the
//! handler here. All of it runs in signal handlers, so it works while a tool holds the GIL.
#![expect(unsafe_code, reason = "signal handlers and calls that are safe in them")]

use std::io;
use std::os::fd::RawFd;

use nix::libc;

use crate::death;

/// Ends a dump; no line of one contains it.
const END: u8 = 0;

/// The signal: beside the one that says that the host is gone.
pub(crate) fn signal() -> libc::c_int {
    death::signal() + 1
}

/// Has dumps end, and asks for one that nobody registered for come to nothing.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn install() -> io::Result<()> {
    death::handle(signal(), on_signal)
}

/// Takes what the host has written, each byte a request, and follows it. Safe in a signal handler.
pub(crate) fn answer(socket: RawFd) {
    let mut requests = [0_u8; 16];
    // SAFETY: the buffer is as long as it says, and nobody else knows it.
    let read = unsafe {
        libc::recv(socket, requests.as_mut_ptr().cast(), requests.len(), libc::MSG_DONTWAIT)
    };
    if read > 0 {
        // SAFETY: it runs faulthandler, which is made to run in signal handlers, and `on_signal`.
        unsafe { libc::raise(signal()) };
    }
}

/// Runs after faulthandler, which chains to it.
extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let end = [END];
    // A host that is gone reads nothing; its end is another signal's business.
    // SAFETY: the buffer is as long as it says and is only read.
    unsafe { libc::send(death::socket(), end.as_ptr().cast(), end.len(), libc::MSG_NOSIGNAL) };
}
