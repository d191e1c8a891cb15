//! What only Linux has: death signals, pidfds, and what a child does between fork and exec.
//!
//! Owns every system call of this crate that a portable fallback would replace.
#![expect(
    unsafe_code,
    reason = "code that runs between fork and exec cannot be checked by the compiler"
)]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::child::ExitStatus;

/// The soft limit on descriptors before [`raise_descriptor_limit`] changed it.
static ORIGINAL_LIMIT: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit on open descriptors to the hard one. A pool needs about six for each
/// worker, and the usual soft limit of 1,024 would end at 150 of them. Children get the old limit
/// back: programs that close every possible descriptor take seconds under a high one.
///
/// # Errors
/// Whatever the system says; the limit is then unchanged.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let before = Rlimit { current: limit.current, maximum: limit.maximum };
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised)?;
    // The first call saw the original limit; later ones see their own work.
    ORIGINAL_LIMIT.get_or_init(|| before);
    Ok(())
}

/// Descriptors on their way into a child, kept clear of the numbers they are to get.
pub(super) struct Inheritance {
    /// Copies above every target, so that no target is the source of another.
    sources: Vec<(OwnedFd, RawFd)>,
    /// Fills the numbers up to the highest target while the child is made: the pipe on which the
    /// child reports a failed exec must not get one of them.
    _fillers: Vec<OwnedFd>,
    beyond: RawFd,
}

impl Inheritance {
    pub(super) fn new(descriptors: Vec<(OwnedFd, RawFd)>) -> io::Result<Self> {
        let beyond = descriptors.iter().map(|(_, target)| target + 1).max().unwrap_or(3).max(3);
        if descriptors.iter().any(|(_, target)| *target < 3) {
            let text = "a child's descriptors start at 3";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut fillers = Vec::new();
        let mut sources = Vec::with_capacity(descriptors.len());
        for (descriptor, target) in descriptors {
            sources.push((rustix::io::fcntl_dupfd_cloexec(&descriptor, beyond)?, target));
        }
        if let Some((any, _)) = sources.first() {
            loop {
                let filler = rustix::io::fcntl_dupfd_cloexec(any, 3)?;
                if filler.as_raw_fd() >= beyond {
                    break;
                }
                fillers.push(filler);
            }
        }
        Ok(Self { sources, _fillers: fillers, beyond })
    }
}

/// Has the child of `command` die with the host, take its descriptors and nothing else. The result
/// must live until the child is made.
pub(super) fn prepare(command: &mut Command, inheritance: &Inheritance) {
    let plan: Vec<(RawFd, RawFd)> =
        inheritance.sources.iter().map(|(fd, target)| (fd.as_raw_fd(), *target)).collect();
    let beyond = inheritance.beyond;
    let host = rustix::process::getpid();
    let limit = ORIGINAL_LIMIT.get().map(|limit| (limit.current, limit.maximum));
    let in_child = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(host) {
            // The host died before the line above: there is no signal to come.
            return Err(Errno::SRCH.into());
        }
        for &(source, target) in &plan {
            give(source, target)?;
        }
        keep_from_exec(beyond)?;
        if let Some((current, maximum)) = limit {
            rustix::process::setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only and touches memory that was allocated before the
    // fork; it neither allocates nor takes locks, both of which could hang in the copy of a
    // process that had other threads.
    unsafe { command.pre_exec(in_child) };
}

/// Copies a descriptor to a number of its own; the copy survives exec.
fn give(source: RawFd, target: RawFd) -> io::Result<()> {
    // SAFETY: `source` is held open by the `Inheritance` that outlives the fork.
    let source = unsafe { BorrowedFd::borrow_raw(source) };
    // SAFETY: nothing in the child owns the target number: the host's copies of it, if any, belong
    // to code that never runs here. `ManuallyDrop` leaves it open for the program.
    let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(target) });
    rustix::io::dup2(source, &mut target)?;
    rustix::io::fcntl_setfd(target.as_fd(), FdFlags::empty())?;
    Ok(())
}

/// Has every descriptor from `first` on closed by exec, whoever opened it and however.
fn keep_from_exec(first: RawFd) -> io::Result<()> {
    let (first, last) = (first as libc::c_uint, libc::c_uint::MAX);
    // SAFETY: the call changes a flag of descriptors and reads or writes no memory.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
    // Kernels before 5.11 do not have it; there the usual close-on-exec flags must do.
    let error = if done == 0 {
        return Ok(());
    } else {
        io::Error::last_os_error()
    };
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => Ok(()),
        _ => Err(error),
    }
}

/// A descriptor that becomes readable when the process ends.
pub(super) fn open_pidfd(pid: Pid) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

/// Registers a descriptor with the reactor of the runtime that is entered.
pub(super) fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always gives the same number and keeps it open for as long as the
    // `AsyncFd` holds it; nobody takes it out.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}

/// Sends a signal to a group; a group that is gone already is no error.
pub(super) fn signal_group(leader: Pid, signal: Signal) {
    // Besides ESRCH there is only EPERM, for members that have changed their user; they are out of
    // reach for good.
    let _ = rustix::process::kill_process_group(leader, signal);
}

/// Kills one process, whatever has become of its number.
pub(super) fn kill(pidfd: BorrowedFd<'_>) {
    // One that has ended already is no error.
    let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
}

/// Collects the exit status of a process that has ended.
pub(super) fn reap(pidfd: BorrowedFd<'_>) -> ExitStatus {
    let ended = loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            // The descriptor does not block, so waiting for the end is a step of its own.
            Err(Errno::AGAIN) => {
                let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
                // Interrupted or not, the next round asks again.
                let _ = rustix::event::poll(&mut ended, None);
            }
            other => break other,
        }
    };
    match ended {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitStatus::Code(code),
            (None, Some(signal)) => ExitStatus::Signal(signal),
            (None, None) => ExitStatus::Unknown,
        },
        // Somebody else reaped it: the host ignores SIGCHLD, or waits for any child.
        Ok(None) | Err(_) => ExitStatus::Unknown,
    }
}
