//! Dying with the host, and taking the process group along.
//!
//! Owns the signal that says that the host is gone, its handler, and what sends it: the kernel, when
//! the thread that spawned this process ends (a spawned worker) and when the host's end of the
//! liveness socket closes (every worker). Neither needs a thread, Python or the GIL, so it works
//! from the first line of the worker on, whatever the main thread is inside of, and a process that
//! is armed may still fork. Invariant: a death signal that was in force stays in force until this
//! one has taken its place, so there is no moment in which the host may die unnoticed.
//!
//! What remains: code that takes this very signal for itself, that closes descriptors it does not
//! own, or that blocks every signal in every thread before the link is served. From then on the
//! link's standby takes the signal.
//!
//! Only Linux has both ways. Elsewhere `watch` would start a thread that reads the socket.
#![expect(unsafe_code, reason = "signal handlers and fcntl calls that no safe interface offers")]

use std::io;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::os::fd::{IntoRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::getpid;

use crate::{dump, process};

/// `F_SETSIG` of fcntl(2), for all architectures but PA-RISC.
const F_SETSIG: libc::c_int = 10;

/// Why the socket's signal came, by siginfo's `si_code`: from `POLL_IN`, there is something to read,
/// to `POLL_PRI`. What follows is `POLL_HUP`; what the kernel sends for the parent's end has zero.
const NEWS: RangeInclusive<libc::c_int> = 1..=5;

/// The socket that is watched; the handler asks it.
static LIVENESS: AtomicI32 = AtomicI32::new(-1);

/// The signal: well inside the real-time range, whose ends debuggers and C libraries use.
pub(crate) fn signal() -> libc::c_int {
    libc::SIGRTMAX() - 7
}

/// From here on this process and its group end when the host does. Takes the socket for the rest
/// of the process's life; a process that was forked from an armed one arms itself anew.
///
/// # Errors
/// Whatever the system says. What was in force before still is.
pub(crate) fn arm(liveness: OwnedFd) -> io::Result<()> {
    handle(signal(), on_signal)?;
    dump::install()?;
    unblock()?;
    arm_child(liveness)
}

/// The same for a process that was just forked from one that has the handlers already.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn arm_child(liveness: OwnedFd) -> io::Result<()> {
    dump::start_afresh();
    let liveness = liveness.into_raw_fd();
    let before = LIVENESS.swap(liveness, Ordering::Release);
    replace_death_signal()?;
    watch(liveness)?;
    if before >= 0 && before != liveness {
        // SAFETY: it came from `into_raw_fd` above, in this process or in the one it was forked
        // from, and `LIVENESS` was the last to know its number.
        unsafe { libc::close(before) };
    }
    // What was closed before the socket was watched sends nothing.
    if is_gone(liveness) {
        process::die_with_host();
    }
    Ok(())
}

/// From here on this process and its group end when the parent that the host has given it does. There
/// is no socket to watch.
///
/// # Errors
/// Whatever the system says. What was in force before still is.
pub(crate) fn follow_parent() -> io::Result<()> {
    handle(signal(), on_signal)?;
    unblock()?;
    replace_death_signal()
}

/// Lets the calling thread take the signals that come from the host. One thread that does is enough,
/// whatever signals the others block.
pub(crate) fn unblock() -> io::Result<()> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: fills the set in, whatever was there.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    for signal in [signal(), dump::signal()] {
        // SAFETY: the call above has filled the set in, and the signal's number is a valid one.
        check(unsafe { libc::sigaddset(set.as_mut_ptr(), signal) })?;
    }
    // SAFETY: reads the set and writes nothing.
    match unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The liveness socket, once armed.
pub(crate) fn socket() -> RawFd {
    LIVENESS.load(Ordering::Acquire)
}

/// A handler as SA_SIGINFO wants it, which does only what is safe in one.
type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs a handler.
pub(crate) fn handle(signal: libc::c_int, handler: Handler) -> io::Result<()> {
    // SAFETY: zeroes are a valid value: integers, an empty set, and no restorer.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // On the alternate stack of a thread that has one: its own may be too small.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler is what its type says, and stays where it is, as an extension is never
    // unloaded.
    check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) })
}

extern "C" fn on_signal(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid one.
    let code = unsafe { (*info).si_code };
    // Something to read is no end; the other reasons for the signal are: the socket was hung up,
    // or the parent has ended.
    if !NEWS.contains(&code) || is_gone(socket()) {
        process::die_with_host();
    }
    let before = Errno::last_raw();
    dump::answer(socket());
    Errno::set_raw(before);
}

/// Has the kernel send the signal in place of the one that the parent's end would bring. Nothing
/// changes for a process without one: a worker's template is no host.
fn replace_death_signal() -> io::Result<()> {
    let mut current: libc::c_int = 0;
    // SAFETY: the call writes one integer where the pointer says.
    check(unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut current) })?;
    if current == 0 {
        return Ok(());
    }
    // SAFETY: the call reads and writes no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal()) })
}

/// Has the kernel send the signal when something happens at the socket.
fn watch(socket: RawFd) -> io::Result<()> {
    // SAFETY: these calls change settings of a descriptor and touch no memory.
    check(unsafe { libc::fcntl(socket, F_SETSIG, signal()) })?;
    let own = getpid().as_raw();
    // SAFETY: as above.
    check(unsafe { libc::fcntl(socket, libc::F_SETOWN, own) })?;
    // SAFETY: as above.
    let flags = unsafe { libc::fcntl(socket, libc::F_GETFL) };
    check(flags)?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(socket, libc::F_SETFL, flags | libc::O_ASYNC) })
}

/// Whether the other end of the socket is closed. Safe in a signal handler.
fn is_gone(socket: RawFd) -> bool {
    let mut asked = libc::pollfd { fd: socket, events: 0, revents: 0 };
    // SAFETY: one structure, which lives until the call is over. Without a timeout it cannot be
    // interrupted; `errno` stays as it is, as the call cannot fail.
    unsafe { libc::poll(&raw mut asked, 1, 0) };
    asked.revents & (libc::POLLHUP | libc::POLLERR) != 0
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
