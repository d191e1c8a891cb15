//! A child that makes children: it has loaded what they need, and forks when asked.
//!
//! Owns the life of the zygote itself and what is asked of it; its children are `Child`ren like any
//! other. Invariants: a zygote lives until the last of its children was collected, because nobody
//! else can do that, and ends then; a zygote that does not answer is killed, and what it has made
//! goes on. The zygote kills the groups of its children when its channel ends, which is how it
//! learns that the host is gone.

mod channel;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use snakepit_core::{CallId, Error, PoolName, WorkerId};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::child::{Child, ExitReport, ExitStatus};
use super::limits::system_error;
use super::linux;
use super::marker::Marker;
use super::output::Output;
use super::reaper::Reaper;
use super::spawner::{Parent, Spawned, Spawner};
use super::spec::{ChildSpec, Label};
use channel::{Answer, Channel, Gone, Request};

/// How long a zygote may take to fork. It does nothing else, and takes milliseconds; a machine out
/// of memory may need seconds to find room for the copy.
const FORK_LIMIT: Duration = Duration::from_secs(5);

/// How long it may take to say how a child ended: the calls of that child wait for it.
const COLLECT_LIMIT: Duration = Duration::from_secs(2);

/// How often it is asked to kill and collect a child of which the host has no pidfd, and the time
/// between: a process that was killed is gone in milliseconds.
const COLLECT_TRIES: usize = 50;
const COLLECT_PAUSE: Duration = Duration::from_millis(20);

/// How long the exit of a zygote may lag behind the end of its channel.
const LAG: Duration = Duration::from_secs(2);

/// Forks under way at a time. A zygote makes one after the other, so more gain nothing, and each
/// has descriptors on their way, which the system counts against the host's limit (unix(7)).
const FORKS_UNDER_WAY: usize = 8;

/// A process that forks children on request.
#[derive(Debug)]
pub struct Zygote {
    child: Child,
    channel: Arc<Channel>,
    reaper: Reaper,
    turns: Semaphore,
}

/// What a zygote has said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fitness {
    /// It forks children.
    Ready,
    /// It could not load what children need; those that it forks say why, and end.
    Failed,
    /// It must not be forked, for this reason.
    Unfit(String),
}

/// What a forked child is given.
#[derive(Debug)]
pub struct ForkSpec<'a> {
    label: Label,
    args: Vec<String>,
    env: Vec<(String, String)>,
    descriptors: Vec<(BorrowedFd<'a>, i32)>,
    marker: Marker,
}

/// Why there is no child.
#[derive(Debug)]
#[non_exhaustive]
pub enum ForkError {
    /// The zygote is gone, or was killed because it did not answer; another one may do better.
    Gone,
    /// The operating system refuses.
    Refused(Error),
}

impl<'a> ForkSpec<'a> {
    /// A child without arguments. Pool and worker name it in events.
    pub fn new(pool: PoolName, worker: WorkerId) -> Self {
        Self {
            label: Label::new(pool, worker),
            args: Vec::new(),
            env: Vec::new(),
            descriptors: Vec::new(),
            marker: Marker::unique(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable, over what the zygote has.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Has the events of its output carry the call that it is in, where it runs one at a time.
    #[must_use]
    pub fn current_call(
        mut self,
        call: impl Fn() -> Option<CallId> + Send + Sync + 'static,
    ) -> Self {
        self.label.name_call(call);
        self
    }

    /// Has its output told by these options.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.label.output = output;
        self
    }

    /// Gives it a descriptor under a number of its own, 3 or above. The zygote must have been given
    /// all of these numbers too.
    #[must_use]
    pub fn descriptor(mut self, descriptor: BorrowedFd<'a>, number: i32) -> Self {
        self.descriptors.push((descriptor, number));
        self
    }
}

impl Zygote {
    /// Starts a zygote; `spec` is told nothing of the channel but gets it under `channel_number`.
    ///
    /// # Errors
    /// As [`Spawner::spawn`].
    ///
    /// # Cancel safety
    /// Dropping the future ends a zygote that was being made.
    pub async fn start(
        spawner: &Spawner,
        spec: ChildSpec,
        channel_number: i32,
        reaper: &Reaper,
    ) -> Result<Starting, Error> {
        let entered = reaper.runtime().enter();
        let made = Channel::new().map_err(|e| system_error("cannot make a zygote's channel", &e));
        drop(entered);
        let (channel, theirs, first_word) = made?;
        let child = spawner.spawn(spec.descriptor(theirs, channel_number), reaper).await?;
        let channel = Arc::new(channel);
        let turns = Semaphore::new(FORKS_UNDER_WAY);
        let reading = Arc::clone(&channel);
        let zygote = Arc::new(Self { child, channel, reaper: reaper.clone(), turns });
        reaper.spawn(listen(reading, Arc::downgrade(&zygote)));
        Ok(Starting { zygote, first_word })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether it is gone, so that it forks no more.
    pub fn is_gone(&self) -> bool {
        self.channel.is_gone()
    }

    /// Has it fork a child.
    ///
    /// # Errors
    /// [`ForkError::Gone`] when there is no zygote any more.
    ///
    /// # Cancel safety
    /// Dropping the future ends a child that was being made.
    pub async fn fork(self: &Arc<Self>, spec: &ForkSpec<'_>) -> Result<Child, ForkError> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let refused =
            |error: io::Error| ForkError::Refused(system_error("cannot fork a worker", &error));
        let (stdout, child_stdout) = pipe().map_err(refused)?;
        let (stderr, child_stderr) = pipe().map_err(refused)?;
        let numbers: Vec<i32> = spec.descriptors.iter().map(|(_, number)| *number).collect();
        let request = Request::Fork {
            args: &spec.args,
            env: &spec.env,
            marker: spec.marker.as_str(),
            descriptors: &numbers,
        };
        let mut descriptors: Vec<_> = spec.descriptors.iter().map(|(end, _)| *end).collect();
        descriptors.extend([child_stdout.as_fd(), child_stderr.as_fd()]);
        let asked = self.channel.ask(&request, &descriptors).await.map_err(refused)?;
        let answer = asked.map_err(|Gone| ForkError::Gone)?;

        // From here on there may be a child, and this future may be dropped.
        let (label, marker) = (spec.label.clone(), spec.marker.clone());
        let (told, born) = oneshot::channel();
        let zygote = Arc::clone(self);
        self.reaper.spawn(async move {
            let child = match zygote.birth(answer).await {
                Ok((pid, pidfd)) => {
                    let reaper = zygote.reaper.clone();
                    let (stdout, stderr, pidfd) = (Some(stdout), Some(stderr), Some(pidfd));
                    let parent = Parent::Zygote(zygote);
                    let spawned = Spawned { pid, marker, stdout, stderr, pidfd, parent };
                    Child::watch(spawned, label, &reaper).map_err(|e| {
                        ForkError::Refused(system_error("cannot watch the worker's process", &e))
                    })
                }
                Err(error) => Err(error),
            };
            // A child that nobody waits for comes back and is ended by its drop.
            drop(told.send(child));
        });
        born.await.unwrap_or(Err(ForkError::Gone))
    }

    async fn birth(&self, answer: oneshot::Receiver<Answer>) -> Result<(Pid, OwnedFd), ForkError> {
        let Ok(answered) = timeout(FORK_LIMIT, answer).await else {
            self.give_up();
            return Err(ForkError::Gone);
        };
        let answer = answered.map_err(|_| ForkError::Gone)?;
        match (answer.pid.and_then(Pid::from_raw), answer.descriptor) {
            (Some(pid), Some(pidfd)) => return Ok((pid, pidfd)),
            (Some(pid), None) => {
                // The system drops what a process has no descriptor left for (recvmsg(2)).
                self.end_unwatched(pid).await;
                let error = io::Error::from_raw_os_error(libc::EMFILE);
                let what = "cannot watch the worker's process";
                return Err(ForkError::Refused(system_error(what, &error)));
            }
            _ => {}
        }
        let error = match answer.errno {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::other(answer.reason.unwrap_or_default()),
        };
        Err(ForkError::Refused(system_error("cannot fork a worker", &error)))
    }

    /// Has it kill a child that the host has no hold on, and collect it.
    async fn end_unwatched(&self, pid: Pid) {
        for _ in 0..COLLECT_TRIES {
            if self.collect(pid).await.is_some() || self.is_gone() {
                return;
            }
            tokio::time::sleep(COLLECT_PAUSE).await;
        }
    }

    /// Has it collect a child that has ended; `None` if it cannot say how that ended.
    pub(super) async fn collect(&self, pid: Pid) -> Option<ExitStatus> {
        let request = Request::Reap { pid: pid.as_raw_nonzero().get() };
        let asked = timeout(COLLECT_LIMIT, async {
            match self.channel.ask(&request, &[]).await {
                Ok(Ok(answer)) => answer.await.ok(),
                _ => None,
            }
        });
        let Ok(answer) = asked.await else {
            self.give_up();
            return None;
        };
        let answer = answer?;
        match (answer.code, answer.signal) {
            (Some(code), _) => Some(ExitStatus::Code(code)),
            (None, Some(signal)) => Some(ExitStatus::Signal(signal)),
            (None, None) => None,
        }
    }

    /// The same without waiting for what it says.
    pub(super) fn collect_soon(&self, pid: Pid) {
        // Without room for the question the zygote collects the child when it ends itself.
        let _ = self.channel.try_ask(&Request::Reap { pid: pid.as_raw_nonzero().get() }, &[]);
    }

    /// Ends a zygote that does not answer.
    fn give_up(&self) {
        tracing::warn!(pid = self.pid(), "a zygote does not answer and is killed");
        self.channel.give_up();
        self.child.kill();
    }

    /// Resolves when it is gone and was reaped.
    pub(super) fn exited(&self) -> impl Future<Output = ExitReport> + Send + use<> {
        self.child.exited()
    }
}

/// A zygote that has not said yet what it can do. Dropping it ends it.
#[derive(Debug)]
pub struct Starting {
    zygote: Arc<Zygote>,
    first_word: oneshot::Receiver<Answer>,
}

impl Starting {
    /// Its last lines on stderr so far, oldest first, at most 40.
    pub fn stderr_tail(&self) -> Arc<[String]> {
        self.zygote.child.stderr_tail()
    }

    /// Waits until it is loaded.
    ///
    /// # Errors
    /// How it ended, if it did before it said a word.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; it can be awaited again.
    pub async fn loaded(&mut self) -> Result<(Arc<Zygote>, Fitness), ExitReport> {
        let Ok(word) = (&mut self.first_word).await else {
            return Err(self.zygote.exited().await);
        };
        let fitness = match word.state.as_deref() {
            Some("ready") => Fitness::Ready,
            Some("failed") => Fitness::Failed,
            _ => Fitness::Unfit(word.reason.unwrap_or_default()),
        };
        Ok((Arc::clone(&self.zygote), fitness))
    }
}

/// Reads the channel to its end, and sees to it that the zygote ends with it.
async fn listen(channel: Arc<Channel>, zygote: Weak<Zygote>) {
    let read = channel.read(kill_unclaimed).await;
    let Some(zygote) = zygote.upgrade() else { return };
    if let Err(error) = read {
        tracing::warn!(pid = zygote.pid(), %error, "a zygote makes no sense and is killed");
        zygote.child.kill();
    } else if timeout(LAG, zygote.exited()).await.is_err() {
        // It only closed the channel, and is of no use.
        zygote.child.kill();
    }
}

/// Ends a child that came when nobody waited for it any more.
fn kill_unclaimed(answer: Answer) {
    if let Some(pidfd) = answer.descriptor {
        linux::kill(pidfd.as_fd());
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}
