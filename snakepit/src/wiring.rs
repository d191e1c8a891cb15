//! From settings to running pools, and back to nothing: the one place that turns plain settings into
//! each part's options and joins the parts.

use std::collections::BTreeMap;
use std::path::Path;
#[cfg(feature = "control")]
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use snakepit_bridge::LinkServer;
use snakepit_config::{self as config, Config, PoolConfig, Start};
use snakepit_core::{
    BoxFuture, Clock, Error, ErrorKind, Phase, Pool, PoolOptions, Profile, Tool, WorkerId,
};
use snakepit_lifecycle::{
    Elastic, Limits, Observer, Supervisor, SupervisorOptions, SupervisorStatus,
};
use snakepit_profile_process::{ProcessOptions, ProcessProfile, StartMethod, WorkerOptions};
use snakepit_profile_thread::{GilPolicy, ThreadOptions, ThreadProfile};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

#[cfg(feature = "control")]
use crate::control::{ControlServer, ControlSocket};
use crate::host::{PoolEntry, Snakepit};
use crate::interpreter::{self, Resolved};
use crate::io::{IoThread, LastDuties, ended};
use crate::report::PoolState;

/// The part of a shutdown's deadline that calls in flight may use up; the rest is for workers to
/// tear down and, if they do not, to be killed.
const DRAIN_SHARE: f64 = 0.75;

/// Keeps the workers of one pool alive.
pub(crate) struct Supervised {
    /// Taken when the pool is shut down.
    supervisor: Mutex<Option<Supervisor>>,
    observer: Observer,
    profile: Arc<dyn Profile>,
    /// Calls that a worker runs at a time.
    slots: usize,
    drain: Duration,
    state: watch::Sender<PoolState>,
    /// What could be called when the pool became ready, for moments without a worker.
    tools: Vec<Tool>,
}

type Pools = BTreeMap<Arc<str>, Result<Arc<PoolEntry>, Error>>;

/// What a host has beside its pools.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostOptions {
    #[cfg(feature = "control")]
    pub(crate) control_socket: Option<PathBuf>,
}

/// Starts all pools at the same time; fails when none of them can start.
#[cfg_attr(not(feature = "control"), expect(unused_variables, reason = "there is nothing in them"))]
pub(crate) async fn start(config: Config, options: HostOptions) -> Result<Snakepit, Error> {
    for pool in config.pools() {
        check_files(pool)?;
    }
    let io = IoThread::start()?;
    // Before the pools: a second host of the same name starts no worker.
    #[cfg(feature = "control")]
    let control = match options.control_socket {
        Some(path) => Some(open_control(&io, path).await?),
        None => None,
    };
    let onto = Onto {
        links: Arc::new(LinkServer::start(io.handle().clone())),
        runtime: io.handle().clone(),
        last_duties: io.last_duties().clone(),
        lone_call: Arc::clone(io.lone_call()),
    };
    let mut pools = io.run(start_pools(config, onto)).await?;
    let none = pools.iter().all(|(_, pool)| pool.is_err());
    if none && let Some((_, Err(error))) = pools.drain(..).next() {
        return Err(error);
    }
    for (name, pool) in &pools {
        if let Err(error) = pool {
            tracing::error!(pool = %name, %error, "the pool did not start; the others go on");
        }
    }
    Ok(Snakepit::new(
        io,
        Pools::from_iter(pools),
        #[cfg(feature = "control")]
        control,
    ))
}

#[cfg(feature = "control")]
async fn open_control(io: &IoThread, path: PathBuf) -> Result<ControlServer, Error> {
    let opening = io.handle().spawn_blocking(move || ControlSocket::open(&path));
    let socket = opening.await.map_err(|_| ended())??;
    ControlServer::start(socket, io.handle())
}

/// In the order of the settings.
async fn start_pools(config: Config, onto: Onto) -> Vec<(Arc<str>, Result<Arc<PoolEntry>, Error>)> {
    join_all(config.pools().iter().map(|pool| {
        let onto = &onto;
        async move {
            let started = start_pool(pool.clone(), onto).await;
            (Arc::from(pool.name()), started.map(Arc::new))
        }
    }))
    .await
}

/// What all pools of a host stand on.
struct Onto {
    links: Arc<LinkServer>,
    runtime: Handle,
    last_duties: LastDuties,
    lone_call: Arc<Notify>,
}

async fn start_pool(config: PoolConfig, onto: &Onto) -> Result<PoolEntry, Error> {
    let Onto { runtime, last_duties, lone_call, .. } = onto;
    let named = config.clone();
    let resolving = runtime.spawn_blocking(move || interpreter::resolve(&named));
    // A blocking task ends early only when its runtime does.
    let resolved = resolving.await.map_err(|_| ended())??;
    let profile = profile(&config, resolved, onto)?;
    // Workers whose last handle is dropped are killed at once and reaped here.
    let all_gone = Arc::clone(&profile);
    last_duties.add(async move { all_gone.all_gone().await });
    let pool = Pool::new(pool_options(&config, Arc::clone(lone_call)), Clock::system(), runtime);
    let supervisor =
        Supervisor::start(pool.clone(), Arc::clone(&profile), supervisor_options(&config), runtime)
            .await?;
    let tools = pool.workers().into_iter().next().map(|worker| worker.info.tools);
    let supervised = Supervised {
        observer: supervisor.observer(),
        supervisor: Mutex::new(Some(supervisor)),
        profile,
        slots: config.profile().slots(),
        drain: config.timeouts().drain,
        state: watch::Sender::new(PoolState::Running),
        tools: tools.unwrap_or_default(),
    };
    Ok(PoolEntry { pool, supervised })
}

fn pool_options(config: &PoolConfig, lone_call: Arc<Notify>) -> PoolOptions {
    let timeouts = config.timeouts();
    PoolOptions {
        name: config.name().into(),
        queue_limit: config.queue(),
        prefetch: config.prefetch(),
        call_timeout: timeouts.call,
        queue_timeout: timeouts.queue,
        stream_idle_timeout: timeouts.stream_idle,
        cancel_grace: config.cancel_grace(),
        // Validated to fit.
        stream_credit: config.stream_credit() as u32,
        max_payload_bytes: config.max_payload(),
        lone_call: Some(lone_call),
    }
}

/// What makes the pool's workers.
fn profile(
    config: &PoolConfig,
    resolved: Resolved,
    onto: &Onto,
) -> Result<Arc<dyn Profile>, Error> {
    let (links, runtime) = (Arc::clone(&onto.links), onto.runtime.clone());
    let worker = worker_options(config, resolved);
    Ok(match config.profile() {
        config::Profile::Thread { threads, gil } => {
            let options = thread_options(worker, threads, gil);
            Arc::new(ThreadProfile::new(options, links, runtime)?)
        }
        _ => {
            Arc::new(ProcessProfile::new(process_options(worker, config.start()), links, runtime)?)
        }
    })
}

fn process_options(worker: WorkerOptions, start: Start) -> ProcessOptions {
    let mut options = ProcessOptions::from(worker);
    options.start = match start {
        Start::Spawn => StartMethod::Spawn,
        _ => StartMethod::Zygote,
    };
    options
}

fn thread_options(worker: WorkerOptions, threads: usize, gil: config::GilPolicy) -> ThreadOptions {
    let mut options = ThreadOptions::from_worker(worker, threads);
    options.gil = match gil {
        config::GilPolicy::Refuse => GilPolicy::Refuse,
        config::GilPolicy::Degrade => GilPolicy::Degrade,
        _ => GilPolicy::Warn,
    };
    options
}

fn worker_options(config: &PoolConfig, resolved: Resolved) -> WorkerOptions {
    let adapter = config.adapter().to_string();
    let mut options = WorkerOptions::new(resolved.interpreter.executable, adapter);
    options.worker_package = resolved.package;
    options.adapter_args = Some(config.adapter_args().clone()).filter(|args| !args.is_empty());
    options.env = config.env().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    options.cwd = config.cwd().map(Path::to_path_buf);
    options.heartbeat = config.heartbeat();
    options.max_payload_bytes = config.max_payload();
    options.start_timeout = config.timeouts().start;
    options
}

fn supervisor_options(config: &PoolConfig) -> SupervisorOptions {
    let mut options = SupervisorOptions::new(config.workers());
    let (lifecycle, timeouts) = (config.lifecycle(), config.timeouts());
    let (min_workers, max_workers) = (config.min_workers(), config.max_workers());
    options.elastic = (min_workers < max_workers).then(|| Elastic {
        min_workers,
        max_workers,
        idle_timeout: config.idle_timeout(),
    });
    options.start_timeout = timeouts.start;
    options.drain = timeouts.drain;
    options.heartbeat = Some(config.heartbeat());
    options.health_interval = config.health_interval();
    options.limits = Limits {
        ttl: lifecycle.ttl,
        max_requests: lifecycle.max_requests,
        max_memory: lifecycle.max_memory,
        idle: lifecycle.idle,
    };
    options.memory_interval = lifecycle.memory_interval;
    options.jitter = lifecycle.jitter;
    options.max_surge = lifecycle.max_surge;
    options
}

/// Finds out before anything starts that a file is not there, and says which one is.
fn check_files(config: &PoolConfig) -> Result<(), Error> {
    let Some(file) = config.adapter().file().filter(|file| !file.is_file()) else {
        return Ok(());
    };
    let message = format!("there is no adapter file {}", file.display());
    let help = nearest_file(file).map_or_else(
        || {
            "relative files are taken from the working directory, or from that of the settings"
                .to_owned()
        },
        |near| format!("did you mean `{near}`?"),
    );
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .with_help(help)
        .with_detail(format!("pool.{}.adapter", config.name()), "there is no such file"))
}

fn nearest_file(missing: &Path) -> Option<String> {
    let wanted = missing.file_name()?.to_str()?;
    let directory = missing.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries = std::fs::read_dir(directory.unwrap_or(Path::new("."))).ok()?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".py"))
        .map(|name| (strsim::damerau_levenshtein(wanted, &name), name))
        // Three slips, as in `modle.py` for `my_model.py`; beyond that it is another file.
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, name)| name)
}

impl Supervised {
    /// What can be called now, or could when there was a worker last.
    pub(crate) fn tools(&self, pool: &Pool) -> Vec<Tool> {
        let workers = pool.workers();
        workers.into_iter().next().map_or_else(|| self.tools.clone(), |worker| worker.info.tools)
    }

    /// Where the pool is in its life.
    pub(crate) fn state(&self) -> PoolState {
        *self.state.borrow()
    }

    /// Resolves when the workers are gone for good.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as `self`.
        let _ = self.state.subscribe().wait_for(|state| *state == PoolState::Stopped).await;
    }

    /// How the workers are, or were when the pool was shut down.
    pub(crate) fn status(&self) -> SupervisorStatus {
        self.observer.status()
    }

    /// How many slots the pool has or may grow to by itself.
    pub(crate) fn most_slots(&self) -> usize {
        self.observer.most_workers() * self.slots
    }

    /// Has one worker replaced, or all of them; the future resolves when they are gone.
    pub(crate) fn recycle(
        &self,
        pool: &Pool,
        worker: Option<&WorkerId>,
    ) -> Result<BoxFuture<'static, ()>, Error> {
        self.supervising(pool, |supervisor| match worker {
            Some(worker) => Ok(Box::pin(supervisor.recycle(worker)?) as _),
            None => {
                // All of it: what is on disk now, too.
                self.profile.renew();
                Ok(Box::pin(supervisor.recycle_all()) as _)
            }
        })
    }

    /// Changes the number of workers; the future resolves when there are so many.
    pub(crate) fn scale(
        &self,
        pool: &Pool,
        workers: usize,
    ) -> Result<BoxFuture<'static, Result<(), Error>>, Error> {
        self.supervising(pool, |supervisor| Ok(Box::pin(supervisor.scale(workers)?) as _))
    }

    fn supervising<T>(
        &self,
        pool: &Pool,
        ask: impl FnOnce(&Supervisor) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(supervisor) = supervisor.as_ref() else {
            let message = format!("pool `{}` is shutting down", pool.name());
            return Err(Error::new(ErrorKind::PoolClosed, message));
        };
        ask(supervisor)
    }
}

/// Ends closed pools at the same time, all within `deadline`; calls may take as long as the pool's
/// settings say, and three quarters of it at most.
pub(crate) async fn shutdown(
    entries: Vec<Arc<PoolEntry>>,
    deadline: Duration,
) -> Result<(), Error> {
    let share = deadline.mul_f64(DRAIN_SHARE);
    stop_all(&entries, deadline, |entry| entry.supervised.drain.min(share)).await
}

/// As [`shutdown`], with calls taking all of their three quarters: whoever names a time for one pool
/// means that one.
pub(crate) async fn drain(entries: Vec<Arc<PoolEntry>>, deadline: Duration) -> Result<(), Error> {
    stop_all(&entries, deadline, |_| deadline.mul_f64(DRAIN_SHARE)).await
}

async fn stop_all(
    entries: &[Arc<PoolEntry>],
    deadline: Duration,
    drain: impl Fn(&PoolEntry) -> Duration,
) -> Result<(), Error> {
    let ended = entries.iter().map(|entry| stop_pool(entry, drain(entry), deadline));
    join_all(ended).await.into_iter().collect()
}

async fn stop_pool(entry: &PoolEntry, drain: Duration, deadline: Duration) -> Result<(), Error> {
    /// Tells the end, also when the stopping is cut off.
    struct Stopped<'a>(&'a watch::Sender<PoolState>);
    impl Drop for Stopped<'_> {
        fn drop(&mut self) {
            self.0.send_replace(PoolState::Stopped);
        }
    }
    let end = Instant::now() + deadline;
    let Supervised { supervisor, profile, state, .. } = &entry.supervised;
    let Some(supervisor) = supervisor.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        // Somebody else is at it, with a deadline of his own.
        let stopped = timeout_at(end, entry.supervised.stopped()).await;
        return stopped.map_err(|_| still_running(entry, deadline));
    };
    state.send_replace(PoolState::Draining);
    let _stopped = Stopped(state);
    let drained = timeout_at(Instant::now() + drain, entry.pool.drained()).await;
    let stopped = supervisor.shutdown(end.saturating_duration_since(Instant::now())).await;
    // Workers that had been replaced may still be on their way out.
    let gone = timeout_at(end, profile.all_gone()).await;
    stopped?;
    if drained.is_err() {
        return Err(still_running(entry, drain));
    }
    gone.map_err(|_| still_ending(entry, deadline))
}

fn still_ending(entry: &PoolEntry, after: Duration) -> Error {
    let name = entry.pool.name();
    let message =
        format!("processes of pool `{name}` were not gone after {after:?}; they have been killed");
    Error::new(ErrorKind::Timeout(Phase::Drain), message).with_help("give the shutdown more time")
}

fn still_running(entry: &PoolEntry, after: Duration) -> Error {
    let name = entry.pool.name();
    let message = format!("calls of pool `{name}` were still running after {after:?}");
    Error::new(ErrorKind::Timeout(Phase::Drain), message)
        .with_help("give the shutdown more time, or the pool a longer `timeouts.drain`")
}
