//! This process: inherited descriptors and ways to end.
//!
//! Owns the few system calls that need `unsafe`. Invariant: a worker that has lost its host takes
//! its whole process group with it, so nothing it started stays behind.
#![expect(unsafe_code, reason = "adopts inherited descriptors and leaves without exit handlers")]

use std::ffi::CStr;
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, pthread_sigmask};
use nix::unistd::{getpgrp, getpid};
use pyo3::exceptions::{PyAttributeError, PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::death;

/// Exit code after the host has gone.
const EXIT_HOST_GONE: i32 = 5;

/// Exit code after the host or this worker broke the link's rules.
const EXIT_BROKEN_LINK: i32 = 4;

/// Exit code of a forked child that came back into the worker's loop.
const EXIT_STRAY_CHILD: i32 = 1;

/// The variable that carries the mark by which the host knows what a worker leaves behind.
pub(crate) const MARKER: &CStr = c"SNAKEPIT_WORKER";

/// Set in a child that was forked after [`note_forks`].
static FORKED: AtomicBool = AtomicBool::new(false);

/// Binds this process and its group to the life of the host: of whoever holds the other end of this
/// inherited socket and, in a worker that the host has spawned, of its parent. To be called first
/// of all, and again in a process that was forked from an armed one, with the mark by which its own
/// processes are to be known.
#[pyfunction]
#[pyo3(signature = (liveness_fd, marker=None))]
pub(crate) fn arm(liveness_fd: i32, marker: Option<&str>) -> PyResult<()> {
    death::arm(adopt_liveness(liveness_fd)?)?;
    marker.map_or(Ok(()), write_marker)
}

/// The same for a process that was just forked from a zygote, which has the handlers already.
pub(crate) fn arm_child(liveness_fd: i32, marker: &str) -> PyResult<()> {
    death::arm_child(adopt_liveness(liveness_fd)?)?;
    write_marker(marker)
}

fn adopt_liveness(fd: i32) -> PyResult<OwnedFd> {
    adopt(fd).map_err(|error| PyValueError::new_err(format!("--liveness-fd {fd}: {error}")))
}

/// Writes what Python holds back of this process's output.
#[pyfunction]
pub(crate) fn flush_outputs(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    for name in ["stdout", "stderr"] {
        match sys.getattr(name).and_then(|stream| stream.call_method0("flush")) {
            // It is closed, or none at all, or nobody reads it any more.
            Err(error)
                if error.is_instance_of::<PyAttributeError>(py)
                    || error.is_instance_of::<PyOSError>(py)
                    || error.is_instance_of::<PyValueError>(py) => {}
            flushed => drop(flushed?),
        }
    }
    Ok(())
}

/// Writes over the mark that this process was started with. The system shows the environment a
/// process was started with, so setting the variable would change what children inherit by exec,
/// and nothing else.
fn write_marker(marker: &str) -> PyResult<()> {
    // SAFETY: the name ends with a zero. The process was just forked, so no other thread is there
    // to change the environment.
    let value = unsafe { nix::libc::getenv(MARKER.as_ptr()) };
    if value.is_null() {
        return Err(PyValueError::new_err("SNAKEPIT_WORKER is not set"));
    }
    // SAFETY: what `getenv` gives ends with a zero.
    let length = unsafe { nix::libc::strlen(value) };
    if length != marker.len() {
        return Err(PyValueError::new_err("a marker must be as long as the one it replaces"));
    }
    // SAFETY: both are so long, as just seen, and do not overlap: one is Python's.
    unsafe { std::ptr::copy_nonoverlapping(marker.as_ptr().cast(), value, length) };
    Ok(())
}

/// Takes over a descriptor that was inherited under a known number, and keeps it from children.
///
/// # Errors
/// Fails if there is no such descriptor, or if it is one of the standard streams.
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a standard stream"));
    }
    // SAFETY: the descriptor is only borrowed for the call below, which fails if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, as just seen, and was passed on the command line for this worker alone:
    // nothing else in this process knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds this process and its group to the life of its parent, and nothing else. For a zygote, as
/// long as it is busy with something else than listening to its host.
#[pyfunction]
pub(crate) fn die_with_parent() -> PyResult<()> {
    Ok(death::follow_parent()?)
}

/// Takes that back. For a process that hears of its host's end in another way from now on, and has
/// something left to do then.
#[pyfunction]
pub(crate) fn outlive_parent() -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(None)?;
    Ok(())
}

/// Keeps signals away from the calling thread: they are for Python's main thread. All but the one
/// that says that the host is gone, which the main thread may block.
pub(crate) fn leave_signals_to_main_thread() {
    let mut signals = SigSet::all();
    // These report a fault of the thread they arrive at.
    for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT]
    {
        signals.remove(fault);
    }
    // It cannot fail with a valid set; and without it signals merely take a detour.
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&signals), None);
    let _ = death::unblock();
}

/// Lets [`leave_if_forked`] tell from here on.
///
/// # Errors
/// Fails if there is no memory.
pub(crate) fn note_forks() -> io::Result<()> {
    extern "C" fn in_child() {
        // Relaxed: the child has one thread, this one.
        FORKED.store(true, Ordering::Relaxed);
    }
    // SAFETY: the handler may run in any forked child, as it only stores to an atomic; an
    // extension is never unloaded, so it stays where it is.
    match unsafe { nix::libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Whether this process was forked from one with a link.
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Ends a child whose tool forked and returned in both processes: the link is its parent's, and
/// two that write to it would break it.
pub(crate) fn leave_if_forked() {
    if is_forked() {
        exit_now(EXIT_STRAY_CHILD);
    }
}

/// The host is gone: ends this process and everything it started. Safe in a signal handler.
pub(crate) fn die_with_host() -> ! {
    // Only a leader's group holds nobody but its own children.
    if getpgrp() == getpid() {
        let _ = killpg(getpgrp(), Signal::SIGKILL);
    }
    exit_now(EXIT_HOST_GONE)
}

/// The link cannot go on: says why, and ends this process.
pub(crate) fn die_of_broken_link(reason: &str) -> ! {
    // The host may have closed the pipe, and then there is nobody to tell.
    let _ = writeln!(io::stderr(), "snakepit: worker link broken: {reason}");
    exit_now(EXIT_BROKEN_LINK)
}

/// A panic must not leave a worker that nobody can reach: while this is held, it ends the process.
pub(crate) struct DieOnPanic(pub(crate) &'static str);

impl Drop for DieOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            die_of_broken_link(self.0);
        }
    }
}

fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process without running anything; no state is left that could be broken.
    // Exit handlers would run beside a main thread that may be inside Python.
    unsafe { nix::libc::_exit(code) }
}
