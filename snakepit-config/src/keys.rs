//! The keys a document may have, in the order a document shows them, with what each takes. The JSON
//! Schema and environment variables follow from here; the nearest key to a misspelt one, too.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::logs::LogLevel;
use crate::profile::{GilPolicy, Profile, THREADS};
use crate::resilience::{
    BUDGET, COUNTS, CircuitPer, ERROR_KINDS, RATES, RETRY_JITTER, RETRY_TIMES, RetryCalls,
    RetrySchedule,
};
use crate::session::Affinity;
use crate::shm::SharedMemoryMode;
use crate::start::Start;
use crate::strategy::Strategy;
use crate::timeouts::TimeoutProfile;
use crate::validate::{
    GRACE, HEARTBEAT, JITTER, LOG_LINE, LOG_LINES, LOG_TAIL, MAX_MEMORY, MAX_PAYLOAD, MAX_REQUESTS,
    MAX_TOOL_CALLS, MAX_TOOL_DEPTH, MEMORY_INTERVAL, PAUSES, PREFETCH, QUEUE, SESSION_DATA,
    SESSION_QUOTA, SHM_QUOTA, SHM_THRESHOLD, STREAM_CREDIT, TIMES, TTL, WORKERS,
};

pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// One sentence for those who write the document.
    pub(crate) about: &'static str,
}

/// What a key takes.
pub(crate) enum Kind {
    Text,
    Choice(&'static [&'static str]),
    Count(RangeInclusive<u64>),
    Share(RangeInclusive<f64>),
    /// A duration; those that can be lifted take `none`, too.
    Time {
        range: RangeInclusive<Duration>,
        none: bool,
    },
    Size(RangeInclusive<u64>),
    /// A list of texts.
    List,
    /// A list of these.
    Choices(&'static [&'static str]),
    /// Texts under any names.
    Texts,
    /// True or false.
    Flag,
    /// Any values under any names.
    Values,
    Table(&'static [Key]),
}

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, about }
}

const fn time(range: RangeInclusive<Duration>) -> Kind {
    Kind::Time { range, none: false }
}

const fn limit(range: RangeInclusive<Duration>) -> Kind {
    Kind::Time { range, none: true }
}

const TIMEOUT_PROFILES: [&str; TimeoutProfile::ALL.len()] = {
    let mut names = [""; TimeoutProfile::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = TimeoutProfile::ALL[at].name();
        at += 1;
    }
    names
};

/// Keys of a document.
pub(crate) const ROOT: [&str; 2] = ["host", "pool"];

/// Keys of the table `host`.
pub(crate) static HOST: [Key; 8] = [
    key("instance", Kind::Text, "Name under which the commands find the host"),
    key("socket_dir", Kind::Text, "Directory of control sockets; the user's own"),
    key("control_socket", Kind::Text, "Where the control socket is: auto, off or a path"),
    key(
        "adopt_orphans",
        Kind::Flag,
        "Whether processes that workers leave behind come to the host, which collects them",
    ),
    key(
        "log",
        Kind::Choice(&LogLevel::NAMES),
        "From which level on `snakepit run` tells what happens",
    ),
    key("watch", Kind::Flag, "Whether `snakepit run` reads its file again when it has changed"),
    key("shutdown_timeout", time(GRACE), "For all to end when `snakepit run` is told to"),
    key("shm_total", Kind::Size(SHM_QUOTA), "Shared memory that all pools may have together"),
];

/// Keys of one pool's table.
pub(crate) static POOL: [Key; 36] = [
    key("profile", Kind::Choice(&Profile::NAMES), "How a worker turns into slots"),
    key("threads", Kind::Count(THREADS), "Calls a worker of profile thread runs at a time"),
    key("gil", Kind::Choice(&GilPolicy::NAMES), "What becomes of a thread worker whose GIL is on"),
    key(
        "strategy",
        Kind::Choice(&Strategy::NAMES),
        "Which thread worker with a free slot takes a call",
    ),
    key("start", Kind::Choice(&Start::NAMES), "How the processes of workers come to be"),
    key("workers", Kind::Count(WORKERS), "Workers at first"),
    key("min_workers", Kind::Count(WORKERS), "How few workers when there is nothing to do"),
    key("max_workers", Kind::Count(WORKERS), "How many workers when calls keep waiting"),
    key(
        "idle_timeout",
        time(PAUSES),
        "After how long without a call a worker above the least goes",
    ),
    key("adapter", Kind::Text, "What workers run: file.py, file.py:Class, module or module:Class"),
    key("adapter_args", Kind::Values, "Keyword arguments for the adapter's class"),
    key("python", Kind::Text, "Path or name of the interpreter"),
    key("worker_package", Kind::Text, "Directory with the worker package"),
    key("cwd", Kind::Text, "Directory the workers run in"),
    key("env", Kind::Texts, "Environment variables of the workers"),
    key(
        "prefetch",
        Kind::Count(PREFETCH),
        "Calls that wait in a worker for each slot; 0 is strict",
    ),
    key("queue", Kind::Count(QUEUE), "Calls that wait in the pool"),
    key("max_payload", Kind::Size(MAX_PAYLOAD), "Largest value either way"),
    key("heartbeat", time(HEARTBEAT), "Time between two signs of life of a worker"),
    key("health_interval", limit(PAUSES), "Time between two checks by the adapter's own health"),
    key("cancel_grace", time(GRACE), "How long a cancelled call may go on"),
    key(
        "stream_credit",
        Kind::Count(STREAM_CREDIT),
        "Chunks under way before the caller takes them",
    ),
    key(
        "max_tool_depth",
        Kind::Count(MAX_TOOL_DEPTH),
        "How deep calls may be nested in calls of the host's tools",
    ),
    key(
        "max_tool_calls",
        Kind::Count(MAX_TOOL_CALLS),
        "Calls of the host's tools that one worker may have under way",
    ),
    key("lifecycle", Kind::Table(&LIFECYCLE), "When a worker is replaced although it is well"),
    key("logs", Kind::Table(&LOGS), "What becomes of what workers print"),
    key("session", Kind::Table(&SESSION), "What is kept for sessions, and where their calls run"),
    key("shm", Kind::Table(&SHM), "How large arrays and byte buffers travel"),
    key("timeouts", Kind::Table(&TIMEOUTS), "How long each phase may take"),
    key("barrier", Kind::Table(&BARRIER), "Keeps calls that crash workers from doing so again"),
    key("shed", Kind::Table(&SHED), "Refuses calls that would wait too long"),
    key("rate_limit", Kind::Table(&RATE_LIMIT), "Refuses calls beyond a rate"),
    key("breaker", Kind::Table(&BREAKER), "Refuses calls after many have failed"),
    key("retry", Kind::Table(&RETRY), "Tries failed calls again"),
    key("hedge", Kind::Table(&HEDGE), "Gives slow calls a second attempt"),
    key("fallback", Kind::Table(&FALLBACK), "Asks another pool when this one cannot serve"),
];

/// Keys of a pool's `timeouts` table.
pub(crate) static TIMEOUTS: [Key; 6] = [
    key("profile", Kind::Choice(&TIMEOUT_PROFILES), "Where the limits start"),
    key("call", limit(TIMES), "From submission to the result"),
    key("stream_idle", limit(TIMES), "Between two chunks of a stream"),
    key("queue", limit(TIMES), "Waiting for a slot"),
    key("start", time(TIMES), "From launch to a worker's readiness"),
    key("drain", time(GRACE), "For calls in flight to end when the pool shuts down"),
];

/// Keys of a pool's `lifecycle` table.
pub(crate) static LIFECYCLE: [Key; 7] = [
    key("ttl", limit(TTL), "Greatest age of a worker"),
    key("max_requests", Kind::Count(MAX_REQUESTS), "Calls a worker serves at most"),
    key(
        "max_memory",
        Kind::Size(MAX_MEMORY),
        "Memory of a worker's own, in three readings in a row",
    ),
    key("idle", limit(PAUSES), "Time without a call, for a worker that has served some"),
    key("memory_interval", time(MEMORY_INTERVAL), "Time between two readings of memory"),
    key("jitter", Kind::Share(JITTER), "Share by which chance shortens a limit"),
    key("max_surge", Kind::Count(WORKERS), "Workers beside the pool's number during replacement"),
];

/// Keys of a pool's `logs` table.
pub(crate) static LOGS: [Key; 5] = [
    key("stdout", Kind::Choice(&LogLevel::NAMES), "Level of events of lines on standard output"),
    key("stderr", Kind::Choice(&LogLevel::NAMES), "Level of events of lines on standard error"),
    key(
        "lines_per_second",
        Kind::Count(LOG_LINES),
        "Lines a second that become events, for each stream of a worker",
    ),
    key("max_line", Kind::Size(LOG_LINE), "Bytes of a line, of which the rest is left out"),
    key(
        "tail",
        Kind::Count(LOG_TAIL),
        "Lines of standard error kept for the error of a worker that dies",
    ),
];

/// Keys of a pool's `barrier` table.
pub(crate) static BARRIER: [Key; 1] =
    [key("taint", time(TIMES), "How long a command that crashed a worker is kept from its seat")];

/// Keys of a pool's `shed` table.
pub(crate) static SHED: [Key; 2] = [
    key("queue", Kind::Count(QUEUE), "Calls in line from which on more are refused"),
    key("wait", time(TIMES), "Expected time in line above which calls are refused"),
];

/// Keys of a pool's `rate_limit` table.
pub(crate) static RATE_LIMIT: [Key; 3] = [
    key("calls", Kind::Count(RATES), "Calls in each `per`"),
    key("per", time(TIMES), "The time in which so many may come"),
    key("burst", Kind::Count(RATES), "Calls that may come at once; as many as `calls`"),
];

/// Keys of a pool's `breaker` table.
pub(crate) static BREAKER: [Key; 5] = [
    key("failures", Kind::Count(COUNTS), "Failures in a row that open a circuit"),
    key("open", time(TIMES), "How long it stays open"),
    key("probes", Kind::Count(COUNTS), "Calls that try it then, all of which must succeed"),
    key("per", Kind::Choice(CircuitPer::NAMES), "What has a circuit of its own"),
    key(
        "kinds",
        Kind::Choices(&ERROR_KINDS),
        "Errors that count; all that say something of the pool",
    ),
];

/// Keys of a pool's `retry` table.
pub(crate) static RETRY: [Key; 9] = [
    key("attempts", Kind::Count(COUNTS), "Attempts in all"),
    key("schedule", Kind::Choice(RetrySchedule::NAMES), "How pauses grow"),
    key("base", time(RETRY_TIMES), "The first pause"),
    key("cap", time(RETRY_TIMES), "The longest pause"),
    key("jitter", Kind::Share(RETRY_JITTER), "Share by which chance may shorten a pause"),
    key(
        "kinds",
        Kind::Choices(&ERROR_KINDS),
        "Errors that are tried again; those with that advice",
    ),
    key("exceptions", Kind::List, "Of Python exceptions only these types; all of them"),
    key("budget", Kind::Share(BUDGET), "Further attempts as a share of the calls"),
    key("calls", Kind::Choice(RetryCalls::NAMES), "Which calls are tried again"),
];

/// Keys of a pool's `hedge` table.
pub(crate) static HEDGE: [Key; 2] = [
    key("after", time(TIMES), "How long the first attempt may take before there is a second"),
    key("budget", Kind::Share(BUDGET), "Second attempts as a share of the calls"),
];

/// Keys of a pool's `fallback` table.
pub(crate) static FALLBACK: [Key; 2] = [
    key("pool", Kind::Text, "The pool that is asked"),
    key(
        "kinds",
        Kind::Choices(&ERROR_KINDS),
        "Errors that lead there; those of a pool that cannot serve",
    ),
];

/// The keys of one of a pool's tables.
pub(crate) fn table(name: &str) -> Option<&'static [Key]> {
    POOL.iter().find(|key| key.name == name).and_then(|key| match key.kind {
        Kind::Table(keys) => Some(keys),
        _ => None,
    })
}

/// Keys of a pool's `session` table.
pub(crate) static SESSION: [Key; 4] = [
    key(
        "affinity",
        Kind::Choice(&Affinity::NAMES),
        "How closely calls hold to the session's worker",
    ),
    key("ttl", limit(TTL), "Time without use after which a session ends"),
    key("quota", Kind::Count(SESSION_QUOTA), "Sessions there may be"),
    key("max_data", Kind::Size(SESSION_DATA), "What the values kept for all sessions may take"),
];

/// Keys of a pool's `shm` table.
pub(crate) static SHM: [Key; 3] = [
    key("mode", Kind::Choice(&SharedMemoryMode::NAMES), "Whether they go through shared memory"),
    key("threshold", Kind::Size(SHM_THRESHOLD), "From which size on they do"),
    key("quota", Kind::Size(SHM_QUOTA), "How much of it the pool may use at the same time"),
];

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
