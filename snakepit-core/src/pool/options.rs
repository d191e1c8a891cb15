//! What a pool is told when it is made.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::nesting::Nesting;
use crate::ids::PoolName;
use crate::session::{Affinity, SessionOptions};
use crate::tool::ToolHost;

/// Which of several workers with a free slot takes a call. Workers of one slot are taken in the order
/// in which they came, either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// The least busy one for its size.
    #[default]
    Spread,
    /// The busiest one: a worker that serves is filled before the next one is used, so that as few as
    /// possible are warm and the others stay idle.
    Fill,
}

/// Settings of a pool's scheduling.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Name of the pool.
    pub name: PoolName,
    /// Calls that may wait for a slot.
    pub queue_limit: usize,
    /// Calls that may be handed to a worker ahead of time; 0 never does.
    pub prefetch: usize,
    /// Which worker takes a call that any could take.
    pub strategy: Strategy,
    /// Deadline of a call that names none; `None` sets none.
    pub call_timeout: Option<Duration>,
    /// How long a call that does not say waits for a slot; `None` waits for ever.
    pub queue_timeout: Option<Duration>,
    /// Longest time between two items of a stream; `None` sets no limit.
    pub stream_idle_timeout: Option<Duration>,
    /// How long a call past its deadline may ignore that before its worker is ended.
    pub cancel_grace: Duration,
    /// Items of a stream that may be under way or unread.
    pub stream_credit: u32,
    /// Largest encoded arguments, in bytes.
    pub max_payload_bytes: u64,
    /// For how long a command that has crashed a worker is kept from that worker's seat, and whether
    /// calls lost that way are moved elsewhere at all; `None` has no crash barrier.
    pub barrier: Option<Duration>,
    /// How closely calls of a session hold to its worker, unless they say otherwise.
    pub affinity: Affinity,
    /// Limits of what is kept for sessions.
    pub sessions: SessionOptions,
    /// Notified when a call that is alone in the pool is sent to its worker, and when it ends: the
    /// moments in which whoever serves the links does well to stay awake for the next event.
    pub lone_call: Option<Arc<Notify>>,
    /// Who serves the tools that running calls may call; `None` if there are none.
    pub tool_host: Option<Arc<dyn ToolHost>>,
    /// How many tool calls deep a call may be nested; 0 allows none to be.
    pub max_tool_depth: u32,
    /// Tool calls that one worker may have under way.
    pub max_tool_calls: usize,
    /// What calls wait for that are nested in others; all pools that call each other share one.
    pub nesting: Nesting,
}

impl PoolOptions {
    /// The defaults: the original's `balanced` timeouts (300 s a call, 900 s between items, 10 s in
    /// line) and its queue of 1024.
    pub fn new(name: impl Into<PoolName>) -> Self {
        Self {
            name: name.into(),
            queue_limit: 1024,
            prefetch: 8,
            strategy: Strategy::default(),
            call_timeout: Some(Duration::from_secs(300)),
            queue_timeout: Some(Duration::from_secs(10)),
            stream_idle_timeout: Some(Duration::from_secs(900)),
            cancel_grace: Duration::from_secs(2),
            stream_credit: 16,
            max_payload_bytes: 1 << 30,
            barrier: None,
            affinity: Affinity::default(),
            sessions: SessionOptions::new(),
            lone_call: None,
            tool_host: None,
            max_tool_depth: 8,
            max_tool_calls: 64,
            nesting: Nesting::default(),
        }
    }
}
