//! The settings of a pool in the making: one call for each key. Knows no rule; `validate` judges.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::error::ConfigError;
use crate::logs::LogLevel;
use crate::pool::PoolConfig;
use crate::profile::GilPolicy;
use crate::raw::RawPool;
use crate::resilience::{
    BarrierBuilder, BreakerBuilder, FallbackBuilder, HedgeBuilder, RateLimitBuilder, RetryBuilder,
    ShedBuilder,
};
use crate::session::Affinity;
use crate::shm::SharedMemoryMode;
use crate::start::Start;
use crate::strategy::Strategy;
use crate::timeouts::TimeoutProfile;
use crate::validate;

/// Settings of one pool in the making; each call sets one, the last one counts.
#[derive(Clone, Debug)]
#[must_use]
pub struct PoolBuilder {
    raw: RawPool,
}

impl PoolBuilder {
    pub(crate) fn new(raw: RawPool) -> Self {
        Self { raw }
    }

    /// Gives the pool another name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.raw.name = name.into();
        self
    }

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

    /// Which worker of profile `thread` with a free slot takes a call.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.raw.strategy = Some(strategy.name().to_owned());
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

    /// How deep calls may be nested in calls of the host's tools; 0 lets tools make none.
    pub fn max_tool_depth(mut self, calls: usize) -> Self {
        self.raw.max_tool_depth = Some(calls as u64);
        self
    }

    /// How many calls of the host's tools one worker may have under way.
    pub fn max_tool_calls(mut self, calls: usize) -> Self {
        self.raw.max_tool_calls = Some(calls as u64);
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

    /// Levels of the events of lines that workers print on standard output and standard error.
    pub fn log_levels(mut self, stdout: LogLevel, stderr: LogLevel) -> Self {
        self.raw.logs.stdout = Some(stdout.name().to_owned());
        self.raw.logs.stderr = Some(stderr.name().to_owned());
        self
    }

    /// How many lines a second become events, for each stream of a worker.
    pub fn log_lines_per_second(mut self, lines: usize) -> Self {
        self.raw.logs.lines_per_second = Some(lines as u64);
        self
    }

    /// How many bytes of a line are told; the rest is left out.
    pub fn log_max_line(mut self, bytes: u64) -> Self {
        self.raw.logs.max_line = Some(bytes);
        self
    }

    /// How many lines of standard error are kept for the error of a worker that dies.
    pub fn log_tail(mut self, lines: usize) -> Self {
        self.raw.logs.tail = Some(lines as u64);
        self
    }

    /// How closely calls of a session hold to its worker, unless they say otherwise.
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.raw.session.affinity = Some(affinity.name().to_owned());
        self
    }

    /// Time without use after which a session ends, or `None` for never.
    pub fn session_ttl(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.raw.session.ttl = Some(time.into());
        self
    }

    /// How many sessions there may be.
    pub fn session_quota(mut self, sessions: usize) -> Self {
        self.raw.session.quota = Some(sessions as u64);
        self
    }

    /// How many bytes the values kept for all sessions may take.
    pub fn session_data(mut self, bytes: u64) -> Self {
        self.raw.session.max_data = Some(bytes);
        self
    }

    /// Whether large arrays and byte buffers go through shared memory.
    pub fn shared_memory(mut self, mode: SharedMemoryMode) -> Self {
        self.raw.shm.mode = Some(mode.name().to_owned());
        self
    }

    /// From how many bytes on they do.
    pub fn shared_memory_threshold(mut self, bytes: u64) -> Self {
        self.raw.shm.threshold = Some(bytes);
        self
    }

    /// How many bytes of it the pool may use at the same time.
    pub fn shared_memory_quota(mut self, bytes: u64) -> Self {
        self.raw.shm.quota = Some(bytes);
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

    /// Keeps a command that has crashed a worker from its seat for a while; calls that are lost that
    /// way and marked idempotent are moved to another worker, once.
    pub fn barrier(mut self, set: impl FnOnce(BarrierBuilder) -> BarrierBuilder) -> Self {
        self.raw.layers.barrier = Some(set(self.raw.layers.barrier.unwrap_or_default()));
        self
    }

    /// Refuses calls that would wait too long.
    pub fn shed(mut self, set: impl FnOnce(ShedBuilder) -> ShedBuilder) -> Self {
        self.raw.layers.shed = Some(set(self.raw.layers.shed.unwrap_or_default()));
        self
    }

    /// Refuses calls beyond a rate.
    pub fn rate_limit(mut self, set: impl FnOnce(RateLimitBuilder) -> RateLimitBuilder) -> Self {
        self.raw.layers.rate_limit = Some(set(self.raw.layers.rate_limit.unwrap_or_default()));
        self
    }

    /// Refuses calls after many have failed, until a probe succeeds.
    pub fn breaker(mut self, set: impl FnOnce(BreakerBuilder) -> BreakerBuilder) -> Self {
        self.raw.layers.breaker = Some(set(self.raw.layers.breaker.unwrap_or_default()));
        self
    }

    /// Tries failed calls again, those that are marked idempotent.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use snakepit_config::{PoolConfig, RetrySchedule};
    ///
    /// let pool = PoolConfig::builder("default")
    ///     .adapter("adapter.py")
    ///     .retry(|retry| retry.attempts(5).schedule(RetrySchedule::Decorrelated))
    ///     .breaker(|breaker| breaker.open(Duration::from_secs(10)))
    ///     .build()?;
    /// assert_eq!(pool.resilience().retry.as_ref().unwrap().attempts, 5);
    /// # Ok::<(), snakepit_config::ConfigError>(())
    /// ```
    pub fn retry(mut self, set: impl FnOnce(RetryBuilder) -> RetryBuilder) -> Self {
        self.raw.layers.retry = Some(set(self.raw.layers.retry.unwrap_or_default()));
        self
    }

    /// Gives slow calls that are marked idempotent a second attempt; the first answer counts.
    pub fn hedge(mut self, set: impl FnOnce(HedgeBuilder) -> HedgeBuilder) -> Self {
        self.raw.layers.hedge = Some(set(self.raw.layers.hedge.unwrap_or_default()));
        self
    }

    /// Asks another pool when this one cannot serve.
    pub fn fallback(mut self, set: impl FnOnce(FallbackBuilder) -> FallbackBuilder) -> Self {
        self.raw.layers.fallback = Some(set(self.raw.layers.fallback.unwrap_or_default()));
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
