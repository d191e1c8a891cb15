//! One pool's valid settings, and the builder that leads to them. Values are judged in `validate`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::ser::{SerializeMap, Serializer};
use serde::{Serialize, ser::Error as _};
use serde_json::Value;

use crate::adapter::AdapterSpec;
use crate::error::ConfigError;
use crate::lifecycle::Lifecycle;
use crate::profile::{GilPolicy, Profile};
use crate::raw::{Places, RawLifecycle, RawPool, RawTimeouts};
use crate::start::Start;
use crate::timeouts::{TimeoutProfile, Timeouts};
use crate::units::{format_duration, format_limit, format_size};
use crate::validate;

/// Valid settings of one pool; defaults are filled in.
///
/// `Serialize` gives the table of a document, without the name.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    adapter: AdapterSpec,
    settings: Settings,
}

/// Everything but what has no default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) profile: Profile,
    pub(crate) start: Start,
    pub(crate) workers: usize,
    pub(crate) min_workers: usize,
    pub(crate) max_workers: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) adapter_args: serde_json::Map<String, Value>,
    pub(crate) python: Option<PathBuf>,
    pub(crate) worker_package: Option<PathBuf>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) prefetch: usize,
    pub(crate) queue: usize,
    pub(crate) stream_credit: usize,
    pub(crate) max_payload: u64,
    pub(crate) heartbeat: Duration,
    pub(crate) health_interval: Option<Duration>,
    pub(crate) cancel_grace: Duration,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) timeouts: Timeouts,
}

impl PoolConfig {
    /// Starts the settings of a pool; only the adapter has no default.
    pub fn builder(name: impl Into<String>) -> PoolBuilder {
        PoolBuilder { raw: RawPool { name: name.into(), ..RawPool::default() } }
    }

    /// A builder that starts from these settings, to change some of them.
    pub fn to_builder(&self) -> PoolBuilder {
        let settings = self.settings.clone();
        let timeouts = RawTimeouts {
            profile: Some(settings.timeouts.profile.name().to_owned()),
            call: Some(settings.timeouts.call),
            stream_idle: Some(settings.timeouts.stream_idle),
            queue: Some(settings.timeouts.queue),
            start: Some(settings.timeouts.start),
            drain: Some(settings.timeouts.drain),
        };
        let lifecycle = RawLifecycle {
            ttl: Some(settings.lifecycle.ttl),
            max_requests: settings.lifecycle.max_requests,
            max_memory: settings.lifecycle.max_memory,
            idle: Some(settings.lifecycle.idle),
            memory_interval: Some(settings.lifecycle.memory_interval),
            jitter: Some(settings.lifecycle.jitter),
            max_surge: Some(settings.lifecycle.max_surge as u64),
        };
        let (threads, gil) = match settings.profile {
            Profile::Thread { threads, gil } => (Some(threads as u64), Some(gil.name().to_owned())),
            Profile::Process => (None, None),
        };
        // A bound that is the number itself follows it when that is changed.
        let bound = |bound| (bound != settings.workers).then_some(bound as u64);
        let raw = RawPool {
            name: settings.name,
            profile: Some(settings.profile.name().to_owned()),
            threads,
            gil,
            start: Some(settings.start.name().to_owned()),
            workers: Some(settings.workers as u64),
            min_workers: bound(settings.min_workers),
            max_workers: bound(settings.max_workers),
            idle_timeout: Some(settings.idle_timeout),
            adapter: Some(self.adapter.to_string()),
            adapter_args: Some(Value::Object(settings.adapter_args)),
            python: settings.python,
            worker_package: settings.worker_package,
            cwd: settings.cwd,
            env: settings.env,
            prefetch: Some(settings.prefetch as u64),
            queue: Some(settings.queue as u64),
            max_payload: Some(settings.max_payload),
            heartbeat: Some(settings.heartbeat),
            health_interval: Some(settings.health_interval),
            cancel_grace: Some(settings.cancel_grace),
            stream_credit: Some(settings.stream_credit as u64),
            lifecycle,
            timeouts,
            // Relative files have been based already.
            base: None,
            places: Places::default(),
        };
        PoolBuilder { raw }
    }

    pub(crate) fn new(adapter: AdapterSpec, settings: Settings) -> Self {
        Self { adapter, settings }
    }

    /// The pool's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// How a worker turns into slots.
    pub fn profile(&self) -> Profile {
        self.settings.profile
    }

    /// How the processes of workers come to be.
    pub fn start(&self) -> Start {
        self.settings.start
    }

    /// How many workers run at first, and for good where the bounds are the same.
    pub fn workers(&self) -> usize {
        self.settings.workers
    }

    /// How few workers there may be.
    pub fn min_workers(&self) -> usize {
        self.settings.min_workers
    }

    /// How many workers there may be when calls wait.
    pub fn max_workers(&self) -> usize {
        self.settings.max_workers
    }

    /// After how much time without a call a worker above the least goes.
    pub fn idle_timeout(&self) -> Duration {
        self.settings.idle_timeout
    }

    /// What the workers run.
    pub fn adapter(&self) -> &AdapterSpec {
        &self.adapter
    }

    /// Keyword arguments for the adapter's class.
    pub fn adapter_args(&self) -> &serde_json::Map<String, Value> {
        &self.settings.adapter_args
    }

    /// Path or name of the interpreter; `None` takes the best one of the machine.
    pub fn python(&self) -> Option<&Path> {
        self.settings.python.as_deref()
    }

    /// Directory that holds the worker package; `None` looks for it.
    pub fn worker_package(&self) -> Option<&Path> {
        self.settings.worker_package.as_deref()
    }

    /// Directory the workers run in; `None` is the host's.
    pub fn cwd(&self) -> Option<&Path> {
        self.settings.cwd.as_deref()
    }

    /// Environment variables set for the workers, over the host's.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.settings.env
    }

    /// How many calls at most wait in a worker for each of its slots; 0 is strict.
    pub fn prefetch(&self) -> usize {
        self.settings.prefetch
    }

    /// How many calls at most wait in the pool.
    pub fn queue(&self) -> usize {
        self.settings.queue
    }

    /// How many chunks of one stream may be under way before the caller takes them.
    pub fn stream_credit(&self) -> usize {
        self.settings.stream_credit
    }

    /// The largest payload either way, in bytes.
    pub fn max_payload(&self) -> u64 {
        self.settings.max_payload
    }

    /// Time between two signs of life of a worker; fifteen without any end it.
    pub fn heartbeat(&self) -> Duration {
        self.settings.heartbeat
    }

    /// Time between two checks by the adapter's own `health`; `None` never asks.
    pub fn health_interval(&self) -> Option<Duration> {
        self.settings.health_interval
    }

    /// How long a cancelled call may go on before its worker is ended.
    pub fn cancel_grace(&self) -> Duration {
        self.settings.cancel_grace
    }

    /// When workers are replaced although they are well.
    pub fn lifecycle(&self) -> Lifecycle {
        self.settings.lifecycle
    }

    /// How long each phase may take.
    pub fn timeouts(&self) -> Timeouts {
        self.settings.timeouts
    }
}

impl Serialize for PoolConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = &self.settings;
        let text = |path: &Path| {
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| S::Error::custom("the path is not UTF-8"))
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("profile", settings.profile.name())?;
        if let Profile::Thread { threads, gil } = settings.profile {
            map.serialize_entry("threads", &threads)?;
            map.serialize_entry("gil", gil.name())?;
        }
        map.serialize_entry("start", settings.start.name())?;
        map.serialize_entry("workers", &settings.workers)?;
        for (key, bound) in
            [("min_workers", settings.min_workers), ("max_workers", settings.max_workers)]
        {
            if bound != settings.workers {
                map.serialize_entry(key, &bound)?;
            }
        }
        map.serialize_entry("idle_timeout", &format_duration(settings.idle_timeout))?;
        map.serialize_entry("adapter", &self.adapter.to_string())?;
        let paths = [
            ("python", &settings.python),
            ("worker_package", &settings.worker_package),
            ("cwd", &settings.cwd),
        ];
        for (key, path) in paths {
            if let Some(path) = path {
                map.serialize_entry(key, &text(path)?)?;
            }
        }
        map.serialize_entry("prefetch", &settings.prefetch)?;
        map.serialize_entry("queue", &settings.queue)?;
        map.serialize_entry("max_payload", &format_size(settings.max_payload))?;
        map.serialize_entry("heartbeat", &format_duration(settings.heartbeat))?;
        map.serialize_entry("health_interval", &format_limit(settings.health_interval))?;
        map.serialize_entry("cancel_grace", &format_duration(settings.cancel_grace))?;
        map.serialize_entry("stream_credit", &settings.stream_credit)?;
        if !settings.adapter_args.is_empty() {
            map.serialize_entry("adapter_args", &settings.adapter_args)?;
        }
        if !settings.env.is_empty() {
            map.serialize_entry("env", &settings.env)?;
        }
        map.serialize_entry("lifecycle", &settings.lifecycle)?;
        map.serialize_entry("timeouts", &settings.timeouts)?;
        map.end()
    }
}

impl Serialize for Timeouts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("profile", self.profile.name())?;
        map.serialize_entry("call", &format_limit(self.call))?;
        map.serialize_entry("stream_idle", &format_limit(self.stream_idle))?;
        map.serialize_entry("queue", &format_limit(self.queue))?;
        map.serialize_entry("start", &format_duration(self.start))?;
        map.serialize_entry("drain", &format_duration(self.drain))?;
        map.end()
    }
}

/// Settings of one pool in the making; each call sets one, the last one counts.
#[derive(Clone, Debug)]
#[must_use]
pub struct PoolBuilder {
    raw: RawPool,
}

impl PoolBuilder {
    /// What the workers run: `adapter.py`, `adapter.py:Class`, `module` or `module:Class`.
    pub fn adapter(mut self, adapter: impl Into<String>) -> Self {
        self.raw.adapter = Some(adapter.into());
        self
    }

    /// Keyword arguments for the adapter's class: a JSON object.
    pub fn adapter_args(mut self, arguments: Value) -> Self {
        self.raw.adapter_args = Some(arguments);
        self
    }

    /// How a worker turns into slots: `process` (the default) or `thread`.
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.raw.profile = Some(profile.into());
        self
    }

    /// How many calls a worker of profile `thread` runs at a time; by default one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.raw.threads = Some(threads as u64);
        self
    }

    /// What becomes of a worker of profile `thread` whose GIL is on; by default it is told of.
    pub fn gil(mut self, policy: GilPolicy) -> Self {
        self.raw.gil = Some(policy.name().to_owned());
        self
    }

    /// How the processes of workers come to be; by default they are forked on Linux.
    pub fn start(mut self, start: Start) -> Self {
        self.raw.start = Some(start.name().to_owned());
        self
    }

    /// How many workers run; by default one for each core, within the bounds, and one of profile
    /// `thread`.
    pub fn workers(mut self, workers: usize) -> Self {
        self.raw.workers = Some(workers as u64);
        self
    }

    /// How few workers there may be when there is nothing to do; by default as many as at first.
    pub fn min_workers(mut self, workers: usize) -> Self {
        self.raw.min_workers = Some(workers as u64);
        self
    }

    /// How many workers there may be when calls wait; by default as many as at first.
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.raw.max_workers = Some(workers as u64);
        self
    }

    /// After how much time without a call a worker above the least goes.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.raw.idle_timeout = Some(time);
        self
    }

    /// Path or name of the interpreter.
    pub fn python(mut self, python: impl Into<PathBuf>) -> Self {
        self.raw.python = Some(python.into());
        self
    }

    /// Directory that holds the worker package.
    pub fn worker_package(mut self, directory: impl Into<PathBuf>) -> Self {
        self.raw.worker_package = Some(directory.into());
        self
    }

    /// Directory the workers run in.
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Self {
        self.raw.cwd = Some(directory.into());
        self
    }

    /// Sets one environment variable for the workers.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.raw.env.insert(name.into(), value.into());
        self
    }

    /// How many calls at most wait in a worker for each of its slots; 0 is strict.
    pub fn prefetch(mut self, calls: usize) -> Self {
        self.raw.prefetch = Some(calls as u64);
        self
    }

    /// How many calls at most wait in the pool.
    pub fn queue(mut self, calls: usize) -> Self {
        self.raw.queue = Some(calls as u64);
        self
    }

    /// How many chunks of one stream may be under way before the caller takes them.
    pub fn stream_credit(mut self, chunks: usize) -> Self {
        self.raw.stream_credit = Some(chunks as u64);
        self
    }

    /// The largest payload either way, in bytes.
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.raw.max_payload = Some(bytes);
        self
    }

    /// Time between two signs of life of a worker; fifteen without any end it.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.raw.heartbeat = Some(interval);
        self
    }

    /// Time between two checks by the adapter's own `health`, or `None` for never. A worker that fails
    /// three in a row is replaced; the second and third come after a tenth of this time.
    pub fn health_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.raw.health_interval = Some(interval.into());
        self
    }

    /// How long a cancelled call may go on before its worker is ended.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.raw.cancel_grace = Some(grace);
        self
    }

    /// After which time a worker is replaced, or `None` for never.
    pub fn ttl(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.raw.lifecycle.ttl = Some(age.into());
        self
    }

    /// After how many calls a worker is replaced, or `None` for never.
    pub fn max_requests(mut self, calls: impl Into<Option<u64>>) -> Self {
        self.raw.lifecycle.max_requests = calls.into();
        self
    }

    /// With how many bytes of its own memory a worker is replaced, or `None` for never.
    pub fn max_memory(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.raw.lifecycle.max_memory = bytes.into();
        self
    }

    /// After how much time without a call a worker that has served some is replaced, or `None` for
    /// never.
    pub fn idle(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.raw.lifecycle.idle = Some(time.into());
        self
    }

    /// Time between two readings of a worker's memory, where that has a limit.
    pub fn memory_interval(mut self, interval: Duration) -> Self {
        self.raw.lifecycle.memory_interval = Some(interval);
        self
    }

    /// The share of those limits, up to a half, by which chance may shorten them for each worker.
    pub fn jitter(mut self, share: f64) -> Self {
        self.raw.lifecycle.jitter = Some(share);
        self
    }

    /// How many workers may exist beside the pool's number while others are replaced.
    pub fn max_surge(mut self, workers: usize) -> Self {
        self.raw.lifecycle.max_surge = Some(workers as u64);
        self
    }

    /// The set of limits to start from.
    pub fn timeout_profile(mut self, profile: TimeoutProfile) -> Self {
        self.raw.timeouts.profile = Some(profile.name().to_owned());
        self
    }

    /// How long a call may take, or `None` for no limit.
    pub fn call_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.raw.timeouts.call = Some(limit.into());
        self
    }

    /// How long a stream may pause between chunks, or `None` for no limit.
    pub fn stream_idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.raw.timeouts.stream_idle = Some(limit.into());
        self
    }

    /// How long a call may wait for a slot, or `None` for no limit.
    pub fn queue_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.raw.timeouts.queue = Some(limit.into());
        self
    }

    /// How long a worker may take to become ready.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.raw.timeouts.start = Some(limit);
        self
    }

    /// How long calls in flight may take to end when the pool shuts down; those of a replaced
    /// worker may take longer, and an event says so.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.raw.timeouts.drain = Some(limit);
        self
    }

    /// A builder that starts from these settings, with all that this one has set over them.
    pub fn over(self, settings: &PoolConfig) -> Self {
        let mut below = settings.to_builder();
        self.raw.over(&mut below.raw);
        below
    }

    pub(crate) fn into_raw(self) -> RawPool {
        self.raw
    }

    /// Judges the settings.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn build(self) -> Result<PoolConfig, ConfigError> {
        validate::pool(self.raw)
    }
}
