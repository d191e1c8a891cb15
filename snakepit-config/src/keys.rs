//! The keys a document may have, in the order a document shows them, and the nearest one to a
//! misspelt name.

/// Keys of one pool's table.
pub(crate) const POOL: [&str; 23] = [
    "profile",
    "threads",
    "gil",
    "start",
    "workers",
    "min_workers",
    "max_workers",
    "idle_timeout",
    "adapter",
    "adapter_args",
    "python",
    "worker_package",
    "cwd",
    "env",
    "prefetch",
    "queue",
    "max_payload",
    "heartbeat",
    "health_interval",
    "cancel_grace",
    "stream_credit",
    "lifecycle",
    "timeouts",
];

/// Keys of a pool's `timeouts` table.
pub(crate) const TIMEOUTS: [&str; 6] =
    ["profile", "call", "stream_idle", "queue", "start", "drain"];

/// Keys of a pool's `lifecycle` table.
pub(crate) const LIFECYCLE: [&str; 7] =
    ["ttl", "max_requests", "max_memory", "idle", "memory_interval", "jitter", "max_surge"];

/// Says what was probably meant, or what there is.
pub(crate) fn suggestion(written: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|key| (strsim::damerau_levenshtein(written, key), key))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        // Two slips, or a third of a long word: more than that is another word.
        Some((distance, key)) if distance <= (written.chars().count() / 3).max(2) => {
            format!("did you mean `{key}`?")
        }
        _ => format!("known are: {}", known.join(", ")),
    }
}
