//! From a seat to a ready worker: descriptors, the process, the race between its hello and its end.
//!
//! Owns the command line of a worker. How its process is made is `spawn`'s business, or a profile's
//! that knows a better way; everything after it only needs a `Child`.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use snakepit_bridge::{Attaching, Link, LinkOptions, LinkServer, socket_pair};
use snakepit_core::{CallId, Error, ErrorKind, Seat, WorkerId};
use snakepit_lifecycle::process::{Child, ChildSpec, Reaper, Spawner};
use snakepit_shm::{ControlReader, descriptor_channel};
use tokio::runtime::Handle;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::failures::{ended_early, no_descriptors, not_ready, with_stderr};
use crate::options::WorkerOptions;

/// Where a worker finds its link, its liveness socket and its control page.
pub const LINK_FD: i32 = 3;
/// See [`LINK_FD`].
pub const LIVENESS_FD: i32 = 4;
/// See [`LINK_FD`].
pub const CONTROL_FD: i32 = 5;

/// See [`LINK_FD`]: the socket that brings it shared memory.
pub const SHM_FD: i32 = 6;

/// How many calls one worker can run at a time at most: the control page has no more room.
pub const MOST_CALLS: usize = snakepit_shm::RUNNING_SLOTS;

/// How long one half of a dying worker may lag behind the other: its last frames behind its exit,
/// or its exit behind the end of its link.
const LAG: Duration = Duration::from_secs(2);

/// What the workers of a pool are made with.
pub struct Workshop {
    options: WorkerOptions,
    /// How many calls a worker runs at a time.
    capacity: usize,
    links: Arc<LinkServer>,
    pub(crate) runtime: Handle,
    spawner: Spawner,
    reaper: Reaper,
    /// The tasks that see each worker to its end.
    pub(crate) endings: TaskTracker,
}

/// One end of what connects a worker, and the number under which the worker expects it.
pub type End = (OwnedFd, i32);

/// What connects a worker that has no process yet.
pub struct Connection {
    /// Its command line.
    pub args: Vec<String>,
    /// Its ends.
    pub ends: Vec<End>,
    attaching: Attaching,
    liveness: OwnedFd,
    calls: ControlReader,
}

impl Connection {
    /// Tells which call a worker that runs one at a time is in.
    pub fn current_call(&self) -> impl Fn() -> Option<CallId> + Send + Sync + 'static {
        let calls = self.calls.clone();
        move || CallId::new(calls.last_started()?)
    }

    /// Without the worker's ends, which the process has by now.
    fn plugged(self) -> (Attaching, OwnedFd) {
        (self.attaching, self.liveness)
    }
}

/// A process that has said hello, and its link.
pub struct Joined {
    pub(crate) link: Link,
    pub(crate) child: Child,
    pub(crate) liveness: OwnedFd,
}

impl Joined {
    /// The link.
    pub fn link(&self) -> &Link {
        &self.link
    }
}

impl Workshop {
    /// A workshop whose workers run `capacity` calls at a time, attach to `links` and are watched on
    /// `runtime`, the runtime of the links.
    ///
    /// # Errors
    /// `System` when the thread that spawns processes cannot be started.
    pub fn new(
        options: WorkerOptions,
        capacity: usize,
        links: Arc<LinkServer>,
        runtime: Handle,
    ) -> Result<Self, Error> {
        let (spawner, reaper) = (Spawner::get()?, Reaper::new(runtime.clone()));
        let endings = TaskTracker::new();
        Ok(Self { options, capacity, links, runtime, spawner, reaper, endings })
    }

    /// What it makes workers from.
    pub fn options(&self) -> &WorkerOptions {
        &self.options
    }

    /// Who starts processes.
    pub fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// Who sees them end.
    pub fn reaper(&self) -> &Reaper {
        &self.reaper
    }

    /// When a worker whose start begins now must be ready.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.options.start_timeout
    }

    /// Makes what connects the worker of a seat.
    ///
    /// # Errors
    /// `System` when there are no descriptors left, `InvalidConfig` when the adapter's arguments have
    /// no text.
    pub fn connect(&self, seat: &Seat) -> Result<Connection, Error> {
        let calls = ControlReader::create().map_err(no_descriptors)?;
        let (host_link, worker_link) = socket_pair().map_err(no_descriptors)?;
        let (host_liveness, worker_liveness) = UnixStream::pair().map_err(no_descriptors)?;
        let control_page = calls.as_fd().try_clone_to_owned().map_err(no_descriptors)?;
        let mut ends = vec![
            (worker_link.into(), LINK_FD),
            (worker_liveness.into(), LIVENESS_FD),
            (control_page, CONTROL_FD),
        ];
        let mut link = LinkOptions::new(seat.pool.clone(), seat.worker_id(), calls.clone());
        link.heartbeat = self.options.heartbeat;
        link.max_payload_bytes = self.options.max_payload_bytes;
        if let Some(memory) = &self.options.memory {
            let (channel, end) = descriptor_channel().map_err(no_descriptors)?;
            ends.push((end, SHM_FD));
            link.memory = Some((Arc::clone(memory), channel));
        }
        let attaching = self.links.adopt(host_link, link)?;
        let (args, liveness) = (self.arguments(seat)?, host_liveness.into());
        Ok(Connection { args, ends, attaching, liveness, calls })
    }

    /// The worker's own arguments.
    fn arguments(&self, seat: &Seat) -> Result<Vec<String>, Error> {
        let options = &self.options;
        let mut args = Vec::new();
        let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
        option("--worker-id", seat.worker_id().to_string());
        option("--pool", seat.pool.to_string());
        option("--adapter", options.adapter.clone());
        option("--link-fd", LINK_FD.to_string());
        option("--liveness-fd", LIVENESS_FD.to_string());
        option("--control-fd", CONTROL_FD.to_string());
        if options.memory.is_some() {
            option("--shm-fd", SHM_FD.to_string());
        }
        if self.capacity > 1 {
            option("--capacity", self.capacity.to_string());
        }
        if let Some(adapter_args) = &options.adapter_args {
            let text = serde_json::to_string(adapter_args).map_err(|e| {
                let message = format!("cannot write the adapter's arguments: {e}");
                Error::new(ErrorKind::InvalidConfig, message)
            })?;
            option("--adapter-args", text);
        }
        Ok(args)
    }

    /// Starts an interpreter of its own for the worker and waits until it is ready.
    ///
    /// # Errors
    /// Why it is not.
    ///
    /// # Cancel safety
    /// Dropping the future ends the process.
    pub async fn spawn(
        &self,
        seat: &Seat,
        connection: Connection,
        env: Vec<(String, OsString)>,
        deadline: Instant,
    ) -> Result<Joined, Error> {
        let options = &self.options;
        let current_call = connection.current_call();
        let Connection { args, ends, attaching, liveness, .. } = connection;
        let mut spec = ChildSpec::new(seat.pool.clone(), seat.worker_id(), &options.python)
            .args(["-m", "snakepit.worker"])
            .args(args)
            .output(options.output.clone());
        for (end, number) in ends {
            spec = spec.descriptor(end, number);
        }
        for (name, value) in env {
            spec = spec.env(name, value);
        }
        if let Some(cwd) = &options.cwd {
            spec = spec.cwd(cwd);
        }
        if self.capacity == 1 {
            spec = spec.current_call(current_call);
        }
        let child = self.spawner.spawn(spec, &self.reaper).await?;
        self.attach(seat, child, attaching, liveness, deadline).await
    }

    /// Waits until a process that has the connection's ends is ready.
    ///
    /// # Errors
    /// Why it is not.
    ///
    /// # Cancel safety
    /// Dropping the future ends the process.
    pub async fn join(
        &self,
        seat: &Seat,
        child: Child,
        connection: Connection,
        deadline: Instant,
    ) -> Result<Joined, Error> {
        let (attaching, liveness) = connection.plugged();
        self.attach(seat, child, attaching, liveness, deadline).await
    }

    async fn attach(
        &self,
        seat: &Seat,
        child: Child,
        attaching: Attaching,
        liveness: OwnedFd,
        deadline: Instant,
    ) -> Result<Joined, Error> {
        let worker = seat.worker_id();
        match timeout_at(deadline, race(&child, attaching, &worker)).await {
            Ok(link) => Ok(Joined { link: link?, child, liveness }),
            // Dropping the child ends it.
            Err(_) => Err(not_ready(&worker, &self.options, &child.stderr_tail())),
        }
    }

    /// Runs something that ends with a worker, such as a look at its link.
    pub fn accompany(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.endings.spawn_on(task, &self.runtime);
    }

    /// Resolves when every process that was made with this is gone and reaped, whether or not it
    /// became a worker.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    pub async fn all_gone(&self) {
        self.endings.close();
        self.endings.wait().await;
        self.reaper.idle().await;
    }
}

/// Waits for the worker's hello, and no longer than it lives.
async fn race(child: &Child, mut attaching: Attaching, worker: &WorkerId) -> Result<Link, Error> {
    let report = tokio::select! {
        // A hello that came before the end counts as one.
        biased;
        attached = &mut attaching => match attached {
            Ok(link) => return Ok(link),
            // The link ended without a word; the exit says more.
            Err(error) if error.kind() == ErrorKind::StartFailed => {
                match timeout(LAG, child.exited()).await {
                    Ok(report) => report,
                    Err(_) => return Err(with_stderr(error, worker, &child.stderr_tail())),
                }
            }
            Err(error) => return Err(error.with_detail("worker", worker.as_str())),
        },
        report = child.exited() => {
            // What it said before it exited is in the socket: a start failure says more still.
            match timeout(LAG, &mut attaching).await {
                Ok(Err(error)) if error.kind() != ErrorKind::StartFailed => {
                    return Err(error.with_detail("worker", worker.as_str()));
                }
                _ => report,
            }
        }
    };
    Err(ended_early(&report, worker))
}
