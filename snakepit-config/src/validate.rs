//! Raw settings to valid ones: every rule about values, and every default. Total: any input gives
//! either a valid pool or at least one problem.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::adapter::AdapterSpec;
use crate::error::{Code, ConfigError, Problem};
use crate::keys;
use crate::lifecycle::{DEFAULT_JITTER, DEFAULT_MAX_SURGE, DEFAULT_MEMORY_INTERVAL, Lifecycle};
use crate::logs::{
    DEFAULT_LEVEL, DEFAULT_LINES_PER_SECOND, DEFAULT_MAX_LINE, DEFAULT_TAIL, LogLevel, Logs,
};
use crate::node::Place;
use crate::pool::{PoolConfig, Settings};
use crate::profile::{GilPolicy, Profile, THREADS};
use crate::raw::RawPool;
use crate::resilience::Resilience;
use crate::session::{Affinity, DEFAULT_MAX_DATA, DEFAULT_QUOTA, DEFAULT_TTL, Sessions};
use crate::shm::{self, SharedMemory, SharedMemoryMode};
use crate::start::Start;
use crate::strategy::Strategy;
use crate::timeouts::{TimeoutProfile, Timeouts};
use crate::units::{format_duration, format_size};

/// How many workers a pool may have. Each needs about five descriptors and a seat; past this a typing
/// error is likelier.
pub const WORKERS: RangeInclusive<u64> = 1..=4096;
/// Prefetch beyond this gains nothing and makes taking calls back slow.
pub(crate) const PREFETCH: RangeInclusive<u64> = 0..=1024;
pub(crate) const QUEUE: RangeInclusive<u64> = 1..=10_000_000;
pub(crate) const STREAM_CREDIT: RangeInclusive<u64> = 1..=65_536;
/// Each level holds a slot: deeper than this is a circle.
pub(crate) const MAX_TOOL_DEPTH: RangeInclusive<u64> = 0..=64;
pub(crate) const MAX_TOOL_CALLS: RangeInclusive<u64> = 1..=4096;
/// Below a kibibyte not even an error with its traceback fits.
pub(crate) const MAX_PAYLOAD: RangeInclusive<u64> = 1 << 10..=1 << 40;
pub(crate) const HEARTBEAT: RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(3600);
/// Keeps every sum of a limit and the present moment inside what clocks can hold.
pub(crate) const TIMES: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(366 * 86_400);
/// Cancelling without any grace is a choice, so zero is allowed.
pub(crate) const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

/// A younger worker than this is replaced before it has served.
pub(crate) const TTL: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
/// A document's numbers end there.
pub(crate) const MAX_REQUESTS: RangeInclusive<u64> = 1..=i64::MAX as u64;
/// No interpreter fits into less.
pub(crate) const MAX_MEMORY: RangeInclusive<u64> = 1 << 20..=1 << 50;
/// The pause is long beside the reading, which takes a tenth of a millisecond and more.
pub(crate) const MEMORY_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(3600);
/// Beyond a half a limit says little.
pub(crate) const JITTER: RangeInclusive<f64> = 0.0..=0.5;

/// Nobody reads more.
pub(crate) const LOG_LINES: RangeInclusive<u64> = 1..=1_000_000;
/// Each stream of a worker keeps one line of this size while it is read.
pub(crate) const LOG_LINE: RangeInclusive<u64> = 64..=1 << 20;
/// They become part of an error's text.
pub(crate) const LOG_TAIL: RangeInclusive<u64> = 0..=1000;
/// Below a kibibyte a reference is hardly smaller than the value.
pub(crate) const SHM_THRESHOLD: RangeInclusive<u64> = 1 << 10..=1 << 40;
/// One segment at least.
pub(crate) const SHM_QUOTA: RangeInclusive<u64> = 64 << 10..=1 << 50;

/// Each takes some hundred bytes; past this a typing error is likelier.
pub(crate) const SESSION_QUOTA: RangeInclusive<u64> = 1..=10_000_000;
/// As large as payloads may be.
pub(crate) const SESSION_DATA: RangeInclusive<u64> = 1 << 10..=1 << 40;

/// Below, every pause between two calls would cost a worker, and checks would be all it does.
pub(crate) const PAUSES: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(366 * 86_400);

/// A worker costs memory while it waits, and milliseconds to seconds when it has to come back.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_PREFETCH: u64 = 8;
const DEFAULT_QUEUE: u64 = 1024;
const DEFAULT_STREAM_CREDIT: u64 = 64;
const DEFAULT_MAX_TOOL_DEPTH: u64 = 8;
const DEFAULT_MAX_TOOL_CALLS: u64 = 64;
const DEFAULT_MAX_PAYLOAD: u64 = 1 << 30;
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(2);
/// What an adapter depends on is asked for rarely, because the worker takes no calls meanwhile.
const DEFAULT_HEALTH_INTERVAL: Duration = Duration::from_secs(300);
const DEFAULT_CANCEL_GRACE: Duration = Duration::from_secs(2);

/// The longest pool name: it becomes part of worker ids and process titles.
const NAME_CHARS: usize = 64;

/// Judges one pool.
pub(crate) fn pool(raw: RawPool) -> Result<PoolConfig, ConfigError> {
    let mut check = Check { raw: &raw, problems: Vec::new() };
    check.name();
    let profile = check.profile();
    let adapter = check.adapter();
    let (workers, min_workers, max_workers) = check.workers(profile);
    let mut settings = Settings {
        name: raw.name.clone(),
        profile,
        strategy: check.strategy(profile),
        start: check.start(profile),
        workers,
        min_workers,
        max_workers,
        idle_timeout: check.time(
            "idle_timeout",
            raw.idle_timeout.unwrap_or(DEFAULT_IDLE_TIMEOUT),
            PAUSES,
        ),
        adapter_args: check.adapter_args(),
        python: check.path("python", raw.python.as_deref(), Base::UnlessName),
        worker_package: check.path("worker_package", raw.worker_package.as_deref(), Base::Always),
        cwd: check.path("cwd", raw.cwd.as_deref(), Base::Always),
        env: check.env(),
        prefetch: check.count("prefetch", raw.prefetch, DEFAULT_PREFETCH, PREFETCH),
        queue: check.count("queue", raw.queue, DEFAULT_QUEUE, QUEUE),
        stream_credit: check.count(
            "stream_credit",
            raw.stream_credit,
            DEFAULT_STREAM_CREDIT,
            STREAM_CREDIT,
        ),
        max_tool_depth: check.count(
            "max_tool_depth",
            raw.max_tool_depth,
            DEFAULT_MAX_TOOL_DEPTH,
            MAX_TOOL_DEPTH,
        ),
        max_tool_calls: check.count(
            "max_tool_calls",
            raw.max_tool_calls,
            DEFAULT_MAX_TOOL_CALLS,
            MAX_TOOL_CALLS,
        ),
        max_payload: check.max_payload(),
        heartbeat: check.time("heartbeat", raw.heartbeat.unwrap_or(DEFAULT_HEARTBEAT), HEARTBEAT),
        health_interval: raw
            .health_interval
            .unwrap_or(Some(DEFAULT_HEALTH_INTERVAL))
            .map(|interval| check.time("health_interval", interval, PAUSES)),
        cancel_grace: check.time(
            "cancel_grace",
            raw.cancel_grace.unwrap_or(DEFAULT_CANCEL_GRACE),
            GRACE,
        ),
        lifecycle: check.lifecycle(),
        logs: check.logs(),
        session: check.session(),
        shm: check.shm(),
        timeouts: check.timeouts(),
        resilience: Resilience::default(),
    };
    let (queue, call_timeout) = (settings.queue, settings.timeouts.call);
    settings.resilience = check.resilience(queue, call_timeout);
    match adapter {
        Some(adapter) if check.problems.is_empty() => Ok(PoolConfig::new(adapter, settings)),
        _ => Err(ConfigError::new(check.problems)),
    }
}

/// One pool while it is judged.
pub(crate) struct Check<'a> {
    pub(crate) raw: &'a RawPool,
    problems: Vec<Problem>,
}

/// Which relative paths are taken from the document's directory.
#[derive(Clone, Copy, PartialEq)]
enum Base {
    Always,
    /// A name without a slash is looked up elsewhere and stays.
    UnlessName,
}

impl Check<'_> {
    pub(crate) fn problem(
        &mut self,
        code: Code,
        key: &str,
        message: impl Into<String>,
    ) -> &mut Problem {
        let path = if key.is_empty() {
            format!("pool.{}", self.raw.name)
        } else {
            format!("pool.{}.{key}", self.raw.name)
        };
        let at = self.raw.places.of(key).cloned();
        self.problems.push(Problem::new(code, path, message).at(at));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    fn name(&mut self) {
        let name = &self.raw.name;
        let valid = (1..=NAME_CHARS).contains(&name.chars().count())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !valid {
            self.problem(
                Code::InvalidValue,
                "",
                format!("a pool's name has 1 to {NAME_CHARS} letters, digits, `_` or `-`"),
            );
        }
    }

    fn profile(&mut self) -> Profile {
        let raw = self.raw;
        let name = raw.profile.as_deref().unwrap_or(Profile::Process.name());
        if name == "thread" {
            let cores = (cores() as u64).min(*THREADS.end());
            let threads = self.count("threads", raw.threads, cores, THREADS);
            return Profile::Thread { threads, gil: self.gil() };
        }
        if !Profile::NAMES.contains(&name) {
            let message = format!("there is no profile named `{name}`");
            self.problem(Code::InvalidProfile, "profile", message).help =
                Some(keys::suggestion(name, &Profile::NAMES));
            return Profile::default();
        }
        for (key, given) in [("threads", raw.threads.is_some()), ("gil", raw.gil.is_some())] {
            if given {
                let message = "workers of profile `process` run one call at a time";
                self.problem(Code::InvalidValue, key, message).help =
                    Some("add `profile = \"thread\"`, or leave it out".to_owned());
            }
        }
        Profile::Process
    }

    fn gil(&mut self) -> GilPolicy {
        let Some(name) = &self.raw.gil else { return GilPolicy::default() };
        GilPolicy::from_name(name).unwrap_or_else(|| {
            let message = format!("there is no such policy as `{name}`");
            self.problem(Code::InvalidValue, "gil", message).help =
                Some(keys::suggestion(name, &GilPolicy::NAMES));
            GilPolicy::default()
        })
    }

    fn strategy(&mut self, profile: Profile) -> Strategy {
        let Some(name) = &self.raw.strategy else { return Strategy::default() };
        let Some(strategy) = Strategy::from_name(name) else {
            let message = format!("there is no such strategy as `{name}`");
            self.problem(Code::InvalidValue, "strategy", message).help =
                Some(keys::suggestion(name, &Strategy::NAMES));
            return Strategy::default();
        };
        if profile == Profile::Process {
            let message = "workers of profile `process` run one call at a time";
            self.problem(Code::InvalidValue, "strategy", message).help =
                Some("add `profile = \"thread\"`, or leave it out".to_owned());
        }
        strategy
    }

    fn start(&mut self, profile: Profile) -> Start {
        let default = if profile == Profile::Process { Start::default() } else { Start::Spawn };
        let Some(name) = &self.raw.start else {
            return default;
        };
        if profile != Profile::Process && name == Start::Zygote.name() {
            let message = "workers of profile `thread` are spawned: threads cannot be forked";
            self.problem(Code::InvalidValue, "start", message).help =
                Some("leave it out".to_owned());
            return default;
        }
        let start = Start::from_name(name).filter(|start| {
            // There are no descriptors for processes elsewhere.
            *start != Start::Zygote || cfg!(target_os = "linux")
        });
        start.unwrap_or_else(|| {
            let message = format!("workers are not started by `{name}` here");
            self.problem(Code::InvalidValue, "start", message).help =
                Some(keys::suggestion(name, &Start::NAMES));
            Start::default()
        })
    }

    /// The number at first, the least and the most.
    fn workers(&mut self, profile: Profile) -> (usize, usize, usize) {
        let raw = self.raw;
        let keys = [
            ("workers", raw.workers),
            ("min_workers", raw.min_workers),
            ("max_workers", raw.max_workers),
        ];
        for (key, given) in keys {
            if let Some(workers) = given.filter(|workers| !WORKERS.contains(workers)) {
                self.problem(Code::InvalidPoolSize, key, out_of_range(&workers, &WORKERS));
            }
        }
        let workers = raw.workers.unwrap_or_else(|| {
            // A worker with threads takes all cores by itself.
            let cores = if profile == Profile::Process { cores() as u64 } else { 1 };
            let cores = cores.min(raw.max_workers.unwrap_or(*WORKERS.end()));
            cores.max(raw.min_workers.unwrap_or(1))
        });
        let (least, most) =
            (raw.min_workers.unwrap_or(workers), raw.max_workers.unwrap_or(workers));
        if least > workers {
            let message = format!("the pool starts with fewer workers than {least}: {workers}");
            self.problem(Code::InvalidPoolSize, "min_workers", message);
        }
        if most < workers {
            let message = format!("the pool starts with more workers than {most}: {workers}");
            self.problem(Code::InvalidPoolSize, "max_workers", message);
        }
        // In range where there is no problem, so they fit.
        (workers as usize, least as usize, most as usize)
    }

    fn adapter(&mut self) -> Option<AdapterSpec> {
        let Some(text) = &self.raw.adapter else {
            if self.raw.places.has("adapter") {
                // Said, but in a form that the reader has already reported.
                return None;
            }
            self.problem(Code::MissingRequiredFields, "adapter", "the pool has no adapter").help =
                Some("name a Python file or module, as `adapter = \"adapter.py\"`".to_owned());
            return None;
        };
        let spec = match AdapterSpec::parse(text) {
            Ok(spec) => spec,
            Err(message) => {
                self.problem(Code::InvalidValue, "adapter", message).help =
                    Some("write `file.py`, `file.py:Class`, `module` or `module:Class`".to_owned());
                return None;
            }
        };
        let spec = match self.base("adapter") {
            Some(base) => spec.based_on(base),
            None => spec,
        };
        if spec.file().is_some_and(|file| file.to_str().is_none()) {
            self.problem(Code::InvalidValue, "adapter", "the path is not UTF-8");
            return None;
        }
        Some(spec)
    }

    fn adapter_args(&mut self) -> serde_json::Map<String, Value> {
        match &self.raw.adapter_args {
            None => serde_json::Map::new(),
            Some(Value::Object(arguments)) => {
                for (key, value) in arguments {
                    if let Some(message) = no_toml_form(value) {
                        let key = format!("adapter_args.{key}");
                        self.problem(Code::InvalidValue, &key, message);
                    }
                }
                arguments.clone()
            }
            Some(_) => {
                let message = "the adapter's arguments are not a table of names and values";
                self.problem(Code::InvalidValue, "adapter_args", message);
                serde_json::Map::new()
            }
        }
    }

    /// Where a relative file is taken from: the directory of the document that names it. One named
    /// elsewhere is the caller's.
    fn base(&self, key: &str) -> Option<&Path> {
        let elsewhere = |place| !matches!(place, &Place::Text(_));
        if self.raw.places.exactly(key).is_some_and(elsewhere) {
            return None;
        }
        self.raw.base.as_deref()
    }

    fn path(&mut self, key: &str, given: Option<&Path>, base: Base) -> Option<PathBuf> {
        let given = given?;
        let is_name = base == Base::UnlessName && given.components().count() == 1;
        let path = match self.base(key) {
            Some(base) if !is_name => base.join(given),
            _ => given.to_path_buf(),
        };
        match path.to_str() {
            None => {
                self.problem(Code::InvalidValue, key, "the path is not UTF-8");
            }
            Some(text) if given.as_os_str().is_empty() || text.contains('\0') => {
                self.problem(Code::InvalidValue, key, "the path is empty or holds a NUL character");
            }
            Some(_) => {}
        }
        Some(path)
    }

    fn env(&mut self) -> std::collections::BTreeMap<String, String> {
        let env = &self.raw.env;
        for (name, value) in env {
            let problem = if name.is_empty() || name.contains(['=', '\0']) {
                "the name of an environment variable is not empty and holds no `=` and no NUL"
            } else if value.contains('\0') {
                "the value of an environment variable holds no NUL"
            } else {
                continue;
            };
            self.problem(Code::InvalidValue, &format!("env.{name}"), problem);
        }
        env.clone()
    }

    pub(crate) fn count(
        &mut self,
        key: &str,
        given: Option<u64>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> usize {
        let count = given.unwrap_or(default);
        if !range.contains(&count) {
            let message = out_of_range(&count, &range);
            self.problem(Code::InvalidValue, key, message);
        }
        // In range, so it fits.
        count as usize
    }

    fn max_payload(&mut self) -> u64 {
        let bytes = self.raw.max_payload.unwrap_or(DEFAULT_MAX_PAYLOAD);
        self.size("max_payload", bytes, MAX_PAYLOAD)
    }

    fn size(&mut self, key: &str, bytes: u64, range: RangeInclusive<u64>) -> u64 {
        if !range.contains(&bytes) {
            let range = format_size(*range.start())..=format_size(*range.end());
            let message = out_of_range(&format_size(bytes), &range);
            self.problem(Code::InvalidValue, key, message);
        }
        bytes
    }

    pub(crate) fn time(
        &mut self,
        key: &str,
        time: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.time_or(Code::InvalidValue, key, time, range)
    }

    fn time_or(
        &mut self,
        code: Code,
        key: &str,
        time: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        if !range.contains(&time) {
            let text = |time: &Duration| format_duration(*time);
            let range = text(range.start())..=text(range.end());
            let message = out_of_range(&text(&time), &range);
            self.problem(code, key, message);
        }
        time
    }

    fn lifecycle(&mut self) -> Lifecycle {
        let given = &self.raw.lifecycle;
        if let Some(calls) = given.max_requests.filter(|calls| !MAX_REQUESTS.contains(calls)) {
            let message = out_of_range(&calls, &MAX_REQUESTS);
            self.problem(Code::InvalidWorkerMaxRequests, "lifecycle.max_requests", message);
        }
        let jitter = given.jitter.unwrap_or(DEFAULT_JITTER);
        if !JITTER.contains(&jitter) {
            let message = out_of_range(&jitter, &JITTER);
            self.problem(Code::InvalidValue, "lifecycle.jitter", message);
        }
        let key = "lifecycle.memory_interval";
        let interval = given.memory_interval.unwrap_or(DEFAULT_MEMORY_INTERVAL);
        Lifecycle {
            ttl: given
                .ttl
                .flatten()
                .map(|age| self.time_or(Code::InvalidWorkerTtl, "lifecycle.ttl", age, TTL)),
            max_requests: given.max_requests,
            max_memory: given
                .max_memory
                .map(|bytes| self.size("lifecycle.max_memory", bytes, MAX_MEMORY)),
            idle: given.idle.flatten().map(|time| self.time("lifecycle.idle", time, PAUSES)),
            memory_interval: self.time(key, interval, MEMORY_INTERVAL),
            jitter,
            // No more than there may be workers at all.
            max_surge: self.count(
                "lifecycle.max_surge",
                given.max_surge,
                DEFAULT_MAX_SURGE,
                WORKERS,
            ),
        }
    }

    fn logs(&mut self) -> Logs {
        let given = &self.raw.logs;
        let bytes = given.max_line.unwrap_or(DEFAULT_MAX_LINE);
        let lines = (given.lines_per_second, DEFAULT_LINES_PER_SECOND);
        Logs {
            stdout: self.level("logs.stdout", given.stdout.as_deref()),
            stderr: self.level("logs.stderr", given.stderr.as_deref()),
            lines_per_second: self.count("logs.lines_per_second", lines.0, lines.1, LOG_LINES),
            max_line: self.size("logs.max_line", bytes, LOG_LINE),
            tail: self.count("logs.tail", given.tail, DEFAULT_TAIL, LOG_TAIL),
        }
    }

    fn level(&mut self, key: &str, given: Option<&str>) -> LogLevel {
        let Some(name) = given else { return DEFAULT_LEVEL };
        LogLevel::from_name(name).unwrap_or_else(|| {
            let message = format!("there is no such level as `{name}`");
            self.problem(Code::InvalidValue, key, message).help =
                Some(keys::suggestion(name, &LogLevel::NAMES));
            DEFAULT_LEVEL
        })
    }

    fn session(&mut self) -> Sessions {
        let given = &self.raw.session;
        let affinity =
            given.affinity.as_deref().map_or(Some(Affinity::default()), Affinity::from_name);
        if let (None, Some(name)) = (affinity, &given.affinity) {
            let message = format!("there is no such affinity as `{name}`");
            self.problem(Code::InvalidValue, "session.affinity", message).help =
                Some(keys::suggestion(name, &Affinity::NAMES));
        }
        let ttl = given.ttl.unwrap_or(Some(DEFAULT_TTL));
        let bytes = given.max_data.unwrap_or(DEFAULT_MAX_DATA);
        Sessions {
            affinity: affinity.unwrap_or_default(),
            ttl: ttl.map(|time| self.time("session.ttl", time, TTL)),
            quota: self.count("session.quota", given.quota, DEFAULT_QUOTA, SESSION_QUOTA),
            max_data: self.size("session.max_data", bytes, SESSION_DATA),
        }
    }

    fn shm(&mut self) -> SharedMemory {
        let given = &self.raw.shm;
        let mode = given.mode.as_deref();
        let mode = mode.map_or(Some(SharedMemoryMode::default()), SharedMemoryMode::from_name);
        if let (None, Some(name)) = (mode, &given.mode) {
            let message = format!("there is no such mode as `{name}`");
            self.problem(Code::InvalidValue, "shm.mode", message).help =
                Some(keys::suggestion(name, &SharedMemoryMode::NAMES));
        }
        let threshold = given.threshold.unwrap_or(shm::DEFAULT_THRESHOLD);
        let quota = given.quota.unwrap_or(shm::DEFAULT_QUOTA);
        SharedMemory {
            mode: mode.unwrap_or_default(),
            threshold: self.size("shm.threshold", threshold, SHM_THRESHOLD),
            quota: self.size("shm.quota", quota, SHM_QUOTA),
        }
    }

    fn timeouts(&mut self) -> Timeouts {
        let given = &self.raw.timeouts;
        let profile = match &given.profile {
            None => TimeoutProfile::default(),
            Some(name) => TimeoutProfile::from_name(name).unwrap_or_else(|| {
                let known = TimeoutProfile::ALL.map(TimeoutProfile::name);
                self.problem(
                    Code::InvalidValue,
                    "timeouts.profile",
                    format!("there is no timeout profile named `{name}`"),
                )
                .help = Some(keys::suggestion(name, &known));
                TimeoutProfile::default()
            }),
        };
        let base = profile.timeouts();
        let mut limit = |key: &str, given: Option<Option<Duration>>, base: Option<Duration>| {
            given.unwrap_or(base).map(|time| self.time(key, time, TIMES))
        };
        Timeouts {
            profile,
            call: limit("timeouts.call", given.call, base.call),
            stream_idle: limit("timeouts.stream_idle", given.stream_idle, base.stream_idle),
            queue: limit("timeouts.queue", given.queue, base.queue),
            start: self.time("timeouts.start", given.start.unwrap_or(base.start), TIMES),
            drain: self.time("timeouts.drain", given.drain.unwrap_or(base.drain), GRACE),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn out_of_range(
    value: &dyn fmt::Display,
    range: &RangeInclusive<impl fmt::Display>,
) -> String {
    format!("{value} is out of range: {} to {}", range.start(), range.end())
}

/// Why a value cannot stand in a TOML document, if it cannot.
fn no_toml_form(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null => Some("null has no form in a document: leave the key out"),
        Value::Number(number) if number.is_u64() && number.as_i64().is_none() => {
            Some("the number is out of range")
        }
        Value::Array(items) => items.iter().find_map(no_toml_form),
        Value::Object(entries) => entries.values().find_map(no_toml_form),
        _ => None,
    }
}
