//! One pool of the original: its keys to the table of a pool. What is no simple renaming is here.

use super::keys::{self, Meaning, Reading};
use super::{Given, Work};
use crate::error::{Code, Problem};
use crate::node::{Node, Table, Value};
use crate::units::{format_duration, format_size};

/// The original's limits of native threads, and the variables that set them.
const THREAD_LIMITS: [(&str, &str); 5] = [
    ("openblas", "OPENBLAS_NUM_THREADS"),
    ("omp", "OMP_NUM_THREADS"),
    ("mkl", "MKL_NUM_THREADS"),
    ("numexpr", "NUMEXPR_NUM_THREADS"),
    ("veclib", "VECLIB_MAXIMUM_THREADS"),
];

impl Work {
    /// Translates one pool; its own keys are stronger than the global ones.
    pub(super) fn pool(&mut self, name: &str, own: &[Given<'_>], globals: &[Given<'_>]) -> Table {
        let mut table = Table::default();
        let all: Vec<&Given<'_>> = own.iter().chain(globals).collect();
        let first = |key: &str| all.iter().copied().find(|given| given.key == key);
        let target = |key: &str| format!("pool.{name}.{key}");
        let adapter = self.adapter(
            first("adapter_module"),
            first("adapter_args"),
            first("script_path"),
            &target("adapter"),
        );
        table.push("adapter", adapter);
        for given in &all {
            match keys::meaning(given.key) {
                Some(Meaning::Setting(path, reading)) => {
                    if let Some(node) = self.read(given, reading) {
                        self.set(&mut table, name, path, node, given);
                    }
                }
                Some(Meaning::Nothing(why)) => self.nothing(given, why),
                Some(Meaning::Special) => self.special(&mut table, name, given),
                None => {}
            }
        }
        if let Some(given) = first("capacity_strategy") {
            self.capacity(&mut table, name, given);
        }
        let size = table.get("workers").and_then(integer);
        let cap = first("max_workers").or(first("pool_max_workers"));
        if let Some(given) = cap {
            self.cap(&mut table, name, size, given);
        }
        if let Some(given) = first("max_overflow").or(first("overflow")) {
            let cap = cap.and_then(|cap| integer(cap.node)).unwrap_or(i128::MAX);
            self.overflow(&mut table, name, cap, given);
        }
        table
    }

    /// Sets a value, unless a stronger key has.
    fn set(&mut self, table: &mut Table, name: &str, path: &str, node: Node, given: &Given<'_>) {
        let target = format!("pool.{name}.{path}");
        let (above, key) = match path.split_once('.') {
            Some((above, key)) => (table.table_mut(above, &node.place), key),
            None => (Some(table), path),
        };
        match above {
            Some(table) if table.get(key).is_none() => {
                table.push(key, node);
                self.became(given, &target);
            }
            _ => self.nothing(given, &format!("another key has set {target}")),
        }
    }

    /// The value as this crate writes it. What cannot be read stays, so that whoever reads the new
    /// form says what is wrong with it; `None` is the default.
    fn read(&mut self, given: &Given<'_>, reading: Reading) -> Option<Node> {
        let node = given.node;
        let unlimited = node.as_text() == Some("infinity");
        let milliseconds = |ms| format_duration(std::time::Duration::from_millis(ms));
        let text = match reading {
            Reading::Same => return Some(node.clone()),
            Reading::Unlimited if unlimited => {
                self.nothing(given, "it is the default");
                return None;
            }
            Reading::Unlimited => return Some(node.clone()),
            Reading::Milliseconds | Reading::Age if unlimited => "none".to_owned(),
            Reading::Milliseconds => match natural(node) {
                Some(ms) => milliseconds(ms),
                None => return Some(node.clone()),
            },
            Reading::Megabytes => match natural(node).and_then(|mb| mb.checked_mul(1 << 20)) {
                Some(bytes) => format_size(bytes),
                None => return Some(node.clone()),
            },
            Reading::Age => self.age(given)?,
        };
        Some(Node::new(Value::Text(text), node.place.clone()))
    }

    /// `{3600, :seconds}`: from Elixir and JSON a list of two, elsewhere also a text or a table.
    fn age(&mut self, given: &Given<'_>) -> Option<String> {
        let (number, unit) = match &given.node.value {
            Value::List(items) => match items.as_slice() {
                [number, unit] => (integer(number), unit.as_text().map(str::to_owned)),
                _ => (None, None),
            },
            Value::Table(table) => {
                let unit = table.get("unit").and_then(Node::as_text).map(str::to_owned);
                (table.get("value").and_then(integer), unit)
            }
            Value::Text(text) => match tuple(text) {
                Some((number, unit)) => (Some(number), Some(unit)),
                // It may be this crate's own form, as `1h`.
                None => return Some(text.clone()),
            },
            _ => (None, None),
        };
        let seconds = match unit.as_deref() {
            Some("seconds" | "second") => Some(1),
            Some("minutes" | "minute") => Some(60),
            Some("hours" | "hour") => Some(3600),
            _ => None,
        };
        let number = number.and_then(|number| u64::try_from(number).ok());
        let seconds = number.zip(seconds).and_then(|(number, unit)| number.checked_mul(unit));
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
            return Some(format_duration(std::time::Duration::from_secs(seconds)));
        }
        let message =
            "expected {number, :seconds}, {number, :minutes}, {number, :hours} or :infinity";
        self.problem(Code::InvalidWorkerTtl, given, message.to_owned());
        None
    }

    fn special(&mut self, table: &mut Table, name: &str, given: &Given<'_>) {
        match (given.key, &given.node.value) {
            ("adapter_env", _) => self.environment(table, name, given),
            ("python_thread_limits", Value::Table(limits)) => {
                for entry in &limits.entries {
                    let given = Given::of(entry, &format!("{}.", given.path));
                    match THREAD_LIMITS.iter().find(|(limit, _)| *limit == entry.key) {
                        Some((_, variable)) => self.variable(table, name, variable, &given),
                        None => self.nothing(&given, "no library reads it"),
                    }
                }
            }
            ("heartbeat", Value::Table(keys)) => {
                for entry in &keys.entries {
                    let given = Given::of(entry, "heartbeat.");
                    if entry.key != "ping_interval_ms" {
                        self.nothing(&given, "heartbeats are answered beside running code");
                    } else if let Some(node) = self.read(&given, Reading::Milliseconds) {
                        self.set(table, name, "heartbeat", node, &given);
                    }
                }
            }
            ("thread_safety_checks", Value::Boolean(true)) => {
                let node = Node::new(Value::Text("warn".to_owned()), given.node.place.clone());
                self.set(table, name, "env.SNAKEPIT_THREAD_CHECK", node, given);
            }
            ("thread_safety_checks", Value::Boolean(false)) => {
                self.nothing(given, "it is the default");
            }
            ("instance_name" | "log_level", _) if given.path.starts_with("pools.") => {
                self.nothing(given, "it is the host's and no pool's");
            }
            ("heartbeat" | "python_thread_limits" | "thread_safety_checks", value) => {
                let message = format!("{} is no value for it", value.kind());
                self.problem(Code::InvalidValue, given, message);
            }
            _ => {}
        }
    }

    /// `[{"NAME", "value"}]`, or a table.
    fn environment(&mut self, table: &mut Table, name: &str, given: &Given<'_>) {
        match &given.node.value {
            Value::Table(variables) => {
                for entry in &variables.entries {
                    self.variable(table, name, &entry.key, &Given::of(entry, "adapter_env."));
                }
            }
            Value::List(items) => {
                for item in items {
                    let (variable, node) = match &item.value {
                        Value::List(pair) => match pair.as_slice() {
                            [name, value] => (name.as_text(), Some(value.clone())),
                            _ => (None, None),
                        },
                        Value::Text(text) => match text.split_once('=') {
                            Some((name, value)) => {
                                let value = Value::Text(value.to_owned());
                                (Some(name), Some(Node::new(value, item.place.clone())))
                            }
                            None => (None, None),
                        },
                        _ => (None, None),
                    };
                    let (Some(variable), Some(node)) = (variable, node) else {
                        let at = Some(item.place.clone());
                        let message = "expected {\"NAME\", \"value\"}";
                        self.problems.push(
                            Problem::new(Code::InvalidValue, given.path.clone(), message).at(at),
                        );
                        continue;
                    };
                    let path = format!("{}.{variable}", given.path);
                    let given = Given { path, key: given.key, node: &node };
                    self.variable(table, name, variable, &given);
                }
            }
            value => {
                let message = format!("expected a list of pairs, found {}", value.kind());
                self.problem(Code::InvalidValue, given, message);
            }
        }
    }

    fn variable(&mut self, table: &mut Table, name: &str, variable: &str, given: &Given<'_>) {
        let value = match &given.node.value {
            Value::Integer(number) => Value::Text(number.to_string()),
            value => value.clone(),
        };
        let node = Node::new(value, given.node.place.clone());
        let target = format!("pool.{name}.env.{variable}");
        // A variable's name may hold dots.
        match table.table_mut("env", &node.place) {
            Some(env) if env.get(variable).is_none() => {
                env.push(variable, node);
                self.became(given, &target);
            }
            _ => self.nothing(given, &format!("another key has set {target}")),
        }
    }

    /// Who counts what a worker has room for. Here that is the worker's slots alone, but with `profile`
    /// the original gives a worker one call at a time whatever its threads, and so that stays.
    fn capacity(&mut self, table: &mut Table, name: &str, given: &Given<'_>) {
        let has_threads = table.get("profile").and_then(Node::as_text) == Some("thread");
        match given.node.as_text() {
            Some("pool") => self.nothing(given, "it is the default: calls go where slots are free"),
            Some("hybrid") => {
                self.nothing(given, "slots are counted in one place, and the statistics show them");
            }
            Some("profile") if has_threads => {
                table.entries.retain(|entry| entry.key != "threads");
                let one = Node::new(Value::Integer(1), given.node.place.clone());
                table.push("threads", one);
                let became = "threads, as it gives a worker one call at a time";
                self.became(given, &format!("pool.{name}.{became}"));
            }
            Some("profile") => self.nothing(given, "a worker of one slot has one call at a time"),
            _ => {
                let message = "expected :pool, :profile or :hybrid".to_owned();
                self.problem(Code::InvalidValue, given, message);
            }
        }
    }

    /// The original never starts more workers than this; here the same name would let a pool grow.
    fn cap(&mut self, table: &mut Table, name: &str, size: Option<i128>, given: &Given<'_>) {
        match (integer(given.node), size) {
            (Some(cap), Some(size)) if cap < size => {
                table.entries.retain(|entry| entry.key != "workers");
                table.push("workers", given.node.clone());
                self.became(given, &format!("pool.{name}.workers, as it is below the pool's size"));
            }
            (Some(_), Some(_)) => self.nothing(given, "the pool is not larger"),
            // Without a size there is one worker for each core.
            (Some(cap), None) if cap < cores() => {
                self.set(table, name, "workers", given.node.clone(), given);
            }
            (Some(_), None) => self.nothing(given, "the pool has one worker for each core"),
            (None, _) => {
                let message = format!("expected a whole number, found {}", given.node.value.kind());
                self.problem(Code::InvalidPoolSize, given, message);
            }
        }
    }

    /// Workers beyond the pool's size while calls wait, but never beyond the cap.
    fn overflow(&mut self, table: &mut Table, name: &str, cap: i128, given: &Given<'_>) {
        let size = table.get("workers").and_then(integer);
        match (natural(given.node), size) {
            (Some(0), _) => self.nothing(given, "the pool does not grow by default"),
            (Some(more), Some(size)) => {
                let most = Value::Integer(size.saturating_add(i128::from(more)).min(cap));
                let node = Node::new(most, given.node.place.clone());
                self.set(table, name, "max_workers", node, given);
            }
            (Some(_), None) => self.nothing(given, "the pool has no size to go beyond"),
            (None, _) => {
                let message = format!("expected a whole number, found {}", given.node.value.kind());
                self.problem(Code::InvalidPoolSize, given, message);
            }
        }
    }
}

fn cores() -> i128 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as i128)
}

fn integer(node: &Node) -> Option<i128> {
    match node.value {
        Value::Integer(number) => Some(number),
        _ => None,
    }
}

fn natural(node: &Node) -> Option<u64> {
    integer(node).and_then(|number| u64::try_from(number).ok())
}

/// Elixir's tuple as text.
fn tuple(text: &str) -> Option<(i128, String)> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (number, unit) = inner.split_once(',')?;
    let number = number.trim().replace('_', "").parse().ok()?;
    Some((number, unit.trim().trim_start_matches(':').to_owned()))
}
