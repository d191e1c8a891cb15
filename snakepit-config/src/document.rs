//! TOML text to raw settings. Owns types and places of values and finds every problem of form; what
//! a value means is judged in `validate`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Code, Position, Problem};
use crate::keys;
use crate::raw::RawPool;
use crate::units::{UnitError, parse_duration, parse_limit, parse_size};

type Table<'t> = DeTable<'t>;

/// Reads a document; gives every pool that could be read and every problem of form.
pub(crate) fn read(text: &str, base: Option<&Path>) -> (Vec<RawPool>, Vec<Problem>) {
    let mut reader = Reader { text, problems: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let at = error.span().map(|span| reader.position(span.start));
            reader.problems.push(Problem::new(Code::Syntax, "", error.message().trim()).at(at));
        }
        return (Vec::new(), reader.problems);
    }
    let pools = reader.document(document.get_ref(), base);
    (pools, reader.problems)
}

struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

/// One table while it is read: where it stands and what its keys are called.
struct Scope<'a, 't> {
    table: &'a Table<'t>,
    /// Path of the table in the document, as `pool.default`.
    path: String,
}

impl Scope<'_, '_> {
    fn key_path(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }
}

impl Reader<'_> {
    fn document(&mut self, table: &Table<'_>, base: Option<&Path>) -> Vec<RawPool> {
        let mut pools = Vec::new();
        for (key, value) in table {
            if key.get_ref() != "pool" {
                let problem = Problem::new(
                    Code::UnknownKey,
                    key.get_ref().to_string(),
                    "there is no such key",
                )
                .help(keys::suggestion(key.get_ref(), &["pool"]));
                self.report(problem, key);
                continue;
            }
            let Some(named) = value.get_ref().as_table() else {
                let problem = Problem::new(
                    Code::InvalidValue,
                    "pool",
                    format!("expected tables, found {}", kind(value.get_ref())),
                )
                .help("write one `[pool.NAME]` table for each pool, as `[pool.default]`");
                self.report(problem, value);
                continue;
            };
            for (name, value) in named {
                let path = format!("pool.{}", name.get_ref());
                let Some(table) = self.table(value, &path) else {
                    continue;
                };
                let mut raw = RawPool {
                    name: name.get_ref().to_string(),
                    base: base.map(Path::to_path_buf),
                    ..RawPool::default()
                };
                raw.places.note("", self.position(name.span().start));
                self.pool(&mut raw, &Scope { table, path });
                pools.push(raw);
            }
        }
        // The parser sorts by name; people read from top to bottom.
        pools.sort_by_key(|pool| pool.places.of(""));
        pools
    }

    fn pool(&mut self, raw: &mut RawPool, scope: &Scope<'_, '_>) {
        self.check_keys(scope, &keys::POOL);
        for (key, value) in scope.table {
            raw.places.note(key.get_ref(), self.position(value.span().start));
        }
        raw.profile = self.string(scope, "profile");
        raw.threads = self.count(scope, "threads");
        raw.gil = self.string(scope, "gil");
        raw.start = self.string(scope, "start");
        raw.workers = self.count(scope, "workers");
        raw.min_workers = self.count(scope, "min_workers");
        raw.max_workers = self.count(scope, "max_workers");
        raw.idle_timeout = self.duration(scope, "idle_timeout");
        raw.adapter = self.string(scope, "adapter");
        raw.adapter_args = self.arguments(scope, "adapter_args");
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
        if let Some(value) = scope.table.get("lifecycle") {
            let path = scope.key_path("lifecycle");
            if let Some(table) = self.table(value, &path) {
                self.lifecycle(raw, &Scope { table, path });
            }
        }
        if let Some(value) = scope.table.get("timeouts") {
            let path = scope.key_path("timeouts");
            if let Some(table) = self.table(value, &path) {
                self.timeouts(raw, &Scope { table, path });
            }
        }
    }

    fn lifecycle(&mut self, raw: &mut RawPool, scope: &Scope<'_, '_>) {
        self.check_keys(scope, &keys::LIFECYCLE);
        for (key, value) in scope.table {
            let path = format!("lifecycle.{}", key.get_ref());
            raw.places.note(&path, self.position(value.span().start));
        }
        raw.lifecycle.ttl = self.unit(scope, "ttl", parse_limit);
        raw.lifecycle.max_requests = self.count(scope, "max_requests");
        raw.lifecycle.max_memory = self.unit(scope, "max_memory", parse_size);
        raw.lifecycle.idle = self.unit(scope, "idle", parse_limit);
        raw.lifecycle.memory_interval = self.duration(scope, "memory_interval");
        raw.lifecycle.jitter = self.share(scope, "jitter");
        raw.lifecycle.max_surge = self.count(scope, "max_surge");
    }

    fn timeouts(&mut self, raw: &mut RawPool, scope: &Scope<'_, '_>) {
        self.check_keys(scope, &keys::TIMEOUTS);
        for (key, value) in scope.table {
            let path = format!("timeouts.{}", key.get_ref());
            raw.places.note(&path, self.position(value.span().start));
        }
        raw.timeouts.profile = self.string(scope, "profile");
        raw.timeouts.call = self.unit(scope, "call", parse_limit);
        raw.timeouts.stream_idle = self.unit(scope, "stream_idle", parse_limit);
        raw.timeouts.queue = self.unit(scope, "queue", parse_limit);
        raw.timeouts.start = self.duration(scope, "start");
        raw.timeouts.drain = self.duration(scope, "drain");
    }

    fn check_keys(&mut self, scope: &Scope<'_, '_>, known: &[&str]) {
        for (key, _) in scope.table {
            if !known.contains(&key.get_ref().as_ref()) {
                let path = scope.key_path(key.get_ref());
                let problem = Problem::new(Code::UnknownKey, path, "there is no such key")
                    .help(keys::suggestion(key.get_ref(), known));
                self.report(problem, key);
            }
        }
    }

    fn string(&mut self, scope: &Scope<'_, '_>, key: &str) -> Option<String> {
        let value = scope.table.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong_type(scope, key, value, "a text"),
        }
    }

    fn count(&mut self, scope: &Scope<'_, '_>, key: &str) -> Option<u64> {
        let value = scope.table.get(key)?;
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        number.or_else(|| self.wrong_type(scope, key, value, "a whole number from 0"))
    }

    fn share(&mut self, scope: &Scope<'_, '_>, key: &str) -> Option<f64> {
        let value = scope.table.get(key)?;
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            _ => None,
        };
        number.or_else(|| self.wrong_type(scope, key, value, "a number"))
    }

    fn duration(&mut self, scope: &Scope<'_, '_>, key: &str) -> Option<Duration> {
        self.unit(scope, key, parse_duration)
    }

    fn unit<T>(
        &mut self,
        scope: &Scope<'_, '_>,
        key: &str,
        parse: fn(&str) -> Result<T, UnitError>,
    ) -> Option<T> {
        let value = scope.table.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            return self.wrong_type(scope, key, value, "a text with a unit");
        };
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let path = scope.key_path(key);
                let code = if key == "ttl" { Code::InvalidWorkerTtl } else { Code::InvalidValue };
                self.report(Problem::new(code, path, error.to_string()), value);
                None
            }
        }
    }

    fn environment(
        &mut self,
        raw: &mut RawPool,
        scope: &Scope<'_, '_>,
    ) -> BTreeMap<String, String> {
        let path = scope.key_path("env");
        let Some(table) = scope.table.get("env").and_then(|value| self.table(value, &path)) else {
            return BTreeMap::new();
        };
        let inner = Scope { table, path };
        let mut env = BTreeMap::new();
        for (name, value) in table {
            let name = name.get_ref().to_string();
            raw.places.note(&format!("env.{name}"), self.position(value.span().start));
            if let Some(value) = self.string(&inner, &name) {
                env.insert(name, value);
            }
        }
        env
    }

    fn arguments(&mut self, scope: &Scope<'_, '_>, key: &str) -> Option<Value> {
        let value = scope.table.get(key)?;
        let path = scope.key_path(key);
        self.table(value, &path)?;
        self.json(value, &path)
    }

    /// A TOML value as JSON; dates become their text. What JSON cannot hold is a problem.
    fn json(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Value> {
        let number = match value.get_ref() {
            DeValue::String(text) => return Some(Value::from(text.as_ref())),
            DeValue::Boolean(flag) => return Some(Value::from(*flag)),
            DeValue::Datetime(date) => return Some(Value::from(date.to_string())),
            DeValue::Array(items) => {
                let items = items.iter().map(|item| self.json(item, path)).collect::<Vec<_>>();
                return items.into_iter().collect();
            }
            DeValue::Table(table) => {
                let entries = table.iter().map(|(key, item)| {
                    let path = format!("{path}.{}", key.get_ref());
                    Some((key.get_ref().to_string(), self.json(item, &path)?))
                });
                let entries = entries.collect::<Vec<_>>();
                return entries.into_iter().collect::<Option<_>>().map(Value::Object);
            }
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from)
            }
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map(Value::Number),
        };
        if number.is_none() {
            let message = "the number is out of range";
            self.report(Problem::new(Code::InvalidValue, path, message), value);
        }
        number
    }

    fn table<'a, 't>(
        &mut self,
        value: &'a Spanned<DeValue<'t>>,
        path: &str,
    ) -> Option<&'a Table<'t>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let message = format!("expected a table, found {}", kind(value.get_ref()));
            self.report(Problem::new(Code::InvalidValue, path, message), value);
        }
        table
    }

    fn wrong_type<T>(
        &mut self,
        scope: &Scope<'_, '_>,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
    ) -> Option<T> {
        let message = format!("expected {expected}, found {}", kind(value.get_ref()));
        let code = match key {
            "workers" | "min_workers" | "max_workers" => Code::InvalidPoolSize,
            "ttl" => Code::InvalidWorkerTtl,
            "max_requests" => Code::InvalidWorkerMaxRequests,
            _ => Code::InvalidValue,
        };
        self.report(Problem::new(code, scope.key_path(key), message), value);
        None
    }

    fn report<T>(&mut self, problem: Problem, place: &Spanned<T>) {
        let at = self.position(place.span().start);
        self.problems.push(problem.at(Some(at)));
    }

    fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// What a value is, with the value itself where that is short.
fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() <= 40 => format!("the text \"{text}\""),
        DeValue::String(_) => "a long text".to_owned(),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
