//! The one thread that makes children.
//!
//! Invariant: the thread never ends while the host lives. A child's death signal comes when the
//! *thread* that forked it ends (prctl(2), PR_SET_PDEATHSIG), so no other thread may do it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal};
use snakepit_core::{Error, ErrorKind};
use tokio::sync::oneshot;

use super::child::Child;
use super::limits::system_error;
use super::linux;
use super::marker::{MARKER_VARIABLE, Marker};
use super::reaper::Reaper;
use super::spec::ChildSpec;
use super::zygote::Zygote;

/// Makes child processes, all on one permanent thread of the host.
#[derive(Clone, Debug)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
}

struct Request {
    spec: ChildSpec,
    answer: oneshot::Sender<Result<Spawned, Error>>,
}

/// A child that nobody watches yet. Dropped like that, it is killed and reaped.
pub(super) struct Spawned {
    pub(super) pid: Pid,
    pub(super) marker: Marker,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    /// Taken when somebody else watches the child.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) parent: Parent,
}

/// Whose child it is: only its parent can collect it.
#[derive(Clone, Debug)]
pub(super) enum Parent {
    Host,
    Zygote(Arc<Zygote>),
}

impl Parent {
    /// Has a child of its own collected that was killed; waits only for as long as the system takes
    /// to end it, and not for a zygote.
    pub(super) fn collect_killed(&self, pid: Pid, pidfd: BorrowedFd<'_>) {
        match self {
            Self::Host => drop(linux::reap(pidfd)),
            Self::Zygote(zygote) => zygote.collect_soon(pid),
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            linux::signal_group(self.pid, Signal::KILL);
            self.parent.collect_killed(self.pid, pidfd.as_fd());
        }
    }
}

/// The host's only sender; requests come from pools that are starting workers, a few at a time.
static THREAD: Mutex<Option<mpsc::Sender<Request>>> = Mutex::new(None);

impl Spawner {
    /// The host's spawner; its thread starts with the first use.
    ///
    /// # Errors
    /// `System` when the thread cannot be started.
    pub fn get() -> Result<Self, Error> {
        let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = &*thread {
            return Ok(Self { requests: requests.clone() });
        }
        let (requests, received) = mpsc::channel();
        std::thread::Builder::new()
            .name("snakepit-spawn".to_owned())
            .spawn(move || serve(&received))
            .map_err(|e| system_error("cannot start the spawning thread", &e))?;
        *thread = Some(requests.clone());
        Ok(Self { requests })
    }

    /// Runs a program; `reaper` watches its exit and its output.
    ///
    /// # Errors
    /// `InterpreterNotFound` when there is no such program, `InvalidConfig` when its directory does
    /// not exist, `System` when the operating system refuses.
    ///
    /// # Cancel safety
    /// Dropping the future ends a child that was being made.
    pub async fn spawn(&self, spec: ChildSpec, reaper: &Reaper) -> Result<Child, Error> {
        let label = spec.label.clone();
        let (answer, spawned) = oneshot::channel();
        let stopped = || Error::new(ErrorKind::Internal, "the spawning thread has stopped");
        self.requests.send(Request { spec, answer }).map_err(|_| stopped())?;
        let spawned = spawned.await.map_err(|_| stopped())??;
        Child::watch(spawned, label, reaper)
            .map_err(|e| system_error("cannot watch the worker's process", &e))
    }
}

fn serve(requests: &mpsc::Receiver<Request>) {
    // `THREAD` keeps one sender for ever, so this loop does not end.
    while let Ok(Request { spec, answer }) = requests.recv() {
        // An answer that nobody waits for comes back and is dropped here, with the child in it.
        drop(answer.send(spawn(spec)));
    }
}

fn spawn(spec: ChildSpec) -> Result<Spawned, Error> {
    let ChildSpec { program, args, env, cwd, descriptors, marker, .. } = spec;
    if let Some(cwd) = &cwd
        && !fs::metadata(cwd).is_ok_and(|metadata| metadata.is_dir())
    {
        // exec reports a missing directory as a missing program.
        let message = format!("there is no directory `{}` to start workers in", cwd.display());
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    let refused = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => {
            let message = format!("there is no program `{}`", program.display());
            Error::new(ErrorKind::InterpreterNotFound, message).with_help(
                "check the pool's `python` setting; `snakepit doctor` lists interpreters",
            )
        }
        io::ErrorKind::PermissionDenied => {
            let message = format!("`{}` is not a program that may be run", program.display());
            Error::new(ErrorKind::InterpreterNotFound, message)
        }
        _ => system_error(&format!("cannot start `{}`", program.display()), &e),
    };

    let inheritance = linux::Inheritance::new(descriptors).map_err(refused)?;
    let mut command = Command::new(&program);
    command.args(args).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env(MARKER_VARIABLE, marker.as_str());
    if let Some(cwd) = cwd {
        command.current_dir(cwd);
    }
    // The standard library clears the signal mask and gives SIGPIPE its default back by itself.
    linux::prepare(&mut command, &inheritance);
    let mut child = command.spawn().map_err(refused)?;
    let pid = Pid::from_child(&child);
    let spawned = |pidfd| Spawned {
        pid,
        marker,
        stdout: child.stdout.take().map(Into::into),
        stderr: child.stderr.take().map(Into::into),
        pidfd,
        parent: Parent::Host,
    };
    match linux::open_pidfd(pid) {
        Ok(pidfd) => Ok(spawned(Some(pidfd))),
        Err(e) => {
            // Out of descriptors: without one the child cannot be watched, so it must go.
            linux::signal_group(pid, Signal::KILL);
            // Its status is of no interest, and it cannot fail to end.
            let _ = child.wait();
            Err(system_error("cannot watch the worker's process", &e))
        }
    }
}
