//! What each key of the original becomes. The names are the original's, from v0.3 to v0.13.

/// What a key becomes.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    /// A setting, with its value read in this way.
    Setting(&'static str, Reading),
    /// One that is put together with others.
    Special,
    /// Nothing, and why.
    Nothing(&'static str),
}

/// How the original writes a value.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    Same,
    /// A number, or `infinity`, which is the default here.
    Unlimited,
    Milliseconds,
    Megabytes,
    /// `{3600, :seconds}`, or `infinity`.
    Age,
}

use Meaning::{Nothing, Setting, Special};
use Reading::{Age, Megabytes, Milliseconds, Same, Unlimited};

const PORTS: &str = "workers are reached through inherited sockets, no port is used";
const STARTUP: &str = "workers start together, by a fork each";
const ENGINE: &str = "it tunes a part that does not exist here";
const HEARTBEATS: &str =
    "heartbeats are answered beside running code; a worker that misses fifteen ends";
const TELEMETRY: &str = "it is the program's business what becomes of events";

/// Keys by name. Where two become the same setting, the first given one of a document counts.
const KEYS: [(&str, Meaning); 69] = [
    ("name", Special),
    ("pool_size", Setting("workers", Same)),
    ("worker_profile", Setting("profile", Same)),
    ("threads_per_worker", Setting("threads", Same)),
    ("worker_ttl", Setting("lifecycle.ttl", Age)),
    ("worker_max_requests", Setting("lifecycle.max_requests", Unlimited)),
    ("memory_threshold_mb", Setting("lifecycle.max_memory", Megabytes)),
    ("python_path", Setting("python", Same)),
    ("python_executable", Setting("python", Same)),
    ("timeout_profile", Setting("timeouts.profile", Same)),
    ("default_timeout", Setting("timeouts.call", Milliseconds)),
    ("default_command_timeout", Setting("timeouts.call", Milliseconds)),
    ("pool_request_timeout", Setting("timeouts.call", Milliseconds)),
    ("stream_timeout", Setting("timeouts.stream_idle", Milliseconds)),
    ("pool_streaming_timeout", Setting("timeouts.stream_idle", Milliseconds)),
    ("queue_timeout", Setting("timeouts.queue", Milliseconds)),
    ("pool_queue_timeout", Setting("timeouts.queue", Milliseconds)),
    ("checkout_timeout", Setting("timeouts.queue", Milliseconds)),
    ("pool_startup_timeout", Setting("timeouts.start", Milliseconds)),
    ("worker_init_timeout", Setting("timeouts.start", Milliseconds)),
    ("pool_max_queue_size", Setting("queue", Same)),
    ("heartbeat_ping_interval_ms", Setting("heartbeat", Milliseconds)),
    ("lifecycle_health_check_interval", Setting("health_interval", Milliseconds)),
    ("adapter_module", Special),
    ("adapter_args", Special),
    ("script_path", Special),
    ("adapter_env", Special),
    ("heartbeat", Special),
    ("max_overflow", Special),
    ("overflow", Special),
    ("max_workers", Special),
    ("pool_max_workers", Special),
    ("python_thread_limits", Special),
    ("thread_safety_checks", Special),
    ("pool_config", Nothing("it is no table")),
    ("pooling_enabled", Nothing("pools run when a program starts them")),
    ("grpc_config", Nothing(PORTS)),
    ("base_port", Nothing(PORTS)),
    ("port_range", Nothing(PORTS)),
    ("python_timeout", Nothing("a call has one deadline, which travels with it")),
    ("startup_batch_size", Nothing(STARTUP)),
    ("startup_batch_delay_ms", Nothing(STARTUP)),
    ("pool_startup_batch_size", Nothing(STARTUP)),
    ("pool_startup_batch_delay_ms", Nothing(STARTUP)),
    ("strategy", Nothing("the least loaded worker takes the call")),
    ("capacity_strategy", Special),
    ("affinity", Setting("session.affinity", Same)),
    ("pool_identifier", Nothing("a pool is known by its name")),
    ("health_check_interval", Nothing(HEARTBEATS)),
    ("worker_health_check_interval", Nothing(HEARTBEATS)),
    ("worker_shutdown_grace_period", Nothing("a worker ends as soon as its calls have")),
    ("graceful_shutdown_timeout_ms", Nothing("a worker ends as soon as its calls have")),
    ("shutdown_margin_ms", Nothing(ENGINE)),
    ("executor_batch_timeout", Nothing("each call of a batch has its own deadline")),
    ("default_pool_size", Nothing("give each pool its `workers`")),
    ("default_worker_profile", Nothing("give each pool its `profile`")),
    ("wire_protocol", Nothing("there is one")),
    ("log_level", Special),
    ("environment", Nothing("there are no build environments")),
    ("enable_otlp?", Nothing(TELEMETRY)),
    ("opentelemetry", Nothing(TELEMETRY)),
    ("instance_name", Special),
    ("instance_token", Nothing("hosts never see each other's workers")),
    ("data_dir", Nothing("nothing is kept on disk")),
    ("rogue_cleanup", Nothing("no worker outlives its host")),
    ("dets_flush_interval_ms", Nothing("nothing is kept on disk")),
    ("bootstrap_project_root", Nothing("`snakepit setup` installs the worker package")),
    ("auto_install_python_deps", Nothing("`snakepit setup` installs the worker package")),
    ("wait_for_ready", Nothing("a pool is ready when its workers have said so")),
];

/// Families of keys: what begins like this means this.
const FAMILIES: [(&str, &str); 18] = [
    ("grpc_", PORTS),
    ("telemetry", TELEMETRY),
    ("log_", TELEMETRY),
    ("process_registry_", "nothing is kept on disk"),
    ("session_", "the table `session` of a pool says it"),
    ("retry_", "the table `retry` of a pool says it"),
    ("circuit_breaker_", "the table `breaker` of a pool says it"),
    ("crash_barrier", "the table `barrier` of a pool says it"),
    ("health_monitor_", ENGINE),
    ("lifecycle_", ENGINE),
    ("heartbeat_", HEARTBEATS),
    ("worker_starter_", ENGINE),
    ("worker_supervisor_", ENGINE),
    ("worker_call_", ENGINE),
    ("pool_", ENGINE),
    ("cleanup_", ENGINE),
    ("python_package", "`snakepit setup` installs the worker package"),
    ("bootstrap_", "`snakepit setup` installs the worker package"),
];

/// What a key becomes, if the original knows it.
pub(super) fn meaning(key: &str) -> Option<Meaning> {
    if let Some((_, meaning)) = KEYS.iter().find(|(name, _)| *name == key) {
        return Some(*meaning);
    }
    // Names that are near a known one are slips, not members of a family.
    let slip = KEYS.iter().any(|(name, _)| strsim::damerau_levenshtein(key, name) <= 2);
    let family = FAMILIES.iter().find(|(prefix, _)| key.starts_with(prefix));
    family.filter(|_| !slip).map(|(_, why)| Nothing(why))
}

/// All names.
pub(super) fn names() -> Vec<&'static str> {
    KEYS.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_no_members_of_a_family() {
        assert!(meaning("grpc_worker_stream_timeout").is_some());
        assert!(meaning("pool_sizes").is_none());
        assert!(meaning("my_own").is_none());
    }
}
