//! Settings as they were given, before anyone judged them. Filled by a document or by builder
//! calls; `None` is "not said".

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::node::Place;
use crate::resilience::Layers;

/// A host's settings as given.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawHost {
    pub(crate) instance: Option<String>,
    pub(crate) socket_dir: Option<PathBuf>,
    pub(crate) control_socket: Option<String>,
    pub(crate) adopt_orphans: Option<bool>,
    pub(crate) log: Option<String>,
    pub(crate) watch: Option<bool>,
    pub(crate) shutdown_timeout: Option<Duration>,
    pub(crate) shm_total: Option<u64>,
    /// Where relative files are taken from.
    pub(crate) base: Option<PathBuf>,
    pub(crate) places: Places,
}

/// One pool's settings as given.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawPool {
    pub(crate) name: String,
    pub(crate) profile: Option<String>,
    pub(crate) threads: Option<u64>,
    pub(crate) gil: Option<String>,
    pub(crate) strategy: Option<String>,
    pub(crate) start: Option<String>,
    pub(crate) workers: Option<u64>,
    pub(crate) min_workers: Option<u64>,
    pub(crate) max_workers: Option<u64>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) adapter: Option<String>,
    pub(crate) adapter_args: Option<Value>,
    pub(crate) python: Option<PathBuf>,
    pub(crate) worker_package: Option<PathBuf>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) prefetch: Option<u64>,
    pub(crate) queue: Option<u64>,
    pub(crate) max_payload: Option<u64>,
    pub(crate) heartbeat: Option<Duration>,
    /// An inner `None` is "never".
    pub(crate) health_interval: Option<Option<Duration>>,
    pub(crate) cancel_grace: Option<Duration>,
    pub(crate) stream_credit: Option<u64>,
    pub(crate) max_tool_depth: Option<u64>,
    pub(crate) max_tool_calls: Option<u64>,
    pub(crate) lifecycle: RawLifecycle,
    pub(crate) logs: RawLogs,
    pub(crate) session: RawSession,
    pub(crate) shm: RawSharedMemory,
    pub(crate) timeouts: RawTimeouts,
    pub(crate) layers: Layers,
    /// Where relative files are taken from.
    pub(crate) base: Option<PathBuf>,
    pub(crate) places: Places,
}

/// A pool's `lifecycle` as given. An inner `None` is "never".
#[derive(Clone, Debug, Default)]
pub(crate) struct RawLifecycle {
    pub(crate) ttl: Option<Option<Duration>>,
    pub(crate) max_requests: Option<u64>,
    pub(crate) max_memory: Option<u64>,
    pub(crate) idle: Option<Option<Duration>>,
    pub(crate) memory_interval: Option<Duration>,
    pub(crate) jitter: Option<f64>,
    pub(crate) max_surge: Option<u64>,
}

/// A pool's `logs` as given.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawLogs {
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
    pub(crate) lines_per_second: Option<u64>,
    pub(crate) max_line: Option<u64>,
    pub(crate) tail: Option<u64>,
}

/// A pool's `session` as given. An inner `None` is "never".
#[derive(Clone, Debug, Default)]
pub(crate) struct RawSession {
    pub(crate) affinity: Option<String>,
    pub(crate) ttl: Option<Option<Duration>>,
    pub(crate) quota: Option<u64>,
    pub(crate) max_data: Option<u64>,
}

/// A pool's `shm` as given.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawSharedMemory {
    pub(crate) mode: Option<String>,
    pub(crate) threshold: Option<u64>,
    pub(crate) quota: Option<u64>,
}

/// A pool's `timeouts` as given. The outer `None` is "not said", the inner one "no limit".
#[derive(Clone, Debug, Default)]
pub(crate) struct RawTimeouts {
    pub(crate) profile: Option<String>,
    pub(crate) call: Option<Option<Duration>>,
    pub(crate) stream_idle: Option<Option<Duration>>,
    pub(crate) queue: Option<Option<Duration>>,
    pub(crate) start: Option<Duration>,
    pub(crate) drain: Option<Duration>,
}

/// Where each setting was given, by its path inside the pool; empty for builder calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(BTreeMap<String, Place>);

impl Places {
    pub(crate) fn note(&mut self, path: &str, place: &Place) {
        self.0.insert(path.to_owned(), place.clone());
    }

    /// Whether something was said about a setting.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The place of a setting, or of the table it would stand in.
    pub(crate) fn of(&self, path: &str) -> Option<&Place> {
        let above = || path.rsplit_once('.').and_then(|(above, _)| self.0.get(above));
        self.0.get(path).or_else(above).or_else(|| self.0.get(""))
    }

    /// The place of a setting itself.
    pub(crate) fn exactly(&self, path: &str) -> Option<&Place> {
        self.0.get(path)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.0.iter().map(|(path, place)| (path.as_str(), place))
    }
}

/// Takes each field that is set, under the path of its key.
macro_rules! take {
    ($places:expr, $from:expr, $into:expr, $prefix:literal: $($field:ident),*) => {
        $(if $from.$field.is_some() {
            $into.$field = $from.$field;
            $places.note(concat!($prefix, stringify!($field)), &Place::Builder);
        })*
    };
}

impl RawHost {
    /// Puts what these builder calls have set over what a document says.
    pub(crate) fn over(self, document: &mut Self) {
        let places = &mut document.places;
        take!(places, self, document, "": instance, socket_dir, control_socket, adopt_orphans, log,
            watch, shutdown_timeout, shm_total);
    }
}

impl RawPool {
    /// Puts what these builder calls have set over what a document says.
    pub(crate) fn over(self, document: &mut Self) {
        let places = &mut document.places;
        take!(places, self, document, "": profile, threads, gil, strategy, start, workers, min_workers, max_workers,
            idle_timeout, adapter, adapter_args, python, worker_package, cwd, prefetch, queue,
            max_payload, heartbeat, health_interval, cancel_grace, stream_credit,
            max_tool_depth, max_tool_calls);
        take!(places, self.lifecycle, document.lifecycle, "lifecycle.": ttl, max_requests, max_memory, idle,
            memory_interval, jitter, max_surge);
        take!(places, self.logs, document.logs, "logs.": stdout, stderr, lines_per_second, max_line, tail);
        take!(places, self.session, document.session, "session.": affinity, ttl, quota, max_data);
        take!(places, self.shm, document.shm, "shm.": mode, threshold, quota);
        take!(places, self.timeouts, document.timeouts, "timeouts.": profile, call, stream_idle, queue,
            start, drain);
        self.layers.over(&mut document.layers, places);
        for (name, value) in self.env {
            places.note(&format!("env.{name}"), &Place::Builder);
            document.env.insert(name, value);
        }
    }
}
