//! One pool's valid settings. The way to them is in `builder`; values are judged in `validate`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::ser::{SerializeMap, Serializer};
use serde::{Serialize, ser::Error as _};
use serde_json::Value;

use crate::adapter::AdapterSpec;
use crate::builder::PoolBuilder;
use crate::lifecycle::Lifecycle;
use crate::logs::Logs;
use crate::profile::Profile;
use crate::raw::{
    Places, RawLifecycle, RawLogs, RawPool, RawSession, RawSharedMemory, RawTimeouts,
};
use crate::resilience::{Layers, Resilience};
use crate::session::Sessions;
use crate::shm::SharedMemory;
use crate::start::Start;
use crate::strategy::Strategy;
use crate::timeouts::Timeouts;
use crate::units::{format_duration, format_limit, format_size};

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
    pub(crate) strategy: Strategy,
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
    pub(crate) max_tool_depth: usize,
    pub(crate) max_tool_calls: usize,
    pub(crate) max_payload: u64,
    pub(crate) heartbeat: Duration,
    pub(crate) health_interval: Option<Duration>,
    pub(crate) cancel_grace: Duration,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) logs: Logs,
    pub(crate) session: Sessions,
    pub(crate) shm: SharedMemory,
    pub(crate) timeouts: Timeouts,
    pub(crate) resilience: Resilience,
}

impl PoolConfig {
    /// Starts the settings of a pool; only the adapter has no default.
    pub fn builder(name: impl Into<String>) -> PoolBuilder {
        PoolBuilder::new(RawPool { name: name.into(), ..RawPool::default() })
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
        let logs = RawLogs {
            stdout: Some(settings.logs.stdout.name().to_owned()),
            stderr: Some(settings.logs.stderr.name().to_owned()),
            lines_per_second: Some(settings.logs.lines_per_second as u64),
            max_line: Some(settings.logs.max_line),
            tail: Some(settings.logs.tail as u64),
        };
        let session = RawSession {
            affinity: Some(settings.session.affinity.name().to_owned()),
            ttl: Some(settings.session.ttl),
            quota: Some(settings.session.quota as u64),
            max_data: Some(settings.session.max_data),
        };
        let shm = RawSharedMemory {
            mode: Some(settings.shm.mode.name().to_owned()),
            threshold: Some(settings.shm.threshold),
            quota: Some(settings.shm.quota),
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
            strategy: threads.map(|_| settings.strategy.name().to_owned()),
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
            max_tool_depth: Some(settings.max_tool_depth as u64),
            max_tool_calls: Some(settings.max_tool_calls as u64),
            lifecycle,
            logs,
            session,
            shm,
            timeouts,
            layers: Layers::from(&settings.resilience),
            // Relative files have been based already.
            base: None,
            places: Places::default(),
        };
        PoolBuilder::new(raw)
    }

    /// Whether a worker made by these settings is as one made by the others: what differs can be
    /// changed under workers that serve. What is not known to be so is taken not to be.
    pub fn makes_same_workers(&self, other: &Self) -> bool {
        let mut same = self.clone();
        let (mine, theirs) = (&mut same.settings, &other.settings);
        mine.workers = theirs.workers;
        mine.min_workers = theirs.min_workers;
        mine.max_workers = theirs.max_workers;
        mine.idle_timeout = theirs.idle_timeout;
        mine.strategy = theirs.strategy;
        mine.logs = theirs.logs;
        mine.prefetch = theirs.prefetch;
        mine.queue = theirs.queue;
        mine.stream_credit = theirs.stream_credit;
        mine.max_tool_depth = theirs.max_tool_depth;
        mine.max_tool_calls = theirs.max_tool_calls;
        mine.health_interval = theirs.health_interval;
        mine.cancel_grace = theirs.cancel_grace;
        mine.lifecycle = theirs.lifecycle;
        mine.session = theirs.session;
        mine.shm.quota = theirs.shm.quota;
        mine.resilience.clone_from(&theirs.resilience);
        mine.timeouts = theirs.timeouts;
        same == *other
    }

    /// The keys whose values differ, as `workers` or `lifecycle.ttl`, in the order of their names.
    ///
    /// # Panics
    /// Never: what has no JSON form cannot be held.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let flat = |config: &Self| {
            let tree = serde_json::to_value(config).expect("valid settings have a JSON form");
            let mut leaves = BTreeMap::new();
            flatten("", tree, &mut leaves);
            leaves
        };
        let (mine, theirs) = (flat(self), flat(other));
        let keys: std::collections::BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
        keys.into_iter().filter(|key| mine.get(*key) != theirs.get(*key)).cloned().collect()
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

    /// Which worker with a free slot takes a call. Workers of one slot are taken in the order in which
    /// they came.
    pub fn strategy(&self) -> Strategy {
        self.settings.strategy
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

    /// How deep calls may be nested in calls of the host's tools; 0 lets tools make none.
    pub fn max_tool_depth(&self) -> usize {
        self.settings.max_tool_depth
    }

    /// How many calls of the host's tools one worker may have under way.
    pub fn max_tool_calls(&self) -> usize {
        self.settings.max_tool_calls
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

    /// What becomes of what workers print.
    pub fn logs(&self) -> Logs {
        self.settings.logs
    }

    /// What is kept for sessions, and where their calls run.
    pub fn session(&self) -> Sessions {
        self.settings.session
    }

    /// How large arrays and byte buffers travel.
    pub fn shared_memory(&self) -> SharedMemory {
        self.settings.shm
    }

    /// How long each phase may take.
    pub fn timeouts(&self) -> Timeouts {
        self.settings.timeouts
    }

    /// What the pool does about failures besides telling them.
    pub fn resilience(&self) -> &Resilience {
        &self.settings.resilience
    }
}

fn flatten(above: &str, value: Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        // What is inside an argument is the argument's.
        Value::Object(table) if above != "adapter_args" => {
            for (key, value) in table {
                let path = if above.is_empty() { key } else { format!("{above}.{key}") };
                flatten(&path, value, leaves);
            }
        }
        value => {
            leaves.insert(above.to_owned(), value);
        }
    }
}

impl From<PoolConfig> for PoolBuilder {
    fn from(settings: PoolConfig) -> Self {
        settings.to_builder()
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
            map.serialize_entry("strategy", settings.strategy.name())?;
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
        map.serialize_entry("max_tool_depth", &settings.max_tool_depth)?;
        map.serialize_entry("max_tool_calls", &settings.max_tool_calls)?;
        if !settings.adapter_args.is_empty() {
            map.serialize_entry("adapter_args", &settings.adapter_args)?;
        }
        if !settings.env.is_empty() {
            map.serialize_entry("env", &settings.env)?;
        }
        map.serialize_entry("lifecycle", &settings.lifecycle)?;
        map.serialize_entry("logs", &settings.logs)?;
        map.serialize_entry("session", &settings.session)?;
        map.serialize_entry("shm", &settings.shm)?;
        map.serialize_entry("timeouts", &settings.timeouts)?;
        Layers::from(&settings.resilience).write(&mut map)?;
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
