//! One call as it travels from the caller to a worker, and what comes back. Plain data; how it is
//! scheduled belongs to the pool, how it is framed to the bridge.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::ids::{CallId, SessionId, WorkerId};
use crate::payload::Payload;
use crate::session::Affinity;
use crate::tool::{ToolCall, ToolCaller};

/// What a caller asks for; the pool gives it an id and a place.
#[derive(Clone)]
#[non_exhaustive]
pub struct Request {
    /// Name of the tool.
    pub command: Arc<str>,
    /// Its encoded arguments.
    pub arguments: Payload,
    /// Time until the call's deadline; `None` takes the pool's default.
    pub timeout: Option<Duration>,
    /// Time the call may wait for a slot; `None` takes the pool's default.
    pub queue_timeout: Option<Duration>,
    /// Session the call belongs to.
    pub session: Option<SessionId>,
    /// How closely it holds to the session's worker; `None` takes the pool's default.
    pub affinity: Option<Affinity>,
    /// Runs the call on this worker and no other.
    pub worker: Option<WorkerId>,
    /// Whether it does no harm to run it twice: only such calls are tried again, moved or hedged.
    pub idempotent: bool,
    /// W3C trace context handed to Python.
    pub traceparent: Option<Arc<str>>,
    /// Free key-value pairs, `context.metadata` in Python.
    pub metadata: Vec<(String, String)>,
    /// Told of each progress report, on Snakepit's I/O thread: it must be quick.
    pub on_progress: Option<ProgressHandler>,
    /// The call on whose behalf a tool of the host makes this one.
    pub caller: Option<Arc<ToolCaller>>,
}

/// Told how far a running call has come.
pub type ProgressHandler = Arc<dyn Fn(Progress) + Send + Sync>;

impl Request {
    /// A request with nothing but a command and its arguments.
    pub fn new(command: impl Into<Arc<str>>, arguments: Payload) -> Self {
        Self {
            command: command.into(),
            arguments,
            timeout: None,
            queue_timeout: None,
            session: None,
            affinity: None,
            worker: None,
            idempotent: false,
            traceparent: None,
            metadata: Vec::new(),
            on_progress: None,
            caller: None,
        }
    }

    /// How many tool calls deep the call is nested; 0 for one from outside.
    pub fn depth(&self) -> u32 {
        self.caller.as_ref().map_or(0, |caller| caller.depth() + 1)
    }
}

/// A call on its way to a worker.
pub struct Call {
    /// Its number.
    pub id: CallId,
    /// What was asked for.
    pub request: Request,
    /// How many chunks may come before the first grant; `None` for a call with one result.
    pub stream_credit: Option<u32>,
}

/// Everything a worker can say about a call.
#[derive(Debug)]
pub enum CallEvent {
    /// It ended with one value. Last event of a call.
    Finished {
        /// The value.
        value: Payload,
        /// Time spent in the tool.
        run_time: Duration,
    },
    /// It failed. Last event of a call.
    Failed {
        /// Why.
        error: Error,
        /// Time spent in the tool; `None` if it never started.
        run_time: Option<Duration>,
    },
    /// One item of a stream.
    Chunk(Payload),
    /// The stream is complete. Last event of a call.
    StreamEnded {
        /// Time spent in the tool.
        run_time: Duration,
    },
    /// How far it has come.
    Progress(Progress),
    /// It calls a tool of the host.
    ToolCalled(ToolCall),
    /// It no longer waits for a tool of the host.
    ToolDropped(u64),
    /// It never started here and may run elsewhere: revoked, or its worker died before its turn.
    /// Last event of a call at this worker.
    Returned,
}

/// How far a running call has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Units done.
    pub done: f64,
    /// Units in all, if known.
    pub total: Option<f64>,
    /// What is being done; may be empty.
    pub message: String,
}

/// Why a call is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// Its caller dropped it.
    Dropped,
    /// Its deadline passed.
    Deadline,
    /// The pool is shutting down.
    Shutdown,
}
