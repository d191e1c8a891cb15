//! Calls inside the worker: their state and the queue they wait in.
//!
//! Owns what the link and the dispatch threads share about calls. Knows neither frames on the wire
//! nor Python objects, but for the class that shows a call to the running tool, and what
//! tools keep for a session.

mod current;
mod queue;
mod session;
mod state;
mod tools;

pub(crate) use current::{CurrentCall, LoopWake, ToolFuture};
pub(crate) use queue::{Cancelled, Next, Pending, Queue};
pub(crate) use session::Session;
pub(crate) use state::{CallState, StopReason};
pub(crate) use tools::{ToolAnswer, ToolCalls};
