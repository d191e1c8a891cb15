//! Calls of the host's tools by calls that run: when they begin, end, and are given up.
//!
//! Owns the steps of a turn that concern them. A tool runs elsewhere; what comes back here is its
//! result, through a [`ToolReply`]. Invariants: a tool call belongs to a call that runs, and ends with
//! it; one whose call was told to stop is given up in the same turn; a worker inside a tool call holds
//! nothing that it has not started for longer than it takes to give it back.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::answers::Answer;
use super::nesting::ToolKey;
use super::state::{Caller, Stage};
use super::turn::Turn;
use super::{Pool, Shared};
use crate::error::{Error, ErrorKind};
use crate::ids::CallId;
use crate::payload::Payload;
use crate::tool::{ToolCall, ToolCaller, ToolHost, ToolJob};

/// A tool call that is under way.
pub(super) struct OpenTool {
    /// Its number at the worker.
    pub(super) id: u64,
    pub(super) key: ToolKey,
    /// Dropped when nobody waits for the tool any more.
    _waits: oneshot::Sender<()>,
}

/// Where the result of one tool call goes.
///
/// Dropping it without a result fails the tool call, so that no Python code waits for ever.
#[must_use = "dropping it fails the tool call"]
pub struct ToolReply {
    /// Gone once told.
    shared: Option<Arc<Shared>>,
    member: u64,
    call: CallId,
    id: u64,
    given_up: oneshot::Receiver<()>,
}

impl ToolReply {
    /// Resolves when nobody waits for the result any more: the call has ended, was cancelled or has
    /// run out of time.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn given_up(&mut self) {
        // The sender is never used: it says what it has to say by being dropped.
        let _ = (&mut self.given_up).await;
    }

    /// Tells the result. Without effect when nobody waits for it any more.
    pub fn finish(mut self, result: Result<Payload, Error>) {
        self.tell(result);
    }

    fn tell(&mut self, result: Result<Payload, Error>) {
        let Some(shared) = self.shared.take() else { return };
        let mut turn = Turn::new(&shared);
        turn.tool_ended(self.member, self.call, self.id, result);
        turn.pump();
        turn.end();
    }
}

impl Drop for ToolReply {
    fn drop(&mut self) {
        if self.shared.is_some() {
            let message = "the tool ended without a result: its runtime has been shut down";
            self.tell(Err(Error::new(ErrorKind::Internal, message)));
        }
    }
}

impl Pool {
    /// Tells every worker what its calls may call, because that has changed.
    pub fn refresh_tools(&self) {
        let mut turn = Turn::new(&self.0);
        let members: Vec<u64> = turn.state.members.keys().copied().collect();
        for member in members {
            turn.offer_tools(member);
        }
        turn.end();
    }

    /// Says how many workers the pool has or may get by itself: while there are fewer, a call that
    /// waits for a slot can still get one.
    pub fn expect_workers(&self, workers: usize) {
        let mut turn = Turn::new(&self.0);
        turn.state.nest.expect_workers(workers);
        turn.check_nesting();
        turn.end();
    }
}

impl Turn<'_> {
    /// Tells a member what its calls may call.
    pub(super) fn offer_tools(&mut self, member: u64) {
        let Some(host) = &self.options().tool_host else { return };
        let Some(member) = self.state.members.get(&member) else { return };
        let worker = Arc::clone(&member.worker);
        worker.offer_tools(&host.tools());
        self.flush(&worker);
    }

    /// A running call calls a tool.
    pub(super) fn tool_called(&mut self, key: u64, call: CallId, asked: ToolCall) {
        self.state.counters.tool_calls += 1;
        let id = asked.id;
        match self.open_tool(key, call, asked) {
            Ok((host, job)) => {
                if self.state.members.get(&key).is_some_and(|member| member.open_tools == 1) {
                    // It may be long in there.
                    self.revoke(key, usize::MAX);
                }
                self.start_tool(host, job);
            }
            Err(error) => self.answer_tool(key, call, id, Err(error)),
        }
    }

    /// Notes a tool call, unless it cannot be, and makes of it what the host is asked to do.
    fn open_tool(
        &mut self,
        key: u64,
        call: CallId,
        asked: ToolCall,
    ) -> Result<(Arc<dyn ToolHost>, ToolJob), Error> {
        let host = self.options().tool_host.clone().ok_or_else(no_tools)?;
        let limit = self.options().max_tool_calls;
        let (pool, clock, shared) = (self.options().name.clone(), self.clock(), self.shared());
        let state = &mut *self.state;
        let (Some(record), Some(member)) =
            (state.calls.get_mut(&call), state.members.get_mut(&key))
        else {
            return Err(call_over());
        };
        let is_told = matches!(&record.stage, Stage::Assigned(a) if a.expired);
        if is_told || matches!(record.caller, Caller::Gone) {
            return Err(call_over());
        }
        if member.open_tools >= limit {
            return Err(too_many(limit));
        }
        let tool = state.nest.enter_tool(call, key);
        let (waits, given_up) = oneshot::channel();
        record.tools.push(OpenTool { id: asked.id, key: tool, _waits: waits });
        member.open_tools += 1;
        state.in_tools += 1;
        let request = &record.call.request;
        let asked_until = asked.timeout.map(|left| self.now + left);
        let caller = ToolCaller {
            key: tool,
            clock,
            pool,
            worker: member.id().clone(),
            call,
            command: Arc::clone(&request.command),
            session: request.session.clone(),
            metadata: request.metadata.clone(),
            traceparent: request.traceparent.clone(),
            deadline: record.deadline.into_iter().chain(asked_until).min(),
            depth: request.depth(),
        };
        let reply = ToolReply { shared: Some(shared), member: key, call, id: asked.id, given_up };
        let ToolCall { name, arguments, .. } = asked;
        Ok((host, ToolJob { name, arguments, caller: Arc::new(caller), reply }))
    }

    /// A tool call has its result.
    fn tool_ended(&mut self, key: u64, call: CallId, id: u64, result: Result<Payload, Error>) {
        if !self.is_at(call, key) {
            // The call was moved away from the worker that asked.
            return;
        }
        let state = &mut *self.state;
        let Some(record) = state.calls.get_mut(&call) else { return };
        let Some(position) = record.tools.iter().position(|tool| tool.id == id) else { return };
        let tool = record.tools.swap_remove(position);
        state.leave_tools(key, [&tool]);
        self.check_nesting();
        self.answer_tool(key, call, id, result);
    }

    /// The worker says that nobody waits for a tool call any more.
    pub(super) fn tool_dropped(&mut self, key: u64, call: CallId, id: u64) {
        self.give_up_tools(key, call, |tool| tool.id == id);
    }

    /// Gives up the tool calls of a call that was told to stop.
    pub(super) fn stop_tools(&mut self, key: u64, call: CallId) {
        self.give_up_tools(key, call, |_| true);
    }

    fn give_up_tools(&mut self, key: u64, call: CallId, which: impl Fn(&OpenTool) -> bool) {
        let state = &mut *self.state;
        let Some(record) = state.calls.get_mut(&call).filter(|record| !record.tools.is_empty())
        else {
            return;
        };
        let tools = std::mem::take(&mut record.tools);
        let (over, left): (Vec<_>, Vec<_>) = tools.into_iter().partition(which);
        record.tools = left;
        state.leave_tools(key, &over);
        self.check_nesting();
        self.give_up(over);
    }

    /// A nested call was given back and stands in line again.
    pub(super) fn nested_again(&mut self, call: CallId) {
        let state = &mut *self.state;
        let caller = state.calls.get(&call).and_then(|record| record.call.request.caller.clone());
        if let Some(caller) = caller {
            state.nest.call_nested(call, caller.key);
            self.note_nested(call);
        }
    }

    /// Has the graph know where a call stands in line, if it is a nested one.
    pub(super) fn note_nested(&mut self, call: CallId) {
        let record = self.state.calls.get(&call);
        if let Some(record) = record.filter(|record| record.call.request.caller.is_some()) {
            self.state.nest.call_queued(call, record.spot.member);
            self.check_nesting();
        }
    }

    /// Answers a tool call that is not open, or no longer.
    fn answer_tool(&mut self, key: u64, call: CallId, id: u64, result: Result<Payload, Error>) {
        self.state.counters.tool_errors += u64::from(result.is_err());
        if let Some(member) = self.state.members.get(&key) {
            let worker = Arc::clone(&member.worker);
            worker.answer_tool(call, id, result);
            self.flush(&worker);
        }
    }
}

impl Shared {
    /// Refuses a call in line that waits for itself, if it still does.
    pub(super) fn refuse_blocked(self: &Arc<Self>, call: CallId) {
        let mut turn = Turn::new(self);
        let is_blocked = turn.state.nest.is_blocked(call);
        if is_blocked && let Some(record) = turn.state.remove(call) {
            let error = deadlock(&turn, record.call.request.depth());
            tracing::warn!(
                pool = %turn.options().name,
                call = %call,
                command = %record.call.request.command,
                "{error}"
            );
            turn.state.counters.failed += 1;
            turn.state.counters.deadlocks += 1;
            turn.retire(record, Some(Answer::Error(error)));
        }
        // Whoever refuses looks for others by himself.
        turn.end_unchecked();
    }
}

fn deadlock(turn: &Turn<'_>, depth: u32) -> Error {
    let pool = &turn.options().name;
    Error::new(
        ErrorKind::NestedDeadlock,
        format!("every slot of pool `{pool}` is held by a call that waits for this one, or for others like it"),
    )
    .with_help("give the pool more workers or threads, or run nested calls in a pool of their own")
    .with_detail("pool", pool.as_str())
    .with_detail("depth", depth.to_string())
}

/// A call is nested deeper than its pool allows.
pub(super) fn too_deep(depth: u32, limit: u32) -> Error {
    Error::new(
        ErrorKind::NestingTooDeep,
        format!("the call is nested {depth} tool calls deep, and the limit is {limit}"),
    )
    .with_help(
        "look for tools that call each other without end, or raise the pool's `max_tool_depth`",
    )
    .with_detail("depth", depth.to_string())
    .with_detail("limit", limit.to_string())
}

fn no_tools() -> Error {
    Error::new(ErrorKind::ToolNotFound, "the host has no tools")
        .with_help("register one where the pools are started")
}

fn call_over() -> Error {
    Error::new(ErrorKind::Cancelled, "the call has ended or was told to")
}

fn too_many(limit: usize) -> Error {
    Error::new(
        ErrorKind::ToolLimit,
        format!("the worker has {limit} tool calls under way, its limit"),
    )
    .with_help("wait for some before making more, or raise the pool's `max_tool_calls`")
    .with_detail("limit", limit.to_string())
}
