//! The tree of a document to raw settings. Owns types and places of values and finds every problem
//! of form; what a value means is judged in `validate`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;

use crate::error::{Code, Problem};
use crate::keys::{self, Key};
use crate::node::{Node, Place, Table, Value};
use crate::raw::{Places, RawHost, RawLogs, RawPool};
use crate::resilience::Layers;
use crate::units::{UnitError, parse_duration, parse_limit, parse_size};

/// What a document says.
pub(crate) struct Read {
    pub(crate) host: RawHost,
    /// Every pool that could be read.
    pub(crate) pools: Vec<RawPool>,
    /// Every problem of form.
    pub(crate) problems: Vec<Problem>,
}

/// Reads a document.
pub(crate) fn read(document: &Table, base: Option<&Path>) -> Read {
    let mut reader = Reader { problems: Vec::new() };
    let host = reader.host(document, base);
    let pools = reader.document(document, base);
    Read { host, pools, problems: reader.problems }
}

pub(crate) struct Reader {
    problems: Vec<Problem>,
}

/// One table while it is read: where it stands and what its keys are called.
pub(crate) struct Scope<'a> {
    table: &'a Table,
    /// Path of the table in the document, as `pool.default`.
    path: String,
}

impl Scope<'_> {
    fn key_path(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }
}

impl Reader {
    fn document(&mut self, document: &Table, base: Option<&Path>) -> Vec<RawPool> {
        let mut pools = Vec::new();
        for entry in &document.entries {
            if entry.key == "host" {
                continue;
            }
            if entry.key != "pool" {
                let problem = Problem::new(Code::UnknownKey, &entry.key, "there is no such key")
                    .help(keys::suggestion(&entry.key, &keys::ROOT));
                self.report(problem, &entry.place);
                continue;
            }
            let Some(named) = entry.node.as_table() else {
                let message = format!("expected tables, found {}", entry.node.value.kind());
                let problem = Problem::new(Code::InvalidValue, "pool", message)
                    .help("write one `[pool.NAME]` table for each pool, as `[pool.default]`");
                self.report(problem, &entry.node.place);
                continue;
            };
            for entry in &named.entries {
                let path = format!("pool.{}", entry.key);
                let Some(table) = self.table(&entry.node, &path) else {
                    continue;
                };
                let mut raw = RawPool {
                    name: entry.key.clone(),
                    base: base.map(Path::to_path_buf),
                    ..RawPool::default()
                };
                raw.places.note("", &entry.place);
                self.pool(&mut raw, &Scope { table, path });
                pools.push(raw);
            }
        }
        pools
    }

    fn host(&mut self, document: &Table, base: Option<&Path>) -> RawHost {
        let mut raw = RawHost { base: base.map(Path::to_path_buf), ..RawHost::default() };
        let path = "host".to_owned();
        let Some(table) = document.get("host").and_then(|node| self.table(node, &path)) else {
            return raw;
        };
        let scope = Scope { table, path };
        self.check_keys(&scope, &keys::HOST);
        for entry in &table.entries {
            raw.places.note(&entry.key, &entry.node.place);
        }
        raw.instance = self.string(&scope, "instance");
        raw.socket_dir = self.string(&scope, "socket_dir").map(PathBuf::from);
        raw.control_socket = self.string(&scope, "control_socket");
        raw.adopt_orphans = self.flag(&scope, "adopt_orphans");
        raw.log = self.string(&scope, "log");
        raw.watch = self.flag(&scope, "watch");
        raw.shutdown_timeout = self.duration(&scope, "shutdown_timeout");
        raw.shm_total = self.unit(&scope, "shm_total", parse_size);
        raw
    }

    fn pool(&mut self, raw: &mut RawPool, scope: &Scope<'_>) {
        self.check_keys(scope, &keys::POOL);
        for entry in &scope.table.entries {
            raw.places.note(&entry.key, &entry.node.place);
        }
        raw.profile = self.string(scope, "profile");
        raw.threads = self.count(scope, "threads");
        raw.gil = self.string(scope, "gil");
        raw.strategy = self.string(scope, "strategy");
        raw.start = self.string(scope, "start");
        raw.workers = self.count(scope, "workers");
        raw.min_workers = self.count(scope, "min_workers");
        raw.max_workers = self.count(scope, "max_workers");
        raw.idle_timeout = self.duration(scope, "idle_timeout");
        raw.adapter = self.string(scope, "adapter");
        raw.adapter_args = self.arguments(raw, scope);
        raw.python = self.string(scope, "python").map(PathBuf::from);
        raw.worker_package = self.string(scope, "worker_package").map(PathBuf::from);
        raw.cwd = self.string(scope, "cwd").map(PathBuf::from);
        raw.env = self.environment(raw, scope);
        raw.prefetch = self.count(scope, "prefetch");
        raw.queue = self.count(scope, "queue");
        raw.max_payload = self.unit(scope, "max_payload", parse_size);
        raw.heartbeat = self.duration(scope, "heartbeat");
        raw.health_interval = self.unit(scope, "health_interval", parse_limit);
        raw.cancel_grace = self.duration(scope, "cancel_grace");
        raw.stream_credit = self.count(scope, "stream_credit");
        raw.max_tool_depth = self.count(scope, "max_tool_depth");
        raw.max_tool_calls = self.count(scope, "max_tool_calls");
        if let Some(value) = scope.table.get("lifecycle") {
            let path = scope.key_path("lifecycle");
            if let Some(table) = self.table(value, &path) {
                self.lifecycle(raw, &Scope { table, path });
            }
        }
        self.logs(raw, scope);
        if let Some(value) = scope.table.get("session") {
            let path = scope.key_path("session");
            if let Some(table) = self.table(value, &path) {
                self.session(raw, &Scope { table, path });
            }
        }
        if let Some(value) = scope.table.get("shm") {
            let path = scope.key_path("shm");
            if let Some(table) = self.table(value, &path) {
                self.shm(raw, &Scope { table, path });
            }
        }
        if let Some(value) = scope.table.get("timeouts") {
            let path = scope.key_path("timeouts");
            if let Some(table) = self.table(value, &path) {
                self.timeouts(raw, &Scope { table, path });
            }
        }
        raw.layers = Layers::read(self, scope, &mut raw.places);
    }

    /// One of a pool's tables, whose keys are those of the table of keys, if it is there.
    pub(crate) fn inner<'a>(
        &mut self,
        scope: &'a Scope<'_>,
        key: &str,
        places: &mut Places,
    ) -> Option<(&mut Self, Scope<'a>)> {
        let path = scope.key_path(key);
        let inner = Scope { table: self.table(scope.table.get(key)?, &path)?, path };
        if let Some(known) = keys::table(key) {
            self.check_keys(&inner, known);
        }
        for entry in &inner.table.entries {
            places.note(&format!("{key}.{}", entry.key), &entry.node.place);
        }
        Some((self, inner))
    }

    fn lifecycle(&mut self, raw: &mut RawPool, scope: &Scope<'_>) {
        self.check_keys(scope, &keys::LIFECYCLE);
        for entry in &scope.table.entries {
            raw.places.note(&format!("lifecycle.{}", entry.key), &entry.node.place);
        }
        raw.lifecycle.ttl = self.unit(scope, "ttl", parse_limit);
        raw.lifecycle.max_requests = self.count(scope, "max_requests");
        raw.lifecycle.max_memory = self.unit(scope, "max_memory", parse_size);
        raw.lifecycle.idle = self.unit(scope, "idle", parse_limit);
        raw.lifecycle.memory_interval = self.duration(scope, "memory_interval");
        raw.lifecycle.jitter = self.share(scope, "jitter");
        raw.lifecycle.max_surge = self.count(scope, "max_surge");
    }

    fn logs(&mut self, raw: &mut RawPool, scope: &Scope<'_>) {
        let Some((reader, inner)) = self.inner(scope, "logs", &mut raw.places) else { return };
        raw.logs = RawLogs {
            stdout: reader.string(&inner, "stdout"),
            stderr: reader.string(&inner, "stderr"),
            lines_per_second: reader.count(&inner, "lines_per_second"),
            max_line: reader.unit(&inner, "max_line", parse_size),
            tail: reader.count(&inner, "tail"),
        };
    }

    fn session(&mut self, raw: &mut RawPool, scope: &Scope<'_>) {
        self.check_keys(scope, &keys::SESSION);
        for entry in &scope.table.entries {
            raw.places.note(&format!("session.{}", entry.key), &entry.node.place);
        }
        raw.session.affinity = self.string(scope, "affinity");
        raw.session.ttl = self.unit(scope, "ttl", parse_limit);
        raw.session.quota = self.count(scope, "quota");
        raw.session.max_data = self.unit(scope, "max_data", parse_size);
    }

    fn shm(&mut self, raw: &mut RawPool, scope: &Scope<'_>) {
        self.check_keys(scope, &keys::SHM);
        for entry in &scope.table.entries {
            raw.places.note(&format!("shm.{}", entry.key), &entry.node.place);
        }
        raw.shm.mode = self.string(scope, "mode");
        raw.shm.threshold = self.unit(scope, "threshold", parse_size);
        raw.shm.quota = self.unit(scope, "quota", parse_size);
    }

    fn timeouts(&mut self, raw: &mut RawPool, scope: &Scope<'_>) {
        self.check_keys(scope, &keys::TIMEOUTS);
        for entry in &scope.table.entries {
            raw.places.note(&format!("timeouts.{}", entry.key), &entry.node.place);
        }
        raw.timeouts.profile = self.string(scope, "profile");
        raw.timeouts.call = self.unit(scope, "call", parse_limit);
        raw.timeouts.stream_idle = self.unit(scope, "stream_idle", parse_limit);
        raw.timeouts.queue = self.unit(scope, "queue", parse_limit);
        raw.timeouts.start = self.duration(scope, "start");
        raw.timeouts.drain = self.duration(scope, "drain");
    }

    fn check_keys(&mut self, scope: &Scope<'_>, known: &[Key]) {
        for entry in &scope.table.entries {
            if known.iter().all(|key| key.name != entry.key) {
                let path = scope.key_path(&entry.key);
                let names: Vec<&str> = known.iter().map(|key| key.name).collect();
                let problem = Problem::new(Code::UnknownKey, path, "there is no such key")
                    .help(keys::suggestion(&entry.key, &names));
                self.report(problem, &entry.place);
            }
        }
    }

    pub(crate) fn string(&mut self, scope: &Scope<'_>, key: &str) -> Option<String> {
        let node = scope.table.get(key)?;
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            _ => self.wrong_type(scope, key, node, "a text"),
        }
    }

    fn flag(&mut self, scope: &Scope<'_>, key: &str) -> Option<bool> {
        let node = scope.table.get(key)?;
        match node.value {
            Value::Boolean(flag) => Some(flag),
            _ => self.wrong_type(scope, key, node, "true or false"),
        }
    }

    pub(crate) fn count(&mut self, scope: &Scope<'_>, key: &str) -> Option<u64> {
        let node = scope.table.get(key)?;
        let number = match node.value {
            Value::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        };
        number.or_else(|| self.wrong_type(scope, key, node, "a whole number from 0"))
    }

    pub(crate) fn share(&mut self, scope: &Scope<'_>, key: &str) -> Option<f64> {
        let node = scope.table.get(key)?;
        match node.value {
            Value::Number(number) => Some(number),
            Value::Integer(number) => Some(number as f64),
            _ => self.wrong_type(scope, key, node, "a number"),
        }
    }

    pub(crate) fn strings(&mut self, scope: &Scope<'_>, key: &str) -> Option<Vec<String>> {
        let node = scope.table.get(key)?;
        let texts = match &node.value {
            Value::List(items) => {
                items.iter().map(|item| item.as_text().map(str::to_owned)).collect()
            }
            _ => None,
        };
        texts.or_else(|| self.wrong_type(scope, key, node, "a list of texts"))
    }

    pub(crate) fn duration(&mut self, scope: &Scope<'_>, key: &str) -> Option<Duration> {
        self.unit(scope, key, parse_duration)
    }

    fn unit<T>(
        &mut self,
        scope: &Scope<'_>,
        key: &str,
        parse: fn(&str) -> Result<T, UnitError>,
    ) -> Option<T> {
        let node = scope.table.get(key)?;
        let Some(text) = node.as_text() else {
            return self.wrong_type(scope, key, node, "a text with a unit");
        };
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let path = scope.key_path(key);
                let is_worker_ttl = key == "ttl" && scope.path.ends_with(".lifecycle");
                let code = if is_worker_ttl { Code::InvalidWorkerTtl } else { Code::InvalidValue };
                self.report(Problem::new(code, path, error.to_string()), &node.place);
                None
            }
        }
    }

    fn environment(&mut self, raw: &mut RawPool, scope: &Scope<'_>) -> BTreeMap<String, String> {
        let path = scope.key_path("env");
        let Some(table) = scope.table.get("env").and_then(|node| self.table(node, &path)) else {
            return BTreeMap::new();
        };
        let inner = Scope { table, path };
        let mut env = BTreeMap::new();
        for entry in &table.entries {
            raw.places.note(&format!("env.{}", entry.key), &entry.node.place);
            if let Some(value) = self.string(&inner, &entry.key) {
                env.insert(entry.key.clone(), value);
            }
        }
        env
    }

    fn arguments(&mut self, raw: &mut RawPool, scope: &Scope<'_>) -> Option<Json> {
        let node = scope.table.get("adapter_args")?;
        let path = scope.key_path("adapter_args");
        let table = self.table(node, &path)?;
        for entry in &table.entries {
            raw.places.note(&format!("adapter_args.{}", entry.key), &entry.node.place);
        }
        self.json(node, &path)
    }

    /// A value as JSON; dates become their text. What JSON cannot hold is a problem.
    fn json(&mut self, node: &Node, path: &str) -> Option<Json> {
        let message = match &node.value {
            Value::Text(text) | Value::Date(text) => return Some(Json::from(text.as_str())),
            Value::Boolean(flag) => return Some(Json::from(*flag)),
            Value::List(items) => {
                let items = items.iter().map(|item| self.json(item, path)).collect::<Vec<_>>();
                return items.into_iter().collect();
            }
            Value::Table(table) => {
                let entries = table.entries.iter().map(|entry| {
                    let path = format!("{path}.{}", entry.key);
                    Some((entry.key.clone(), self.json(&entry.node, &path)?))
                });
                let entries = entries.collect::<Vec<_>>();
                return entries.into_iter().collect::<Option<_>>().map(Json::Object);
            }
            Value::Integer(number) => match i64::try_from(*number) {
                Ok(number) => return Some(Json::from(number)),
                Err(_) => "the number is out of range",
            },
            Value::Number(number) => match serde_json::Number::from_f64(*number) {
                Some(number) => return Some(Json::Number(number)),
                None => "the number is out of range",
            },
            Value::Null => "nothing is no value for an argument: leave the key out",
        };
        self.report(Problem::new(Code::InvalidValue, path, message), &node.place);
        None
    }

    fn table<'a>(&mut self, node: &'a Node, path: &str) -> Option<&'a Table> {
        let table = node.as_table();
        if table.is_none() {
            let message = format!("expected a table, found {}", node.value.kind());
            self.report(Problem::new(Code::InvalidValue, path, message), &node.place);
        }
        table
    }

    fn wrong_type<T>(
        &mut self,
        scope: &Scope<'_>,
        key: &str,
        node: &Node,
        expected: &str,
    ) -> Option<T> {
        let message = format!("expected {expected}, found {}", node.value.kind());
        let code = match key {
            "workers" | "min_workers" | "max_workers" => Code::InvalidPoolSize,
            "profile" if !scope.path.ends_with(".timeouts") => Code::InvalidProfile,
            "ttl" if scope.path.ends_with(".lifecycle") => Code::InvalidWorkerTtl,
            "max_requests" => Code::InvalidWorkerMaxRequests,
            _ => Code::InvalidValue,
        };
        self.report(Problem::new(code, scope.key_path(key), message), &node.place);
        None
    }

    fn report(&mut self, problem: Problem, place: &Place) {
        self.problems.push(problem.at(Some(place.clone())));
    }
}
