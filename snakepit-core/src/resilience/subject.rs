//! What layers know of a call, and of the errors that it ends with.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::Request;
use crate::error::{Category, Error, ErrorKind, Phase};
use crate::ids::PoolName;

/// What layers know of a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subject {
    /// The pool it goes to.
    pub pool: PoolName,
    /// Its command.
    pub command: Arc<str>,
    /// Whether it does no harm to run it twice.
    pub idempotent: bool,
    /// The one deadline of all its attempts.
    pub deadline: Option<Instant>,
}

impl Subject {
    /// Facts about a call that is not idempotent and has no deadline.
    pub fn new(pool: impl Into<PoolName>, command: impl Into<Arc<str>>) -> Self {
        Self { pool: pool.into(), command: command.into(), idempotent: false, deadline: None }
    }

    /// Facts about a request that is made now; `default` is the deadline of one that names none.
    pub fn of(pool: &PoolName, request: &Request, default: Option<Duration>, now: Instant) -> Self {
        Self {
            pool: pool.clone(),
            command: Arc::clone(&request.command),
            idempotent: request.idempotent,
            deadline: request.timeout.or(default).map(|limit| now + limit),
        }
    }

    /// Whether its deadline has passed at `time`.
    pub fn is_over_at(&self, time: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= time)
    }

    /// Time left until its deadline; `None` if it has none.
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }
}

/// The kinds of errors that a layer acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(Vec<&'static str>);

impl Kinds {
    /// Whether an error of this kind is one of them.
    pub fn contain(&self, kind: ErrorKind) -> bool {
        self.0.contains(&kind.code())
    }
}

impl FromIterator<ErrorKind> for Kinds {
    fn from_iter<I: IntoIterator<Item = ErrorKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().map(ErrorKind::code).collect())
    }
}

/// Whether another layer has refused the call.
pub(super) fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::CircuitOpen | ErrorKind::LoadShed | ErrorKind::RateLimited)
}

/// Whether the call has certainly not run, so that it can run elsewhere whatever it does.
pub(super) fn never_ran(kind: ErrorKind) -> bool {
    is_refusal(kind)
        || kind.category() == Category::Initialization
        || matches!(
            kind,
            ErrorKind::PoolClosed
                | ErrorKind::PoolSaturated
                | ErrorKind::Timeout(Phase::Queue)
                | ErrorKind::WorkerLost { maybe_executed: false }
        )
}

/// Whether it is the caller's own doing, or says nothing about how the pool is.
pub(super) fn is_callers_own(error: &Error) -> bool {
    let kind = error.kind();
    is_refusal(kind)
        || kind.category() == Category::Validation
        || matches!(
            kind,
            ErrorKind::Cancelled
                | ErrorKind::PoolNotFound
                | ErrorKind::PoolClosed
                // A full queue refuses as a layer does, a batch's own calls among them.
                | ErrorKind::PoolSaturated
                | ErrorKind::WorkerNotFound
                | ErrorKind::WorkerBusy
                | ErrorKind::WorkerAtCapacity
        )
}
