//! The checked-in JSON Schema is the one of the code, and agrees with it about documents.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use snakepit_config::{Config, Format, schema};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn json(text: &str) -> serde_json::Value {
    let table: toml::Table = toml::from_str(text).unwrap();
    serde_json::to_value(table).unwrap()
}

/// Run with `SNAKEPIT_BLESS=1` to write it anew.
#[test]
fn the_schema_in_the_repository_is_up_to_date() {
    let path = root().join("schema/snakepit.schema.json");
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("SNAKEPIT_BLESS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, current, "run `SNAKEPIT_BLESS=1 cargo test -p snakepit-config --test schema`");
}

#[test]
fn documents_that_people_copy_and_all_that_is_written_out_fit_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for file in ["settings/pools.toml", "digits/service.toml"] {
        let text = std::fs::read_to_string(root().join("../examples").join(file)).unwrap();
        let problems: Vec<_> =
            validator.iter_errors(&json(&text)).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{file}: {problems:?}");
        let whole = Config::from_toml(&text).unwrap().to_json();
        let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
        assert!(validator.is_valid(&whole), "{file}, with every default written out");
    }
}

#[test]
fn what_the_schema_refuses_is_refused_by_the_code_too() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for line in [
        "workers = 0",
        "workers = 4097",
        "workers = 'two'",
        "threads = 65",
        "gil = 'off'",
        "strategy = 'first'",
        "logs = { stdout = 'loud' }",
        "logs = { lines_per_second = 0 }",
        "logs = { max_line = 5 }",
        "logs = { tail = 1001 }",
        "profile = 'fibre'",
        "start = 'fork'",
        "queue = 0",
        "prefetch = -1",
        "heartbeat = 2",
        "heartbeat = 'soon'",
        "max_payload = '1 apple'",
        "env = { A = 1 }",
        "adapter_args = 1",
        "wrokers = 1",
        "lifecycle = { jitter = 0.6 }",
        "lifecycle = { ttl = 5 }",
        "lifecycle = { max_requests = 0 }",
        "session = { affinity = 'strict' }",
        "session = { quota = 0 }",
        "session = { ttl = 5 }",
        "session = { max_data = 5 }",
        "shm = { mode = 'fast' }",
        "shm = { threshold = 5 }",
        "shm = { quota = 5 }",
        "timeouts = { profile = 'slow' }",
        "timeouts = { cal = '1s' }",
        "cwd = 5",
        "retry = { schedule = 'slow' }",
        "retry = { attempts = 0 }",
        "retry = { kinds = ['worker_list'] }",
        "retry = { kinds = [] }",
        "retry = { exceptions = 'OSError' }",
        "breaker = { per = 'worker' }",
        "hedge = { after = 5 }",
    ] {
        let text = format!("[pool.default]\nadapter = 'a.py'\n{line}");
        assert!(!validator.is_valid(&json(&text)), "{line}");
        assert!(Config::from_text(&text, Format::Toml).is_err(), "{line}");
    }
    for line in [
        "watch = 1",
        "log = 'loud'",
        "instance = 5",
        "shutdown_timeout = 5",
        "shm_total = 5",
        "name = 'x'",
    ] {
        let text = format!("[host]\n{line}\n[pool.default]\nadapter = 'a.py'");
        assert!(!validator.is_valid(&json(&text)), "{line}");
        assert!(Config::from_text(&text, Format::Toml).is_err(), "{line}");
    }
    assert!(!validator.is_valid(&json("[pool.default]\nworkers = 1")));
    assert!(!validator.is_valid(&json("[pool.'a b']\nadapter = 'a.py'")));
    assert!(!validator.is_valid(&json("pool = {}")));
}

/// A key of the table that nobody reads would be taken in silence.
#[test]
fn every_key_of_the_schema_is_read() {
    let pool = schema()["$defs"]["pool"]["properties"].clone();
    let mut paths: Vec<String> = pool.as_object().unwrap().keys().cloned().collect();
    let tables = paths.clone().into_iter().filter(|table| pool[table]["properties"].is_object());
    for table in tables {
        let keys = pool[&table]["properties"].as_object().unwrap().keys();
        paths.extend(keys.map(|key| format!("{table}.{key}")));
    }
    let layers = 1 + 2 + 3 + 5 + 9 + 2 + 2;
    assert_eq!(paths.len(), 36 + 7 + 5 + 4 + 3 + 6 + layers);
    let host = schema()["$defs"]["host"]["properties"].clone();
    for path in host.as_object().unwrap().keys() {
        let text = format!("host.{path} = []\n[pool.default]\nadapter = 'a.py'");
        let error = Config::from_toml(&text).unwrap_err();
        assert_eq!(error.problems()[0].path, format!("host.{path}"), "{error}");
    }
    for path in paths {
        // No key takes a truth value.
        let text = format!("[pool.default]\n{path} = true");
        let error = Config::from_toml(&text).unwrap_err();
        let expected = format!("pool.default.{path}");
        assert!(error.problems().iter().any(|problem| problem.path == expected), "{path}: {error}");
    }
}
