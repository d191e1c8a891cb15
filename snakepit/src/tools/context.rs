//! What a running tool knows of its caller, and the calls it makes on its behalf.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use snakepit_core::{CallId, Codec, Error, Payload, PoolName, SessionId, ToolCaller, WorkerId};

use super::fit::Fit;
use crate::call::Call;
use crate::host::Snakepit;

/// The call that calls a tool.
///
/// Calls made with [`execute`](Self::execute) and [`call`](Self::call) are nested in it: they have its
/// session, metadata and trace context, end at its deadline at the latest, and come first in line. What
/// they may lead to has limits: `max_tool_depth` of the pool says how deep they may be nested, and one
/// that would wait for slots whose calls wait for it is refused with `NestedDeadlock`.
#[derive(Clone)]
pub struct ToolContext {
    snakepit: Snakepit,
    caller: Arc<ToolCaller>,
    tool: Arc<str>,
    fit: Arc<Fit>,
}

impl ToolContext {
    pub(super) fn new(
        snakepit: Snakepit,
        caller: Arc<ToolCaller>,
        tool: Arc<str>,
        fit: Arc<Fit>,
    ) -> Self {
        Self { snakepit, caller, tool, fit }
    }

    /// Calls a Python tool in the caller's pool, as part of the caller's call.
    ///
    /// # Errors
    /// As [`Call::execute`]; `NestingTooDeep` and `NestedDeadlock`, too.
    ///
    /// # Cancel safety
    /// As [`Call::execute`].
    pub async fn execute<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<T, Error> {
        self.call(command).args(arguments).execute().await
    }

    /// Starts a call that says more than command and arguments; it goes to the caller's pool unless it
    /// names another.
    pub fn call(&self, command: impl Into<Arc<str>>) -> Call {
        Call::nested(self.snakepit.clone(), &self.caller, command.into())
    }

    /// What the tool gives, for the worker that called it.
    pub(super) fn encode(&self, value: &impl Serialize) -> Result<Payload, Error> {
        let entry = self.snakepit.entry(Some(self.caller.pool().as_str())).ok();
        let store = entry.and_then(|entry| entry.store());
        Payload::encode_with(Codec::MsgPack, value, store.as_ref())
    }

    /// The name the tool was called by.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The pool of the call.
    pub fn pool(&self) -> &PoolName {
        self.caller.pool()
    }

    /// The worker that runs it.
    pub fn worker(&self) -> &WorkerId {
        self.caller.worker()
    }

    /// Its number in the pool.
    pub fn call_id(&self) -> CallId {
        self.caller.call()
    }

    /// The Python tool that is running.
    pub fn command(&self) -> &str {
        self.caller.command()
    }

    /// The session it belongs to.
    pub fn session(&self) -> Option<&SessionId> {
        self.caller.session()
    }

    /// A value of its metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let found = self.caller.metadata().iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Its W3C trace context.
    pub fn traceparent(&self) -> Option<&str> {
        self.caller.traceparent()
    }

    /// Time left until its deadline; `None` if it has none.
    pub fn remaining(&self) -> Option<Duration> {
        self.caller.remaining()
    }

    /// How many tool calls deep it is nested; 0 for one from outside.
    pub fn depth(&self) -> u32 {
        self.caller.depth()
    }

    pub(super) fn fit(&self) -> Arc<Fit> {
        Arc::clone(&self.fit)
    }
}

impl fmt::Debug for ToolContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolContext")
            .field("tool", &self.tool)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}
