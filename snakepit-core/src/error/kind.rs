//! What can go wrong, by name. Owns the kinds, their stable names, and the part of the system each
//! belongs to; how grave a kind is and what to do about it is `taxonomy`'s.

use super::{Category, Severity};

/// What went wrong, by name; [`code`](Self::code) is the name's stable text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong.
    InvalidConfig,
    /// There is no interpreter where one was named.
    InterpreterNotFound,
    /// The interpreter cannot run workers.
    InterpreterUnsupported,
    /// The interpreter has no worker package.
    WorkerPackageMissing,
    /// Host and worker package come from different releases.
    VersionMismatch,
    /// The adapter could not be imported or set up.
    AdapterFailed,
    /// A worker ended before it was ready, or could not be launched.
    StartFailed,
    /// The settings name no pool at all.
    NoPoolsConfigured,
    /// There is no pool of that name.
    PoolNotFound,
    /// There is a pool of that name already.
    PoolExists,
    /// The pool is being started, and takes no calls yet.
    PoolNotInitialized,
    /// The pool takes no calls any more.
    PoolClosed,
    /// The pool's queue is full.
    PoolSaturated,
    /// There is no worker of that id.
    WorkerNotFound,
    /// The named worker runs one call at a time, and has one.
    WorkerBusy,
    /// The named worker runs several calls at a time, and all its slots are taken.
    WorkerAtCapacity,
    /// The worker that a session is bound to is gone.
    SessionWorkerUnavailable,
    /// There are as many sessions, or values in them, as there may be.
    SessionQuotaExceeded,
    /// The circuit breaker lets no call through.
    CircuitOpen,
    /// The pool refuses calls that would wait too long.
    LoadShed,
    /// The pool's rate of calls is used up.
    RateLimited,
    /// Time ran out, in the named phase.
    Timeout(Phase),
    /// The call was cancelled.
    Cancelled,
    /// The worker died while it had the call.
    WorkerLost {
        /// Whether the tool had been entered, and may have had effects.
        maybe_executed: bool,
    },
    /// The adapter has no tool of that name.
    UnknownCommand,
    /// The arguments do not fit the tool.
    InvalidArguments,
    /// A value could not be encoded.
    EncodeFailed,
    /// Bytes could not be decoded.
    DecodeFailed,
    /// A payload is over the limit.
    PayloadTooLarge,
    /// A large value cannot go through shared memory, and the pool takes no other way.
    ShmUnavailable,
    /// A stream was asked of a tool that yields none.
    StreamingNotSupported,
    /// One value was asked of a tool that yields a stream.
    StreamingRequired,
    /// The tool raised an exception.
    Python,
    /// A tool of the host said that it failed.
    ToolFailed,
    /// A tool of the host panicked.
    ToolPanicked,
    /// The host has no tool of that name.
    ToolNotFound,
    /// The host has a tool of that name already.
    ToolExists,
    /// The worker has too many tool calls under way.
    ToolLimit,
    /// The call is nested too deep in tool calls.
    NestingTooDeep,
    /// The call would wait for slots whose calls wait for it.
    NestedDeadlock,
    /// The other side of a link broke the protocol.
    Protocol,
    /// The operating system refused something.
    System,
    /// A defect of Snakepit itself.
    Internal,
}

/// What a timeout was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A free slot.
    Queue,
    /// The call's result.
    Call,
    /// The next chunk of a stream.
    StreamIdle,
    /// A worker's readiness.
    Start,
    /// The end of calls in flight.
    Drain,
}

impl ErrorKind {
    /// The kind's stable name, for logs and JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid_config",
            Self::InterpreterNotFound => "interpreter_not_found",
            Self::InterpreterUnsupported => "interpreter_unsupported",
            Self::WorkerPackageMissing => "worker_package_missing",
            Self::VersionMismatch => "version_mismatch",
            Self::AdapterFailed => "adapter_failed",
            Self::StartFailed => "start_failed",
            Self::NoPoolsConfigured => "no_pools_configured",
            Self::PoolNotFound => "pool_not_found",
            Self::PoolExists => "pool_exists",
            Self::PoolNotInitialized => "pool_not_initialized",
            Self::PoolClosed => "pool_closed",
            Self::PoolSaturated => "pool_saturated",
            Self::WorkerNotFound => "worker_not_found",
            Self::WorkerBusy => "worker_busy",
            Self::WorkerAtCapacity => "worker_at_capacity",
            Self::SessionWorkerUnavailable => "session_worker_unavailable",
            Self::SessionQuotaExceeded => "session_quota_exceeded",
            Self::CircuitOpen => "circuit_open",
            Self::LoadShed => "load_shed",
            Self::RateLimited => "rate_limited",
            Self::Timeout(Phase::Queue) => "queue_timeout",
            Self::Timeout(Phase::Call) => "call_timeout",
            Self::Timeout(Phase::StreamIdle) => "stream_idle_timeout",
            Self::Timeout(Phase::Start) => "start_timeout",
            Self::Timeout(Phase::Drain) => "drain_timeout",
            Self::Cancelled => "cancelled",
            Self::WorkerLost { .. } => "worker_lost",
            Self::UnknownCommand => "unknown_command",
            Self::InvalidArguments => "invalid_arguments",
            Self::EncodeFailed => "encode_failed",
            Self::DecodeFailed => "decode_failed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::ShmUnavailable => "shm_unavailable",
            Self::StreamingNotSupported => "streaming_not_supported",
            Self::StreamingRequired => "streaming_required",
            Self::Python => "python",
            Self::ToolFailed => "tool_failed",
            Self::ToolPanicked => "tool_panicked",
            Self::ToolNotFound => "tool_not_found",
            Self::ToolExists => "tool_exists",
            Self::ToolLimit => "tool_limit",
            Self::NestingTooDeep => "nesting_too_deep",
            Self::NestedDeadlock => "nested_deadlock",
            Self::Protocol => "protocol",
            Self::System => "system",
            Self::Internal => "internal",
        }
    }

    /// The kind of that name; `None` if there is none, as when a later release has made it up.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Every kind; a new one goes here too.
    pub(super) const ALL: [Self; 47] = [
        Self::InvalidConfig,
        Self::InterpreterNotFound,
        Self::InterpreterUnsupported,
        Self::WorkerPackageMissing,
        Self::VersionMismatch,
        Self::AdapterFailed,
        Self::StartFailed,
        Self::NoPoolsConfigured,
        Self::PoolNotFound,
        Self::PoolExists,
        Self::PoolNotInitialized,
        Self::PoolClosed,
        Self::PoolSaturated,
        Self::WorkerNotFound,
        Self::WorkerBusy,
        Self::WorkerAtCapacity,
        Self::SessionWorkerUnavailable,
        Self::SessionQuotaExceeded,
        Self::CircuitOpen,
        Self::LoadShed,
        Self::RateLimited,
        Self::Timeout(Phase::Queue),
        Self::Timeout(Phase::Call),
        Self::Timeout(Phase::StreamIdle),
        Self::Timeout(Phase::Start),
        Self::Timeout(Phase::Drain),
        Self::Cancelled,
        Self::WorkerLost { maybe_executed: true },
        Self::UnknownCommand,
        Self::InvalidArguments,
        Self::EncodeFailed,
        Self::DecodeFailed,
        Self::PayloadTooLarge,
        Self::ShmUnavailable,
        Self::StreamingNotSupported,
        Self::StreamingRequired,
        Self::Python,
        Self::ToolFailed,
        Self::ToolPanicked,
        Self::ToolNotFound,
        Self::ToolExists,
        Self::ToolLimit,
        Self::NestingTooDeep,
        Self::NestedDeadlock,
        Self::Protocol,
        Self::System,
        Self::Internal,
    ];

    /// All kinds that there are, for tables and documents.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }

    /// The part of the system this kind belongs to.
    pub fn category(self) -> Category {
        match self {
            Self::InvalidConfig
            | Self::InterpreterNotFound
            | Self::InterpreterUnsupported
            | Self::WorkerPackageMissing
            | Self::VersionMismatch
            | Self::AdapterFailed
            | Self::StartFailed
            | Self::NoPoolsConfigured => Category::Initialization,
            Self::PoolNotFound
            | Self::PoolExists
            | Self::PoolClosed
            | Self::WorkerNotFound
            | Self::Cancelled => Category::Pool,
            Self::PoolSaturated
            | Self::WorkerBusy
            | Self::WorkerAtCapacity
            | Self::SessionQuotaExceeded
            | Self::CircuitOpen
            | Self::LoadShed
            | Self::RateLimited
            | Self::ToolLimit
            | Self::ShmUnavailable
            | Self::NestedDeadlock => Category::Resource,
            Self::SessionWorkerUnavailable => Category::Session,
            Self::Timeout(_) => Category::Timeout,
            Self::WorkerLost { .. } | Self::PoolNotInitialized => Category::Connection,
            Self::Protocol => Category::Communication,
            Self::UnknownCommand
            | Self::InvalidArguments
            | Self::EncodeFailed
            | Self::DecodeFailed
            | Self::PayloadTooLarge
            | Self::StreamingNotSupported
            | Self::StreamingRequired
            | Self::ToolNotFound
            | Self::ToolExists
            | Self::NestingTooDeep => Category::Validation,
            Self::Python => Category::Python,
            Self::System | Self::Internal | Self::ToolFailed | Self::ToolPanicked => {
                Category::System
            }
        }
    }

    /// How grave it is: its category's severity, but for what a healthy system does every day.
    pub fn severity(self) -> Severity {
        match self {
            Self::PoolSaturated
            | Self::CircuitOpen
            | Self::SessionQuotaExceeded
            | Self::NestedDeadlock
            | Self::ToolFailed
            | Self::ToolPanicked => Severity::Major,
            Self::WorkerBusy
            | Self::WorkerAtCapacity
            | Self::LoadShed
            | Self::RateLimited
            | Self::ToolLimit
            | Self::ShmUnavailable => Severity::Minor,
            Self::Cancelled => Severity::Warning,
            other => other.category().severity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind), "{}", kind.code());
        }
        assert_eq!(ErrorKind::from_code("nonsense"), None);
    }
}
