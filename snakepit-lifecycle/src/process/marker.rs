//! The mark by which a worker's processes are known, wherever they have gone.
//!
//! Owns the environment variable and the look through `/proc` for those who inherited it.
//! Invariant: no process is signalled that does not carry one of the marks that are looked for, and
//! no mark is ever given twice, on one machine, by any host.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::orphans;

/// The environment variable that holds a worker's mark. A process that is meant to outlive its
/// worker takes it out of its environment before exec.
pub const MARKER_VARIABLE: &str = "SNAKEPIT_WORKER";

/// Looks at most so often for what was started while it looked. Each takes some milliseconds, so a
/// process that is still ahead of them multiplies on purpose.
const ROUNDS: u32 = 8;

/// How long one that was killed may take to end. Some never do: a disk or a mount does not answer.
const DYING: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// One worker's mark: 33 characters, whatever the worker, so that a forked worker can write its own
/// over the one that its template was started with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Marker(String);

impl Marker {
    /// A mark that nobody has.
    pub fn unique() -> Self {
        static HOST: OnceLock<u64> = OnceLock::new();
        static LAST: AtomicU64 = AtomicU64::new(0);
        // Hash keys are random, and the number of a process tells apart what was forked from one.
        let host = HOST.get_or_init(|| RandomState::new().build_hasher().finish());
        let host = host ^ u64::from(std::process::id()).rotate_right(32);
        // Relaxed: all that counts is that no two get the same number.
        let worker = LAST.fetch_add(1, Ordering::Relaxed);
        Self(format!("{host:016x}-{worker:016x}"))
    }

    /// The variable's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Kills every process that carries one of the marks. Takes milliseconds, so it is nothing for a
/// runtime's own thread. Tells what became of it in an event each.
pub(super) fn end_all(marked: &HashSet<Marker>) {
    for _ in 0..ROUNDS {
        if !end_those_there_are(marked) {
            return;
        }
    }
    let workers = marked.len();
    tracing::warn!(workers, "processes that workers left behind multiply faster than they end");
}

/// Whether there was one. It may have been forking, so this is worth another look.
fn end_those_there_are(marked: &HashSet<Marker>) -> bool {
    let numbers = match processes() {
        Ok(numbers) => numbers,
        Err(error) => {
            tracing::warn!(%error, "cannot look for processes that workers have left behind");
            return false;
        }
    };
    let seen = numbers.into_iter().filter(|pid| is_marked(*pid, marked));
    let killed: Vec<_> = seen.filter_map(|pid| kill(pid, marked)).collect();
    let mut left: Vec<_> =
        killed.iter().map(|process| PollFd::new(process, PollFlags::IN)).collect();
    while !left.is_empty() && rustix::event::poll(&mut left, Some(&DYING)).is_ok_and(|n| n > 0) {
        left.retain(|process| process.revents().is_empty());
    }
    if orphans::are_adopted() {
        killed.iter().for_each(orphans::collect);
    }
    !killed.is_empty()
}

/// Kills a process that was seen with a mark, and no other that has got its number since.
fn kill(pid: Pid, marked: &HashSet<Marker>) -> Option<OwnedFd> {
    // It may have ended by now; being out of descriptors is told like any other failure.
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    // Still marked, so the descriptor is that of a marked process, or of one that has ended.
    if !is_marked(pid, marked) {
        return None;
    }
    let raw = pid.as_raw_nonzero();
    let sent = process.and_then(|process| {
        rustix::process::pidfd_send_signal(&process, Signal::KILL)?;
        Ok(process)
    });
    match sent {
        Ok(process) => {
            tracing::warn!(pid = raw, "ended a process that a worker had left behind");
            Some(process)
        }
        Err(Errno::SRCH) => None,
        Err(error) => {
            tracing::warn!(pid = raw, %error, "cannot end a process that a worker has left behind");
            None
        }
    }
}

/// Every process there is.
fn processes() -> std::io::Result<Vec<Pid>> {
    let names =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| Pid::from_raw(name.parse().ok()?)).collect())
}

/// Whether a process was started with one of the marks. Other users' cannot be read, and those that
/// have ended have none.
fn is_marked(pid: Pid, marked: &HashSet<Marker>) -> bool {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()))
        .ok()
        .and_then(|environment| mark_in(&environment))
        .is_some_and(|mark| marked.contains(&mark))
}

fn mark_in(environment: &[u8]) -> Option<Marker> {
    let value = environment
        .split(|&byte| byte == 0)
        .find_map(|entry| entry.strip_prefix(MARKER_VARIABLE.as_bytes())?.strip_prefix(b"="))?;
    Some(Marker(String::from_utf8(value.to_vec()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_differ_and_are_of_one_length() {
        let marks: HashSet<_> = (0..1000).map(|_| Marker::unique()).collect();
        assert_eq!(marks.len(), 1000);
        assert!(marks.iter().all(|mark| mark.as_str().len() == 33));
    }

    #[test]
    fn the_mark_is_found_by_its_whole_name() {
        let of = |environment: &[u8]| mark_in(environment).map(|mark| mark.0);
        assert_eq!(of(b"A=1\0SNAKEPIT_WORKER=x-1\0B=2\0").unwrap(), "x-1");
        assert_eq!(of(b"SNAKEPIT_WORKER=x").unwrap(), "x");
        for other in [&b""[..], b"SNAKEPIT_WORKERS=x\0", b"MY_SNAKEPIT_WORKER=x\0SNAKEPIT_WORKER"] {
            assert_eq!(of(other), None);
        }
    }
}
