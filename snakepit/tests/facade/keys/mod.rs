//! Each key of a document changes the running system, and the table of keys is the schema's: a key
//! without a proof fails here, and so does a proof without its key.
//!
//! A new key gets a row in `TABLE`: its path, what can be seen of it, and the test that sees it, in
//! whatever file under `tests/`. Those that nothing else is about are in `proofs.rs`.

mod proofs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value as Json;

/// A key, what can be seen of it, and where that is asserted.
struct Row(&'static str, &'static str, Proof);

/// A file, from `tests/` on, and a test in it.
struct Proof(&'static str, &'static str);

/// In the order of the schema; keys of a pool without its name in front.
const TABLE: &[Row] = &[
    Row("host.instance", "the name it is found by", Proof(HOST, "host_instance")),
    Row("host.socket_dir", "where its socket is", Proof(HOST, "host_socket_dir")),
    Row("host.control_socket", "where its socket is, if any", Proof(HOST, "host_control_socket")),
    Row("host.adopt_orphans", "whose child an orphan becomes", Proof(HOST, "host_adopt_orphans")),
    Row("host.log", "what it tells of", Proof(HOST, "host_log")),
    Row("host.watch", "that it reads its file by itself", Proof(HOST, "host_watch")),
    Row(
        "host.shutdown_timeout",
        "after how long it gives its workers up",
        Proof(HOST, "host_shutdown_timeout"),
    ),
    Row(
        "host.shm_total",
        "what the host says it may have, and what goes inline beyond it",
        Proof(ARRAYS, "all_pools_together_have_what_the_host_is_given"),
    ),
    Row(
        "profile",
        "workers are processes or have threads",
        Proof(PROFILES, "a_pool_of_processes_and_one_of_threads_serve_side_by_side"),
    ),
    Row(
        "threads",
        "the capacity of a worker",
        Proof(RELOADING, "a_pool_may_change_its_profile_and_its_interpreter"),
    ),
    Row(
        "gil",
        "a worker whose GIL is on is refused",
        Proof(
            PROFILES,
            "a_thread_pool_that_refuses_a_gil_does_not_start_on_an_interpreter_with_one",
        ),
    ),
    Row("strategy", "how calls are shared out among workers", Proof(PROOFS, "strategy")),
    Row(
        "start",
        "whose child a worker is",
        Proof("facade/starting.rs", "workers_are_forked_unless_the_settings_say_otherwise"),
    ),
    Row(
        "workers",
        "how many there are",
        Proof(RELOADING, "each_pool_becomes_what_the_file_says_and_the_others_are_not_touched"),
    ),
    Row(
        "min_workers",
        "how few are left without calls",
        Proof(SCALING, "a_pool_grows_while_calls_wait_and_shrinks_when_none_come"),
    ),
    Row(
        "max_workers",
        "how many there are while calls wait",
        Proof(SCALING, "a_pool_grows_while_calls_wait_and_shrinks_when_none_come"),
    ),
    Row(
        "idle_timeout",
        "that they go at all",
        Proof(SCALING, "a_pool_grows_while_calls_wait_and_shrinks_when_none_come"),
    ),
    Row(
        "adapter",
        "which tools there are",
        Proof(SETTINGS, "file_sets_up_several_pools_and_its_directory_is_the_base"),
    ),
    Row(
        "adapter_args",
        "what the adapter was made with",
        Proof(SETTINGS, "file_sets_up_several_pools_and_its_directory_is_the_base"),
    ),
    Row(
        "python",
        "an interpreter that is not there is named",
        Proof("bad_input/interpreter_missing.rs", "path_without_an_interpreter_is_named"),
    ),
    Row(
        "worker_package",
        "a directory that holds none is named",
        Proof("bad_input/package_missing.rs", "directory_that_holds_no_package_is_named"),
    ),
    Row(
        "cwd",
        "the directory of a worker",
        Proof(SETTINGS, "file_sets_up_several_pools_and_its_directory_is_the_base"),
    ),
    Row(
        "env",
        "the environment of a worker",
        Proof(SETTINGS, "file_sets_up_several_pools_and_its_directory_is_the_base"),
    ),
    Row(
        "prefetch",
        "calls handed over ahead of time, in the statistics",
        Proof(PROOFS, "prefetch"),
    ),
    Row(
        "queue",
        "one more call is refused",
        Proof(SETTINGS, "strict_pool_and_its_limits_are_the_engines"),
    ),
    Row(
        "max_payload",
        "a larger value is refused, either way",
        Proof(
            "bad_input/payload_over_the_limit.rs",
            "both_ways_are_refused_and_the_pool_serves_on",
        ),
    ),
    Row(
        "heartbeat",
        "when a frozen worker is ended",
        Proof("facade/heartbeats.rs", "frozen_worker_is_ended_and_replaced"),
    ),
    Row(
        "health_interval",
        "that the adapter's check runs",
        Proof(
            "facade/health.rs",
            "a_worker_that_raises_or_says_false_is_replaced_and_a_slow_one_is_not",
        ),
    ),
    Row(
        "cancel_grace",
        "whether a worker outlives a call that goes on",
        Proof(PROOFS, "cancel_grace"),
    ),
    Row(
        "stream_credit",
        "how far a stream runs ahead of its reader",
        Proof(PROOFS, "stream_credit"),
    ),
    Row(
        "lifecycle.ttl",
        "a recycle for it",
        Proof(RECYCLING, "ttl_replaces_a_worker_that_does_nothing"),
    ),
    Row(
        "lifecycle.max_requests",
        "a recycle for it",
        Proof(RECYCLING, "max_requests_changes_processes_and_no_call_notices"),
    ),
    Row(
        "lifecycle.max_memory",
        "a recycle for it",
        Proof(RECYCLING, "max_memory_replaces_a_worker_that_hoards_as_often_as_it_is_measured"),
    ),
    Row(
        "lifecycle.idle",
        "a recycle for it",
        Proof(RECYCLING, "idle_replaces_a_worker_that_has_served_and_not_one_that_has_not"),
    ),
    Row(
        "lifecycle.memory_interval",
        "one that is measured rarely stays",
        Proof(RECYCLING, "max_memory_replaces_a_worker_that_hoards_as_often_as_it_is_measured"),
    ),
    Row(
        "lifecycle.jitter",
        "workers of one age do not end together",
        Proof(RECYCLING, "jitter_ends_some_workers_before_the_others"),
    ),
    Row(
        "lifecycle.max_surge",
        "how many replacements start at a time",
        Proof(RECYCLING, "max_surge_is_how_many_start_at_a_time"),
    ),
    Row("timeouts.profile", "the time a call has left", Proof(PROOFS, "timeouts_profile_and_call")),
    Row("timeouts.call", "the time a call has left", Proof(PROOFS, "timeouts_profile_and_call")),
    Row(
        "timeouts.stream_idle",
        "the end of a stream that falls silent",
        Proof(PROOFS, "timeouts_stream_idle"),
    ),
    Row("timeouts.queue", "the end of a call in line", Proof(PROOFS, "timeouts_queue")),
    Row("timeouts.start", "the end of a start that takes longer", Proof(PROOFS, "timeouts_start")),
    Row("timeouts.drain", "when a shutdown cuts calls off", Proof(PROOFS, "timeouts_drain")),
    Row(
        "max_tool_depth",
        "how deep calls and tools may call each other",
        Proof(HOST_TOOLS, "tools_that_call_each_other_end_at_the_depth_limit"),
    ),
    Row(
        "max_tool_calls",
        "one more tool call is refused",
        Proof(HOST_TOOLS, "tool_calls_of_one_worker_are_bounded"),
    ),
    Row("logs.stdout", "the level of a line, if any", Proof(LOGS, "logs_stdout_and_stderr")),
    Row("logs.stderr", "the level of a line, if any", Proof(LOGS, "logs_stdout_and_stderr")),
    Row(
        "logs.lines_per_second",
        "how many of many lines are told",
        Proof(LOGS, "logs_lines_per_second_and_max_line"),
    ),
    Row("logs.max_line", "where a line is cut", Proof(LOGS, "logs_lines_per_second_and_max_line")),
    Row("logs.tail", "whether an error has the last line", Proof(LOGS, "logs_tail")),
    Row(
        "session.affinity",
        "whether a session is held to its worker",
        Proof(PROOFS, "session_affinity"),
    ),
    Row(
        "session.ttl",
        "the end of a session that nobody uses",
        Proof(SESSIONS, "a_session_that_nobody_uses_ends_in_the_host_and_in_python"),
    ),
    Row(
        "session.quota",
        "one more session is refused",
        Proof(SESSIONS, "values_are_kept_for_a_session_whichever_worker_serves_it"),
    ),
    Row(
        "session.max_data",
        "a value too much is refused",
        Proof(SESSIONS, "values_are_kept_for_a_session_whichever_worker_serves_it"),
    ),
    Row(
        "barrier.taint",
        "which worker gets a command that has crashed",
        Proof(LAYERS, "a_crash_moves_a_call_that_may_run_twice_and_taints_the_seat"),
    ),
    Row(
        "shed.queue",
        "a call is refused while so many wait",
        Proof(LAYERS, "calls_are_shed_while_the_line_is_long"),
    ),
    Row("shed.wait", "what the layer goes by", Proof(LAYER_OPTIONS, "each_key_reaches_its_layer")),
    Row(
        "rate_limit.calls",
        "a call beyond the rate is refused",
        Proof(LAYERS, "calls_beyond_the_rate_are_refused_and_no_failure_of_the_pool"),
    ),
    Row(
        "rate_limit.per",
        "a call beyond the rate is refused",
        Proof(LAYERS, "calls_beyond_the_rate_are_refused_and_no_failure_of_the_pool"),
    ),
    Row(
        "rate_limit.burst",
        "a call beyond the rate is refused",
        Proof(LAYERS, "calls_beyond_the_rate_are_refused_and_no_failure_of_the_pool"),
    ),
    Row(
        "breaker.failures",
        "when a circuit opens, and closes again",
        Proof(LAYERS, "circuits_open_refuse_and_close_again"),
    ),
    Row(
        "breaker.open",
        "when a circuit opens, and closes again",
        Proof(LAYERS, "circuits_open_refuse_and_close_again"),
    ),
    Row(
        "breaker.per",
        "when a circuit opens, and closes again",
        Proof(LAYERS, "circuits_open_refuse_and_close_again"),
    ),
    Row(
        "breaker.probes",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
    Row(
        "breaker.kinds",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
    Row(
        "retry.attempts",
        "how often a call was tried",
        Proof(LAYERS, "a_flaky_tool_succeeds_at_the_third_try_when_it_may_run_twice"),
    ),
    Row(
        "retry.schedule",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
    Row("retry.base", "what the layer goes by", Proof(LAYER_OPTIONS, "each_key_reaches_its_layer")),
    Row("retry.cap", "what the layer goes by", Proof(LAYER_OPTIONS, "each_key_reaches_its_layer")),
    Row(
        "retry.jitter",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
    Row(
        "retry.kinds",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
    Row(
        "retry.exceptions",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
    Row(
        "retry.calls",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
    Row(
        "retry.budget",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
    Row(
        "shm.mode",
        "values travel inline, or are refused",
        Proof(ARRAYS, "without_shared_memory_the_same_calls_work_inline"),
    ),
    Row(
        "shm.threshold",
        "which values go through shared memory",
        Proof(ARRAYS, "values_below_the_threshold_go_as_they_always_did"),
    ),
    Row(
        "shm.quota",
        "what is beyond it is refused in a strict pool",
        Proof(ARRAYS, "a_strict_pool_refuses_what_has_to_go_inline"),
    ),
    Row(
        "hedge.after",
        "when there is a second attempt",
        Proof(LAYERS, "a_slow_call_gets_a_second_attempt_and_the_first_is_cancelled"),
    ),
    Row(
        "hedge.budget",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
    Row(
        "fallback.pool",
        "which pool serves instead",
        Proof(LAYERS, "the_fallback_serves_while_a_pool_is_broken_full_or_was_never_there"),
    ),
    Row(
        "fallback.kinds",
        "what the layer goes by",
        Proof(LAYER_OPTIONS, "each_key_reaches_its_layer"),
    ),
];

const ARRAYS: &str = "facade/arrays.rs";
const HOST: &str = "control/settings.rs";
const HOST_TOOLS: &str = "facade/host_tools.rs";
const LAYERS: &str = "facade/layers.rs";
const LAYER_OPTIONS: &str = "../src/layers.rs";
const LOGS: &str = "cli/logs.rs";
const PROFILES: &str = "facade/profiles.rs";
const PROOFS: &str = "facade/keys/proofs.rs";
const RECYCLING: &str = "facade/recycling.rs";
const RELOADING: &str = "facade/reloading.rs";
const SCALING: &str = "facade/scaling.rs";
const SESSIONS: &str = "facade/sessions.rs";
const SETTINGS: &str = "facade/settings.rs";

#[test]
fn every_key_has_a_proof_and_every_proof_a_key() {
    let schema = snakepit::config::schema();
    let mut keys = BTreeSet::new();
    collect("host", &schema["$defs"]["host"], &mut keys);
    collect("", &schema["$defs"]["pool"], &mut keys);
    // Whatever else a document may have has no row.
    let roots = schema["properties"].as_object().unwrap().keys();
    assert_eq!(roots.collect::<Vec<_>>(), ["host", "pool"]);
    let proven: BTreeSet<String> = TABLE.iter().map(|Row(key, ..)| (*key).to_owned()).collect();
    assert_eq!(proven.len(), TABLE.len(), "a key has two rows");
    assert_eq!(proven, keys, "what is in one only has no proof, or no key");
}

#[test]
fn every_proof_is_a_test_that_is_there() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = BTreeMap::new();
    for Row(key, effect, Proof(file, test)) in TABLE {
        let text = files.entry(*file).or_insert_with(|| {
            std::fs::read_to_string(tests.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
        });
        // Without the attribute it would be there and never run.
        let is_test = |before: &str| before.trim_end().ends_with("#[test]");
        let there =
            text.split_once(&format!("fn {test}()")).is_some_and(|(before, _)| is_test(before));
        assert!(there, "`{key}` ({effect}) is to be proven by {file}: {test}");
    }
}

/// The paths of all keys below a table.
fn collect(above: &str, table: &Json, keys: &mut BTreeSet<String>) {
    let properties = table["properties"].as_object();
    for (name, key) in properties.into_iter().flatten() {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match key["properties"].is_object() {
            true => collect(&path, key, keys),
            false => drop(keys.insert(path)),
        }
    }
}
