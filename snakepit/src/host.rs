//! The handle that programs hold: pools by name, and the thread they live on. Owns lookup and
//! shutdown; how pools are made is `wiring`'s business, scheduling is the engine's.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Serialize;
use serde::de::DeserializeOwned;
use snakepit_bridge::Memory;
use snakepit_config::{Config, DEFAULT_POOL, HostConfig, WORKERS};
use snakepit_core::{BoxFuture, Error, ErrorKind, Pool, Request, Tool, WorkerId, WorkerStatus};
use snakepit_lifecycle::WorkerState;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::batch::BatchStream;
use crate::builder::Builder;
use crate::call::Call;
#[cfg(feature = "control")]
use crate::control::ControlServer;
use crate::io::{IoThread, ended};
use crate::layers::Layers;
use crate::pace::Room;
use crate::pools::Pools;
use crate::reload::HostSettings;
use crate::report::{PoolReport, Stats, Totals, WorkerReport};
use crate::stream::ResultStream;
use crate::tools::{HostTool, HostToolReport, Registry};
use crate::wiring::{self, Onto, Supervised};

/// Pools of Python workers. Clones are handles to the same pools.
///
/// Its futures only wait: they can be awaited on any executor, and survive the runtime that first
/// polled them. When the last handle is dropped the workers are told to end, and nobody waits for
/// that; [`shutdown`](Self::shutdown) is the form that waits.
///
/// # Examples
/// ```no_run
/// use serde_json::json;
/// use snakepit::Snakepit;
///
/// # async fn example() -> snakepit::Result<()> {
/// let snakepit = Snakepit::builder().adapter("adapter.py").workers(2).start().await?;
/// let sum: i64 = snakepit.execute("add", json!({"a": 5, "b": 3})).await?;
/// assert_eq!(sum, 8);
/// snakepit.shutdown(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Snakepit(pub(crate) Arc<Inner>);

/// A handle that keeps nothing alive.
pub(crate) struct WeakHost(std::sync::Weak<Inner>);

pub(crate) struct Inner {
    // First of all: nobody is to find a host that ends.
    #[cfg(feature = "control")]
    control: Option<ControlServer>,
    // Before the thread: supervision ends while the thread still runs.
    pub(crate) pools: Arc<Pools>,
    /// What pools that come later stand on.
    pub(crate) onto: Onto,
    /// What it was started from.
    pub(crate) settings: Builder,
    /// What it goes by beside its pools.
    pub(crate) host: Arc<HostSettings>,
    /// Held while the settings are read again.
    pub(crate) reloading: Arc<tokio::sync::Mutex<()>>,
    /// Whether all of it was shut down or drained.
    ended: watch::Sender<bool>,
    tools: Arc<Registry>,
    pub(crate) io: IoThread,
}

/// One pool that started.
pub(crate) struct PoolEntry {
    pub(crate) pool: Pool,
    pub(crate) supervised: Supervised,
    /// A reload puts others in their place; calls under way go on through those they began with.
    pub(crate) layers: ArcSwap<Layers>,
    /// Where the arguments of its calls are placed.
    pub(crate) memory: ArcSwapOption<Memory>,
}

impl Snakepit {
    /// Starts the settings of a Snakepit.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts the pools of a settings file (TOML, JSON or YAML), with the environment's
    /// `SNAKEPIT_POOL__…` and `SNAKEPIT_HOST__…` over it; relative files in it are taken from its
    /// directory.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::builder().config(Config::load(path)?).reload_from(path).start().await
    }

    pub(crate) fn new(
        io: IoThread,
        pools: Arc<Pools>,
        onto: Onto,
        settings: Builder,
        host: HostConfig,
        tools: Arc<Registry>,
        #[cfg(feature = "control")] control: Option<ControlServer>,
    ) -> Self {
        let inner = Arc::new(Inner {
            #[cfg(feature = "control")]
            control,
            pools,
            onto,
            settings,
            host: Arc::new(HostSettings::new(host)),
            reloading: Arc::default(),
            ended: watch::Sender::new(false),
            tools,
            io,
        });
        inner.tools.attach(WeakHost(Arc::downgrade(&inner)));
        #[cfg(feature = "control")]
        if let Some(control) = &inner.control {
            control.attach(WeakHost(Arc::downgrade(&inner)));
        }
        Self(inner)
    }

    /// Calls a tool in the pool `default`. See [`Call::args`] for the form of arguments.
    ///
    /// # Errors
    /// As [`Call::execute`].
    ///
    /// # Cancel safety
    /// As [`Call::execute`].
    pub async fn execute<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<T, Error> {
        self.call(command).args(arguments).execute().await
    }

    /// Calls a tool that yields results, in the pool `default`.
    ///
    /// # Errors
    /// As [`Call::stream`].
    ///
    /// # Cancel safety
    /// As [`Call::stream`].
    pub async fn execute_stream<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<ResultStream<T>, Error> {
        self.call(command).args(arguments).stream().await
    }

    /// Runs many calls and gives their results in the order of the calls. A batch of any size is
    /// fine: calls are taken from the iterator as others end, so that no more of them are in memory
    /// than are under way. The iterator runs where the future is awaited, and should not block.
    ///
    /// # Errors
    /// Each call has its own result, as from [`Call::execute`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the calls that have not ended.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(snakepit: snakepit::Snakepit) {
    /// use serde_json::json;
    ///
    /// let calls = (0..100).map(|n| snakepit.call("add").args(json!({"a": n, "b": 1})));
    /// let sums = snakepit.execute_batch::<i64>(calls).await;
    /// assert_eq!(sums.len(), 100);
    /// # }
    /// ```
    pub async fn execute_batch<T: DeserializeOwned>(
        &self,
        calls: impl IntoIterator<Item = Call>,
    ) -> Vec<Result<T, Error>> {
        let mut batch = self.execute_batch_unordered::<T, _>(calls);
        let mut results = Vec::new();
        while let Some(numbered) = batch.next().await {
            results.push(numbered);
        }
        results.sort_unstable_by_key(|(position, _)| *position);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Runs many calls and gives their results as they come, each with its call's position. Calls
    /// are taken from the iterator while results are read, as in
    /// [`execute_batch`](Self::execute_batch).
    pub fn execute_batch_unordered<T: DeserializeOwned, I: IntoIterator<Item = Call>>(
        &self,
        calls: I,
    ) -> BatchStream<T, I::IntoIter> {
        BatchStream::new(calls)
    }

    /// Starts a call that says more than command and arguments.
    pub fn call(&self, command: impl Into<Arc<str>>) -> Call {
        Call::new(self.clone(), command.into())
    }

    /// The names of the pools, in their order. Pools that did not start are among them.
    pub fn pools(&self) -> Vec<String> {
        self.0.pools.names().iter().map(ToString::to_string).collect()
    }

    /// What can be called in a pool.
    ///
    /// # Errors
    /// `PoolNotFound`, or the error the pool failed to start with.
    pub fn tools(&self, pool: &str) -> Result<Vec<Tool>, Error> {
        let entry = self.entry(Some(pool))?;
        Ok(entry.supervised.tools(&entry.pool))
    }

    /// Lets Python call a tool in Rust, from the next call on; see [`HostTool`].
    ///
    /// # Errors
    /// `ToolExists` when one of its name can be seen by the same calls, `InvalidConfig` when it has
    /// none.
    pub fn register(&self, tool: HostTool) -> Result<(), Error> {
        self.0.tools.add(tool)?;
        self.refresh_tools();
        Ok(())
    }

    /// Takes a tool in Rust away again, in every pool that has it; false if there is none of that
    /// name. Calls of it that run go on.
    pub fn unregister(&self, name: &str) -> bool {
        let removed = self.0.tools.remove(name);
        self.refresh_tools();
        removed
    }

    fn refresh_tools(&self) {
        for entry in self.0.pools.started() {
            entry.pool.refresh_tools();
        }
    }

    /// The tools in Rust that Python can call, and what they have done.
    pub fn host_tools(&self) -> Vec<HostToolReport> {
        self.0.tools.report()
    }

    /// What every pool is doing.
    pub fn stats(&self) -> Stats {
        let pools = self.0.pools.all().into_iter().map(|(name, slot)| match slot {
            Ok(entry) => entry.report(),
            Err(failed) => {
                PoolReport::Failed { pool: name.to_string(), error: failed.error.clone() }
            }
        });
        let pools: Vec<_> = pools.collect();
        let shared_memory = self.shared_memory();
        Stats { total: Totals::of(&pools), pools, shared_memory }
    }

    /// Has one worker of a pool replaced, or all of them: a new one starts and takes the calls, then
    /// the old one ends what it has and goes. No call notices. Resolves when the old ones are gone;
    /// with all of a pool, as many are replaced at a time as its `max_surge` allows, and the adapter
    /// is imported anew. A single worker forked from a zygote has the adapter as it was imported
    /// there, whatever has become of its file.
    ///
    /// A replacement that does not start is tried again for as long as it takes, and the old worker
    /// serves meanwhile: [`stats`](Self::stats) says what is going on.
    ///
    /// # Errors
    /// `PoolNotFound`, `WorkerNotFound`, `PoolClosed`, or the error the pool failed to start with.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    pub async fn recycle(&self, pool: &str, worker: Option<&WorkerId>) -> Result<(), Error> {
        let entry = self.entry(Some(pool))?;
        entry.recycle(worker)?.await;
        Ok(())
    }

    /// Changes how many workers a pool has. Missing ones start at the same time; surplus ones take no
    /// more calls, end those they have, and go, idle ones first. No call notices. Resolves when the
    /// pool has so many ready workers and the surplus is gone, or when another number was asked for
    /// meanwhile.
    ///
    /// A worker that does not start is tried again for as long as it takes:
    /// [`stats`](Self::stats) says what is going on.
    ///
    /// # Errors
    /// `InvalidConfig` for a number that is out of range, `PoolNotFound`, `PoolClosed`, or the error
    /// the pool failed to start with.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    pub async fn scale(&self, pool: &str, workers: usize) -> Result<(), Error> {
        let entry = self.entry(Some(pool))?;
        entry.scale(workers)?.await
    }

    /// Closes the circuit of a command in a pool, or all of the pool's circuits; says whether one of
    /// them was not closed. [`stats`](Self::stats) tells how they are.
    ///
    /// # Errors
    /// `PoolNotFound`, `InvalidConfig` when the pool has no circuit breaker, or the error the pool
    /// failed to start with.
    pub fn reset_breaker(&self, pool: &str, command: Option<&str>) -> Result<bool, Error> {
        let entry = self.entry(Some(pool))?;
        entry.layers.load().reset(entry.pool.name(), command)
    }

    /// The runtime of the I/O thread, for callers that want to live there. What runs on it must
    /// never block: every call of every pool passes through.
    pub fn handle(&self) -> &Handle {
        self.0.io.handle()
    }

    /// Ends every pool: takes no more calls, fails those in line, lets running ones finish, and
    /// ends the workers, all within `deadline`. Then the I/O thread is gone.
    ///
    /// Other handles stay valid; their calls end with `PoolClosed`. A task on
    /// [`handle`](Self::handle) cannot wait for it: it ends with the thread.
    ///
    /// # Errors
    /// `Timeout(Drain)` when calls were still running at the deadline and were cut off.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the pools closed and their workers to be ended when the last
    /// handle goes.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), Error> {
        let entries = self.0.pools.close();
        for entry in &entries {
            entry.pool.close();
        }
        let drained = self.0.io.run(wiring::shutdown(entries, deadline)).await;
        #[cfg(feature = "control")]
        if let Some(control) = &self.0.control {
            control.close().await;
        }
        self.0.io.stop().await;
        self.0.ended.send_replace(true);
        match drained {
            // A second shutdown finds the thread gone, and nothing left to do.
            Err(error) if error.kind() == ErrorKind::PoolClosed => Ok(()),
            drained => drained?,
        }
    }

    /// Ends one pool in good order, and leaves the others alone: it takes no more calls, fails those
    /// in line with `PoolClosed`, lets running ones finish, and ends the workers, all within
    /// `deadline`. Calls may use three quarters of it. The pool stays in [`stats`](Self::stats) until
    /// another one is started under its name; see [`stop_pool`](Self::stop_pool) for the gentle form.
    ///
    /// # Errors
    /// `Timeout(Drain)` when calls were still running after their share and were cut off;
    /// `PoolNotFound`, or the error the pool failed to start with.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    pub async fn drain(&self, pool: &str, deadline: Duration) -> Result<(), Error> {
        let entry = self.entry(Some(pool))?;
        self.begin_drain(entry, deadline).await.map_err(|_| ended())?
    }

    /// Starts to drain a pool; the task goes on whether or not somebody waits for it.
    pub(crate) fn begin_drain(
        &self,
        entry: Arc<PoolEntry>,
        deadline: Duration,
    ) -> JoinHandle<Result<(), Error>> {
        entry.pool.close();
        self.0.io.handle().spawn(wiring::drain(vec![entry], deadline))
    }

    /// Starts to drain all pools, and with them the host.
    #[cfg(feature = "control")]
    pub(crate) fn begin_drain_all(&self, deadline: Duration) -> JoinHandle<Result<(), Error>> {
        let entries = self.0.pools.close();
        for entry in &entries {
            entry.pool.close();
        }
        let ended = self.0.ended.clone();
        self.0.io.handle().spawn(async move {
            let drained = wiring::drain(entries, deadline).await;
            ended.send_replace(true);
            drained
        })
    }

    /// Resolves when all of it has ended: shut down by some handle, or drained over the control
    /// socket by an operator, who expects the program to end then if it only serves. Pools that were
    /// drained one by one do not count.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(crate) fn entry(&self, name: Option<&str>) -> Result<Arc<PoolEntry>, Error> {
        let name = name.unwrap_or(DEFAULT_POOL);
        match self.0.pools.get(name) {
            Some(slot) => slot.map_err(|failed| failed.error.clone()),
            None => Err(self.no_pool(name)),
        }
    }

    /// The pool that a request to this one goes to: its fallback, if it did not start. None that the
    /// request comes from.
    pub(crate) fn serving(
        &self,
        name: Option<&str>,
        request: &Request,
        been: &[Arc<str>],
    ) -> Result<Arc<PoolEntry>, Error> {
        let name = name.unwrap_or(DEFAULT_POOL);
        if been.iter().any(|been| **been == *name) {
            return Err(self.no_pool(name));
        }
        match self.0.pools.get(name) {
            Some(Ok(entry)) => Ok(entry),
            Some(Err(failed)) => {
                failed.serving_instead(self, request, been).ok_or_else(|| failed.error.clone())
            }
            None => Err(self.no_pool(name)),
        }
    }

    pub(crate) fn no_pool(&self, name: &str) -> Error {
        let names = self.pools();
        let nearest = nearest(name, names.iter().map(String::as_str).collect())
            .map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        let help = match names.as_slice() {
            [] => "there is none at the moment".to_owned(),
            names => format!("{nearest}the pools are: {}", names.join(", ")),
        };
        Error::new(ErrorKind::PoolNotFound, format!("there is no pool named `{name}`"))
            .with_help(help)
            .with_detail("pool", name)
    }
}

/// The name that was meant, if a slip or two lie between.
pub(crate) fn nearest<'a>(wanted: &str, names: Vec<&'a str>) -> Option<&'a str> {
    let distance = |name: &'a str| (strsim::damerau_levenshtein(wanted, name), name);
    // In a short name, two slips make another name.
    let most = if wanted.chars().count() < 4 { 1 } else { 2 };
    names.into_iter().map(distance).filter(|(slips, _)| *slips <= most).min().map(|(_, name)| name)
}

impl PoolEntry {
    /// Has one worker replaced, or all of them; the future resolves when they are gone.
    pub(crate) fn recycle(
        &self,
        worker: Option<&WorkerId>,
    ) -> Result<BoxFuture<'static, ()>, Error> {
        self.supervised.recycle(&self.pool, worker).map_err(|error| match worker {
            Some(wanted) if error.kind() == ErrorKind::WorkerNotFound => {
                self.with_nearest(error, wanted)
            }
            _ => error,
        })
    }

    /// Changes the number of workers; the future resolves when there are so many.
    pub(crate) fn scale(
        &self,
        workers: usize,
    ) -> Result<BoxFuture<'static, Result<(), Error>>, Error> {
        if !WORKERS.contains(&(workers as u64)) {
            let message = format!("a pool cannot have {workers} workers");
            let help = format!("ask for {} to {}", WORKERS.start(), WORKERS.end());
            return Err(Error::new(ErrorKind::InvalidConfig, message).with_help(help));
        }
        self.supervised.scale(&self.pool, workers)
    }

    /// Says which worker was meant, where a slip or two lie between.
    fn with_nearest(&self, error: Error, wanted: &WorkerId) -> Error {
        let workers = self.pool.workers();
        let ids = workers.iter().map(|worker| worker.info.id.as_str());
        match nearest(wanted.as_str(), ids.collect()) {
            Some(near) => {
                error.with_help(format!("it may have been replaced; did you mean `{near}`?"))
            }
            None => error,
        }
    }

    /// How many calls of one batch may be under way.
    pub(crate) fn room(&self) -> Room {
        Room::of(self.supervised.most_slots(), &self.pool.options())
    }

    pub(crate) fn report(&self) -> PoolReport {
        // A worker is in the supervisor's book before it joins the pool and after it leaves. One that
        // goes between these two looks is left out, as another may be starting in its place by now.
        let members = self.pool.workers();
        let status = self.supervised.status();
        let workers = members.into_iter().filter_map(
            |WorkerStatus { info, capacity, in_flight, served, last_seen, .. }| {
                let life = status.workers.iter().find(|life| life.worker == info.id)?;
                Some(WorkerReport {
                    state: life.state,
                    age: life.age.unwrap_or_default(),
                    recycled: life.recycled,
                    index: life.index,
                    memory_bytes: life.memory_bytes,
                    info,
                    capacity,
                    in_flight,
                    served,
                    last_seen,
                })
            },
        );
        let starting = status.workers.iter().filter(|life| life.state == WorkerState::Starting);
        let layers = self.layers.load();
        PoolReport::Running {
            stats: self.pool.stats(),
            state: self.supervised.state(),
            workers: workers.collect(),
            starting: starting.count(),
            degraded: status.degraded,
            recycles: status.recycles,
            nominal_recycles: status.nominal_recycles,
            near_limits: status.near_limits,
            exits: status.exits,
            failed_checks: status.failed_checks,
            layers: layers.counts(),
            circuits: layers.circuits(),
        }
    }
}

impl WeakHost {
    /// The host, unless its last handle is gone.
    pub(crate) fn upgrade(&self) -> Option<Snakepit> {
        self.0.upgrade().map(Snakepit)
    }
}

impl fmt::Debug for Snakepit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snakepit").field("pools", &self.pools()).finish()
    }
}
