//! One running child: its exit, its signals, its end.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::linux;
use super::orphans;
use super::output::{self, Tail};
use super::reaper::Reaper;
use super::spawner::{Parent, Spawned};
use super::spec::Label;

/// A running child process and its group.
///
/// Dropping it kills the group without waiting; the child is reaped all the same.
#[derive(Debug)]
pub struct Child {
    group: Arc<Group>,
    tail: Tail,
    ended: watch::Receiver<Option<ExitReport>>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// Somebody else collected the status, or it was lost with the zygote that could have.
    Unknown,
}

/// How a process ended, and the last it had to say.
#[derive(Clone, Debug)]
pub struct ExitReport {
    /// How it ended.
    pub status: ExitStatus,
    /// Its last lines on stderr, oldest first, at most 40.
    pub stderr: Arc<[String]>,
}

impl ExitStatus {
    /// The name of the signal that ended it, also where a shell in between has made a code of it; of
    /// those signals that a crash brings about, and SIGTERM.
    pub fn signal_name(self) -> Option<&'static str> {
        let number = match self {
            Self::Signal(signal) => signal,
            // As shells report it.
            Self::Code(code) => code.checked_sub(128)?,
            Self::Unknown => return None,
        };
        match Signal::from_named_raw(number)? {
            Signal::SEGV => Some("SIGSEGV"),
            Signal::ABORT => Some("SIGABRT"),
            Signal::KILL => Some("SIGKILL"),
            Signal::BUS => Some("SIGBUS"),
            Signal::ILL => Some("SIGILL"),
            Signal::FPE => Some("SIGFPE"),
            Signal::TERM => Some("SIGTERM"),
            _ => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => match Signal::from_named_raw(*signal) {
                Some(Signal::KILL) => f.write_str("was killed by signal 9 (SIGKILL)"),
                Some(Signal::TERM) => f.write_str("was ended by signal 15 (SIGTERM)"),
                Some(Signal::SEGV) => f.write_str("crashed with signal 11 (SIGSEGV)"),
                Some(Signal::ABORT) => f.write_str("aborted with signal 6 (SIGABRT)"),
                Some(Signal::BUS) => f.write_str("crashed with signal 7 (SIGBUS)"),
                _ => write!(f, "was ended by signal {signal}"),
            },
            Self::Unknown => f.write_str("ended, and who could have said how did not"),
        }
    }
}

/// The process group, which may be signalled only until its leader is reaped.
#[derive(Debug)]
struct Group {
    leader: Pid,
    alive: Mutex<bool>,
}

impl Group {
    fn signal(&self, signal: Signal) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if *alive {
            // Not reaped, so the number still means our child; the lock keeps it so.
            linux::signal_group(self.leader, signal);
        }
    }

    /// Kills what is left of the group; from here on its leader may be collected.
    ///
    /// A leader whose zygote is gone may have been collected by the system the moment it ended. Its
    /// number would have to come round again within the microseconds until this is noticed.
    fn disband(&self) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        linux::signal_group(self.leader, Signal::KILL);
        *alive = false;
    }
}

/// A child that is to be reaped. Dropped before that, because its runtime ends, it is killed and
/// reaped at once: a host that goes on would keep a zombie for life.
struct Unreaped {
    group: Arc<Group>,
    pidfd: AsyncFd<OwnedFd>,
    parent: Parent,
    reaped: bool,
}

impl Unreaped {
    /// Waits for the child's end and reaps it.
    async fn ended(mut self) -> ExitStatus {
        // A failure would mean that the reactor is gone, and this task with it.
        let _ = self.pidfd.readable().await;
        self.group.disband();
        if let Parent::Zygote(zygote) = &self.parent {
            if let Some(status) = zygote.collect(self.group.leader).await {
                self.reaped = true;
                return status;
            }
            if zygote.is_gone() {
                // Children of a zygote that has ended are the system's, or the host's if it takes
                // orphans (PR_SET_CHILD_SUBREAPER).
                zygote.exited().await;
            }
        }
        self.reap()
    }

    fn reap(&mut self) -> ExitStatus {
        self.reaped = true;
        linux::reap(self.pidfd.get_ref().as_fd())
    }
}

impl Drop for Unreaped {
    fn drop(&mut self) {
        if !self.reaped {
            self.group.disband();
            self.parent.collect_killed(self.group.leader, self.pidfd.get_ref().as_fd());
        }
    }
}

impl Child {
    pub(super) fn watch(mut spawned: Spawned, label: Label, reaper: &Reaper) -> io::Result<Self> {
        let _entered = reaper.runtime().enter();
        let tail = Tail::default();
        let (stop, stopped) = watch::channel(());
        let mut pumps = Vec::new();
        let streams = [
            (spawned.stdout.take(), output::Stream::Stdout, None),
            (spawned.stderr.take(), output::Stream::Stderr, Some(tail.clone())),
        ];
        for (pipe, stream, tail) in streams {
            if let Some(pipe) = pipe {
                let pump = output::Pump::new(pipe, stream, label.clone(), tail)?;
                pumps.push(reaper.spawn(pump.run(stopped.clone())));
            }
        }
        let group = Arc::new(Group { leader: spawned.pid, alive: Mutex::new(true) });
        // Until this copy is registered a failure drops `spawned`, which kills and reaps.
        let pidfd = spawned.pidfd.as_ref().ok_or(io::ErrorKind::InvalidInput)?.try_clone()?;
        let pidfd = linux::watch(pidfd, Interest::READABLE)?;
        spawned.pidfd = None;

        let (report, ended) = watch::channel(None);
        let leader = spawned.pid;
        let (strays, mark) = (reaper.clone(), spawned.marker.clone());
        let parent = spawned.parent.clone();
        let unreaped = Unreaped { group: Arc::clone(&group), pidfd, parent, reaped: false };
        let last_words = tail.clone();
        reaper.spawn(async move {
            let status = unreaped.ended().await;
            strays.end_strays(mark);
            // What the child wrote is in the pipes by now: the pumps take it and stop.
            drop(stop);
            for pump in pumps {
                let _ = pump.await;
            }
            report.send_replace(Some(ExitReport { status, stderr: last_words.lines() }));
            if orphans::are_adopted() {
                orphans::collect_group(leader).await;
            }
        });
        Ok(Self { group, tail, ended })
    }

    /// Its process id, which is also its group's.
    pub fn pid(&self) -> u32 {
        self.group.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its last lines on stderr so far, oldest first, at most 40.
    pub fn stderr_tail(&self) -> Arc<[String]> {
        self.tail.lines()
    }

    /// Resolves when it has ended and was reaped. Its group was killed by then.
    pub fn exited(&self) -> impl Future<Output = ExitReport> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(report) => report.clone().unwrap_or_else(ExitReport::unknown),
                // The watching runtime is gone.
                Err(_) => ExitReport::unknown(),
            }
        }
    }

    /// Sends SIGTERM to the group.
    pub fn ask_to_end(&self) {
        self.group.signal(Signal::TERM);
    }

    /// Sends SIGKILL to the group.
    pub fn kill(&self) {
        self.group.signal(Signal::KILL);
    }

    /// Ends the group: SIGTERM, `grace`, SIGKILL. Resolves when the child was reaped.
    ///
    /// # Cancel safety
    /// Dropping the future leaves out the steps that have not come yet.
    pub fn terminate(&self, grace: Duration) -> impl Future<Output = ExitReport> + Send + use<> {
        let group = Arc::clone(&self.group);
        let exited = self.exited();
        async move {
            let mut exited = std::pin::pin!(exited);
            group.signal(Signal::TERM);
            if let Ok(report) = tokio::time::timeout(grace, &mut exited).await {
                return report;
            }
            group.signal(Signal::KILL);
            exited.await
        }
    }
}

impl ExitReport {
    fn unknown() -> Self {
        Self { status: ExitStatus::Unknown, stderr: Arc::new([]) }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.group.signal(Signal::KILL);
    }
}
