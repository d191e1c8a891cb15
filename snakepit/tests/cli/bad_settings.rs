//! A hundred kinds of settings that are wrong: each is one clear problem, with the exit code for wrong
//! input and a JSON form that programs can act on.

use std::collections::HashSet;
use std::path::Path;

use crate::stderr;
use crate::support::cli;

/// What goes on after a pool's adapter in TOML; the problem's code, its path and a word of its text.
/// Paths are those below `pool.default`.
const KEYS: &[(&str, &str, &str, &str)] = &[
    // Wrong types.
    ("workers = 'two'", "invalid_pool_size", "workers", "whole number"),
    ("workers = 1.5", "invalid_pool_size", "workers", "found the number 1.5"),
    ("workers = [1]", "invalid_pool_size", "workers", "found an array"),
    ("workers = true", "invalid_pool_size", "workers", "found true"),
    ("workers = 1979-05-27", "invalid_pool_size", "workers", "found the date"),
    ("queue = '10'", "invalid_value", "queue", "whole number"),
    ("heartbeat = 2", "invalid_value", "heartbeat", "a text with a unit"),
    ("max_payload = 5", "invalid_value", "max_payload", "a text with a unit"),
    ("env = 5", "invalid_value", "env", "expected a table"),
    ("env = { A = 1 }", "invalid_value", "env.A", "expected a text"),
    ("adapter_args = 'x'", "invalid_value", "adapter_args", "expected a table"),
    ("lifecycle = 1", "invalid_value", "lifecycle", "expected a table"),
    ("timeouts = '5s'", "invalid_value", "timeouts", "expected a table"),
    ("profile = 1", "invalid_profile", "profile", "expected a text"),
    ("python = 3.12", "invalid_value", "python", "expected a text"),
    ("cwd = []", "invalid_value", "cwd", "expected a text"),
    ("worker_package = {}", "invalid_value", "worker_package", "expected a text"),
    ("lifecycle = { jitter = 'much' }", "invalid_value", "lifecycle.jitter", "a number"),
    // Out of range, and over what a number holds.
    ("workers = 0", "invalid_pool_size", "workers", "out of range"),
    ("workers = -1", "invalid_pool_size", "workers", "found the number -1"),
    ("workers = 4097", "invalid_pool_size", "workers", "1 to 4096"),
    ("workers = 9223372036854775807", "invalid_pool_size", "workers", "out of range"),
    ("queue = 0", "invalid_value", "queue", "out of range"),
    ("queue = 10000001", "invalid_value", "queue", "out of range"),
    ("prefetch = -1", "invalid_value", "prefetch", "whole number"),
    ("prefetch = 1025", "invalid_value", "prefetch", "out of range"),
    ("stream_credit = 0", "invalid_value", "stream_credit", "out of range"),
    ("stream_credit = 65537", "invalid_value", "stream_credit", "out of range"),
    ("max_tool_depth = 65", "invalid_value", "max_tool_depth", "0 to 64"),
    ("max_tool_calls = 0", "invalid_value", "max_tool_calls", "out of range"),
    ("max_payload = '1KB'", "invalid_value", "max_payload", "1KiB to 1TiB"),
    ("max_payload = '2TiB'", "invalid_value", "max_payload", "out of range"),
    ("max_payload = '99999999999TiB'", "invalid_value", "max_payload", "no size"),
    ("max_payload = '-1MiB'", "invalid_value", "max_payload", "no size"),
    ("max_payload = '1'", "invalid_value", "max_payload", "no size"),
    ("max_payload = '1 gigabyte'", "invalid_value", "max_payload", "no size"),
    ("heartbeat = '1ms'", "invalid_value", "heartbeat", "out of range"),
    ("heartbeat = '2h'", "invalid_value", "heartbeat", "out of range"),
    ("heartbeat = 'none'", "invalid_value", "heartbeat", "no duration"),
    ("heartbeat = '-2s'", "invalid_value", "heartbeat", "no duration"),
    ("heartbeat = ''", "invalid_value", "heartbeat", "no duration"),
    ("heartbeat = '2'", "invalid_value", "heartbeat", "no duration"),
    ("heartbeat = '99999999999999999999d'", "invalid_value", "heartbeat", "no duration"),
    ("health_interval = '1ms'", "invalid_value", "health_interval", "out of range"),
    ("idle_timeout = '1ms'", "invalid_value", "idle_timeout", "out of range"),
    ("cancel_grace = '2d'", "invalid_value", "cancel_grace", "out of range"),
    ("lifecycle.ttl = '1ms'", "invalid_worker_ttl", "lifecycle.ttl", "out of range"),
    ("lifecycle.ttl = 3600", "invalid_worker_ttl", "lifecycle.ttl", "a text with a unit"),
    ("lifecycle.ttl = 'soon'", "invalid_worker_ttl", "lifecycle.ttl", "no duration"),
    (
        "lifecycle.max_requests = 0",
        "invalid_worker_max_requests",
        "lifecycle.max_requests",
        "range",
    ),
    ("lifecycle.max_requests = -5", "invalid_worker_max_requests", "lifecycle.max_requests", "-5"),
    ("lifecycle.max_requests = 'x'", "invalid_worker_max_requests", "lifecycle.max_requests", "x"),
    ("lifecycle.max_memory = '1KiB'", "invalid_value", "lifecycle.max_memory", "out of range"),
    ("lifecycle.max_surge = 0", "invalid_value", "lifecycle.max_surge", "out of range"),
    ("lifecycle.jitter = 0.6", "invalid_value", "lifecycle.jitter", "0 to 0.5"),
    ("lifecycle.jitter = nan", "invalid_value", "lifecycle.jitter", "out of range"),
    ("lifecycle.jitter = -0.1", "invalid_value", "lifecycle.jitter", "out of range"),
    ("lifecycle.memory_interval = '1d'", "invalid_value", "lifecycle.memory_interval", "range"),
    ("lifecycle.idle = '1ms'", "invalid_value", "lifecycle.idle", "out of range"),
    ("timeouts.call = '0s'", "invalid_value", "timeouts.call", "out of range"),
    ("timeouts.call = '400d'", "invalid_value", "timeouts.call", "out of range"),
    ("timeouts.queue = 5", "invalid_value", "timeouts.queue", "a text with a unit"),
    ("timeouts.start = 'none'", "invalid_value", "timeouts.start", "no duration"),
    ("timeouts.drain = '2d'", "invalid_value", "timeouts.drain", "out of range"),
    ("timeouts.profile = 'balancd'", "invalid_value", "timeouts.profile", "balanced"),
    // Names that are none, and those of another thing.
    ("profile = 'thred'", "invalid_profile", "profile", "did you mean `thread`?"),
    ("profile = ''", "invalid_profile", "profile", ""),
    ("start = 'fork'", "invalid_value", "start", "zygote, spawn"),
    ("wrokers = 2", "unknown_key", "wrokers", "did you mean `workers`?"),
    ("lifecycle.tll = '1h'", "unknown_key", "lifecycle.tll", "did you mean `ttl`?"),
    ("timeouts.cal = '1h'", "unknown_key", "timeouts.cal", "did you mean `call`?"),
    ("fallback = 'default'", "invalid_value", "fallback", "expected a table"),
    ("successor = 'default'", "unknown_key", "successor", "known are"),
    ("retry.atempts = 2", "unknown_key", "retry.atempts", "did you mean `attempts`?"),
    ("name = 'default'", "unknown_key", "name", ""),
    ("env = { 'A=B' = '1' }", "invalid_value", "env.A=B", "no `=`"),
    ("env = { '' = '1' }", "invalid_value", "env.", "not empty"),
    ("env = { A = \"\\u0000\" }", "invalid_value", "env.A", "NUL"),
    ("cwd = ''", "invalid_value", "cwd", "empty"),
    ("python = \"\\u0000\"", "invalid_value", "python", "NUL"),
    // Values that contradict each other.
    ("workers = 2\nmin_workers = 3", "invalid_pool_size", "min_workers", "fewer"),
    ("workers = 2\nmax_workers = 1", "invalid_pool_size", "max_workers", "more"),
    ("threads = 4", "invalid_value", "threads", "one call at a time"),
    ("gil = 'warn'", "invalid_value", "gil", "one call at a time"),
    ("profile = 'thread'\nthreads = 0", "invalid_value", "threads", "out of range"),
    ("profile = 'thread'\nthreads = 65", "invalid_value", "threads", "1 to 64"),
    ("profile = 'thread'\ngil = 'of'", "invalid_value", "gil", "refuse"),
    ("profile = 'thread'\nstart = 'zygote'", "invalid_value", "start", "cannot be forked"),
    ("profile = 'thread'\nstrategy = 'fil'", "invalid_value", "strategy", "`fill`?"),
    ("profile = 'thread'\nstrategy = 1", "invalid_value", "strategy", "expected a text"),
    ("strategy = 'fill'", "invalid_value", "strategy", "one call at a time"),
    // Logs.
    ("logs = 'off'", "invalid_value", "logs", "expected a table"),
    ("logs.stdout = 'warning'", "invalid_value", "logs.stdout", "known are"),
    ("logs.stderr = 3", "invalid_value", "logs.stderr", "expected a text"),
    ("logs.level = 'info'", "unknown_key", "logs.level", "known are"),
    ("logs.lines_per_second = 0", "invalid_value", "logs.lines_per_second", "1 to 1000000"),
    ("logs.max_line = '1B'", "invalid_value", "logs.max_line", "64B to 1MiB"),
    ("logs.max_line = 80", "invalid_value", "logs.max_line", "a text with a unit"),
    ("logs.tail = 1001", "invalid_value", "logs.tail", "0 to 1000"),
    ("logs.tail = -1", "invalid_value", "logs.tail", "whole number"),
    // Layers.
    ("retry = 3", "invalid_value", "retry", "expected a table"),
    ("retry.attempts = 0", "invalid_value", "retry.attempts", "1 to 10000"),
    ("retry.schedule = 'exponentiel'", "invalid_value", "retry.schedule", "`exponential`?"),
    ("retry.base = '-1s'", "invalid_value", "retry.base", "no duration"),
    ("retry = { base = '2s', cap = '1s' }", "invalid_value", "retry.cap", "shorter than the first"),
    ("retry.jitter = 1.5", "invalid_value", "retry.jitter", "0 to 1"),
    ("retry.budget = -1", "invalid_value", "retry.budget", "out of range"),
    ("retry.kinds = 'python'", "invalid_value", "retry.kinds", "a list of texts"),
    ("retry.kinds = ['worker_list']", "invalid_value", "retry.kinds", "`worker_lost`?"),
    ("retry.kinds = []", "invalid_value", "retry.kinds", "no error is named"),
    ("retry.exceptions = ['a b']", "invalid_value", "retry.exceptions", "no name"),
    ("retry.calls = 'some'", "invalid_value", "retry.calls", "idempotent, all"),
    ("breaker.failures = 0", "invalid_value", "breaker.failures", "out of range"),
    ("breaker.open = '0s'", "invalid_value", "breaker.open", "out of range"),
    ("breaker.probes = 10001", "invalid_value", "breaker.probes", "out of range"),
    ("breaker.per = 'worker'", "invalid_value", "breaker.per", "pool, command"),
    ("barrier.taint = 'none'", "invalid_value", "barrier.taint", "no duration"),
    ("shed = {}", "missing_required_fields", "shed", "when calls are shed"),
    ("shed.queue = 2000", "invalid_value", "shed.queue", "`queue` is 1024"),
    ("shed.wait = 5", "invalid_value", "shed.wait", "a text with a unit"),
    ("rate_limit = {}", "missing_required_fields", "rate_limit.calls", "no rate"),
    ("rate_limit = { calls = 5, burst = 0 }", "invalid_value", "rate_limit.burst", "out of range"),
    ("hedge = {}", "missing_required_fields", "hedge.after", "when a call is slow"),
    ("hedge.after = '300s'", "invalid_value", "hedge.after", "over by then"),
    ("fallback = {}", "missing_required_fields", "fallback.pool", "which pool"),
    ("fallback.pool = 'defualt'", "invalid_value", "fallback.pool", "did you mean `default`?"),
    ("fallback.pool = 'default'", "invalid_value", "fallback.pool", "default -> default"),
    // Arguments that nothing holds.
    ("adapter_args = { n = inf }", "invalid_value", "adapter_args.n", "out of range"),
];

/// Whole documents, by their ending; the problem's code, its path and a word of its text.
const DOCUMENTS: &[(&str, &str, &str, &str, &str)] = &[
    ("toml", "", "no_pools_configured", "pool", "there is no pool"),
    ("toml", "[pool]", "no_pools_configured", "pool", "there is no pool"),
    ("toml", "[pool.a]", "missing_required_fields", "pool.a.adapter", "no adapter"),
    ("toml", "[pool.a]\nadapter = ''", "invalid_value", "pool.a.adapter", "empty"),
    ("toml", "[pool.a]\nadapter = 'a b'", "invalid_value", "pool.a.adapter", "neither"),
    ("toml", "[pool.a]\nadapter = 'm:1'", "invalid_value", "pool.a.adapter", "Python class"),
    ("toml", "[pool.'a b']\nadapter = 'm'", "invalid_value", "pool.a b", "name"),
    ("toml", "[pool.'']\nadapter = 'm'", "invalid_value", "pool.", "name"),
    ("toml", "[poll.a]\nadapter = 'm'", "unknown_key", "poll", "did you mean `pool`?"),
    ("toml", "hots.log = 'info'\n[pool.a]\nadapter = 'm'", "unknown_key", "hots", "`host`?"),
    ("toml", "host = 5\n[pool.a]\nadapter = 'm'", "invalid_value", "host", "expected a table"),
    ("toml", "host.name = 'x'\n[pool.a]\nadapter = 'm'", "unknown_key", "host.name", "known are"),
    (
        "toml",
        "host.instance = '../x'\n[pool.a]\nadapter = 'm'",
        "invalid_value",
        "host.instance",
        "1 to 64",
    ),
    (
        "toml",
        "host.instance = 5\n[pool.a]\nadapter = 'm'",
        "invalid_value",
        "host.instance",
        "a text",
    ),
    (
        "toml",
        "host.socket_dir = ''\n[pool.a]\nadapter = 'm'",
        "invalid_value",
        "host.socket_dir",
        "empty",
    ),
    (
        "toml",
        "host.control_socket = 'on'\n[pool.a]\nadapter = 'm'",
        "invalid_value",
        "host.control_socket",
        "neither `auto` nor `off`",
    ),
    (
        "toml",
        "host = { control_socket = '/x', instance = 'y' }\n[pool.a]\nadapter = 'm'",
        "invalid_value",
        "host.instance",
        "a path of its own",
    ),
    (
        "toml",
        "host.log = 'loud'\n[pool.a]\nadapter = 'm'",
        "invalid_value",
        "host.log",
        "known are",
    ),
    (
        "toml",
        "host.watch = 'yes'\n[pool.a]\nadapter = 'm'",
        "invalid_value",
        "host.watch",
        "true or false",
    ),
    (
        "toml",
        "host.adopt_orphans = 1\n[pool.a]\nadapter = 'm'",
        "invalid_value",
        "host.adopt_orphans",
        "true or false",
    ),
    (
        "toml",
        "host.shutdown_timeout = '2d'\n[pool.a]\nadapter = 'm'",
        "invalid_value",
        "host.shutdown_timeout",
        "out of range",
    ),
    ("toml", "pool = 5", "invalid_value", "pool", "expected tables"),
    ("toml", "[[pool]]\nadapter = 'm'", "invalid_value", "pool", "expected tables"),
    ("toml", "[pool.a]\nadapter = 'm'\n[pool.a]", "syntax", "", ""),
    ("toml", "[pool.a]\nadapter = 'm'\nadapter = 'n'", "syntax", "", ""),
    (
        "toml",
        "[pool.a]\nworkers = 99999999999999999999999999999999999999999",
        "invalid_value",
        "",
        "",
    ),
    ("toml", "[pool.a\nadapter = 'm'", "syntax", "", ""),
    ("json", "{\"pool\": {\"a\": {\"adapter\": \"m\"},}}", "syntax", "", ""),
    ("json", "{\"pool\": {\"a\": {\"adapter\": \"m\"}}", "syntax", "", "EOF"),
    (
        "json",
        "{\"pool\": {\"a\": {\"adapter\": null}}}",
        "invalid_value",
        "pool.a.adapter",
        "nothing",
    ),
    ("json", "[]", "invalid_value", "", "expected a table"),
    ("json", "{\"pool\": {\"a\": {}, \"a\": {}}}", "duplicate_pool_names", "pool.a", "two pools"),
    ("json", "{\"pool\": {\"a\": {\"workers\": 1e999}}}", "invalid_value", "", "out of range"),
    ("yaml", "pool:\n  a:\n", "invalid_value", "pool.a", "found nothing"),
    ("yaml", "pool: [", "syntax", "", ""),
    ("yaml", "pool:\n\ta: 1", "syntax", "", ""),
    ("yaml", "pool: *nothing", "syntax", "", ""),
    ("yaml", "pool: !!map {}", "syntax", "", "tags"),
    ("yaml", "just words", "invalid_value", "", "expected a table"),
    ("yaml", "pool: {a: {adapter: m}}\n---\npool: {}", "syntax", "", "second document"),
    ("yml", "pools: [{pool_size: 1}]", "missing_required_fields", "pools.0.name", "no name"),
    ("yml", "pools: [{name: a}, {name: a}]", "duplicate_pool_names", "pool.a", "two pools"),
    ("yml", "pool_size: 0", "invalid_pool_size", "pool.default.workers", "out of range"),
    ("yml", "worker_ttl: [1, days]", "invalid_worker_ttl", "worker_ttl", ":hours"),
    ("yml", "pool_sise: 0\npool_size: 1", "unknown_key", "pool_sise", "did you mean `pool_size`?"),
    (
        "yml",
        "pool_size: 1\ncapacity_strategy: most",
        "invalid_value",
        "capacity_strategy",
        ":hybrid",
    ),
    ("yml", "adapter_module: My.Own", "invalid_value", "adapter_module", "Elixir module"),
    ("ini", "[pool]", "unreadable", "", "ending"),
];

/// The one problem that `config check` tells programs of.
fn problem(directory: &Path, ending: &str, text: &[u8]) -> serde_json::Value {
    let path = directory.join(format!("bad.{ending}"));
    std::fs::write(&path, text).unwrap();
    let shown = String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned();
    let output = cli().args(["--json", "config", "check"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{shown}: {}", stderr(&output));
    assert!(output.stdout.is_empty(), "{shown}");
    let told: serde_json::Value = serde_json::from_str(stderr(&output)).unwrap();
    assert_eq!(told["error"]["kind"], "invalid_config", "{shown}: {told}");
    let problems = told["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{shown}: one mistake is one problem: {told}");
    problems[0].clone()
}

fn check(problem: &serde_json::Value, text: &str, code: &str, path: &str, word: &str) {
    assert_eq!(problem["code"], code, "{text}: {problem}");
    assert_eq!(problem["path"], path, "{text}: {problem}");
    assert!(problem.to_string().contains(&word.replace('"', "\\\"")), "{text}: {problem}");
}

#[test]
fn a_hundred_kinds_of_bad_settings_are_one_clear_problem_each() {
    let directory = tempfile::tempdir().unwrap();
    let mut kinds = HashSet::new();
    for (line, code, path, word) in KEYS {
        let text = format!("[pool.default]\nadapter = 'a.py'\n{line}\n");
        let found = problem(directory.path(), "toml", text.as_bytes());
        check(&found, line, code, &format!("pool.default.{path}"), word);
        let at = &found["position"];
        assert!(
            at["line"].as_u64() >= Some(3) && at["column"].as_u64() >= Some(1),
            "{line}: {found}"
        );
        kinds.insert((*line).to_owned());
    }
    for (ending, text, code, path, word) in DOCUMENTS {
        let found = problem(directory.path(), ending, text.as_bytes());
        check(&found, text, code, path, word);
        kinds.insert(format!("{ending} {text}"));
    }
    assert!(kinds.len() >= 100, "{}", kinds.len());
}

#[test]
fn files_that_are_no_text_or_no_end_of_it_are_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let found = problem(directory.path(), "toml", b"[pool.a]\nadapter = '\xff'\n");
    check(&found, "bytes", "syntax", "", "UTF-8");
    assert_eq!(found["position"], serde_json::json!({ "line": 2, "column": 12 }));
    let found = problem(directory.path(), "json", &vec![b' '; 9 << 20]);
    check(&found, "huge", "too_large", "", "8388608");
    for (ending, open) in [("json", "["), ("yaml", "["), ("json", "{\"a\":")] {
        let close = if open == "[" { "]" } else { "}" };
        let text = format!("{{\"a\": {}1{}}}", open.repeat(5000), close.repeat(5000));
        let found = problem(directory.path(), ending, text.as_bytes());
        check(&found, "deep", "too_large", "", "deeper than 64");
    }
    let text = format!("a = {}1{}", "[".repeat(5000), "]".repeat(5000));
    let found = problem(directory.path(), "toml", text.as_bytes());
    check(&found, "deep", "too_large", "", "deeper than");

    let missing = directory.path().join("missing.toml");
    let output = cli().args(["--json", "config", "check"]).arg(&missing).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("\"unreadable\""), "{}", stderr(&output));
    let output = cli().args(["config", "check"]).arg(directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "a directory");
}
