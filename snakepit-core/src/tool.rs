//! Tools of the host that Python calls during a call: what is asked, for whom, and who serves it.
//!
//! Plain data and one trait. When such calls begin, end and are given up is the pool's business; what
//! a tool is and where it runs belongs to whoever implements [`ToolHost`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::Request;
use crate::clock::Clock;
use crate::ids::{CallId, PoolName, SessionId, WorkerId};
use crate::payload::Payload;
use crate::pool::{ToolKey, ToolReply};
use crate::worker::Tool;

/// A tool of the host that a running tool calls, as its worker tells it.
#[derive(Debug)]
pub struct ToolCall {
    /// Names it for the life of the worker.
    pub id: u64,
    /// Name of the host's tool.
    pub name: String,
    /// Its encoded arguments.
    pub arguments: Payload,
    /// How long the worker waits; `None` as long as its call lasts.
    pub timeout: Option<Duration>,
}

/// Who serves the tools of a host, for one pool.
pub trait ToolHost: fmt::Debug + Send + Sync + 'static {
    /// What can be called. Called with the pool locked, so it must not come back to a pool.
    fn tools(&self) -> Vec<Tool>;

    /// Runs a tool. Called without any lock on the thread that serves the links: it must not block.
    fn run(&self, job: ToolJob);
}

/// One tool call to be served.
pub struct ToolJob {
    /// Name of the tool.
    pub name: String,
    /// Its encoded arguments.
    pub arguments: Payload,
    /// Who calls it.
    pub caller: Arc<ToolCaller>,
    /// Where its result goes.
    pub reply: ToolReply,
}

/// The running call that calls a tool, as the tool and the calls it makes itself see it.
#[derive(Debug)]
pub struct ToolCaller {
    pub(crate) key: ToolKey,
    pub(crate) clock: Clock,
    pub(crate) pool: PoolName,
    pub(crate) worker: WorkerId,
    pub(crate) call: CallId,
    pub(crate) command: Arc<str>,
    pub(crate) session: Option<SessionId>,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) traceparent: Option<Arc<str>>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) depth: u32,
}

impl ToolCaller {
    /// The call's pool.
    pub fn pool(&self) -> &PoolName {
        &self.pool
    }

    /// The worker that runs the call.
    pub fn worker(&self) -> &WorkerId {
        &self.worker
    }

    /// The call's number in its pool.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// The Python tool that is running.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The session the call belongs to.
    pub fn session(&self) -> Option<&SessionId> {
        self.session.as_ref()
    }

    /// The key-value pairs that came with the call.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// W3C trace context of the call.
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    /// Time left until the call's deadline; `None` if it has none.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|at| at.saturating_duration_since(self.clock.now()))
    }

    /// How many tool calls deep the call is nested; 0 for one from outside.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// A call made by the tool on behalf of its caller: it has its session, metadata, trace context
    /// and deadline, and is one deeper.
    pub fn nest(self: &Arc<Self>, command: impl Into<Arc<str>>, arguments: Payload) -> Request {
        let mut request = Request::new(command, arguments);
        request.session = self.session.clone();
        request.metadata = self.metadata.clone();
        request.traceparent = self.traceparent.clone();
        request.caller = Some(Arc::clone(self));
        request
    }
}
