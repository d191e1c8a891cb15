//! What nested calls wait for, across all pools that call each other: whether a call can still get a
//! slot, or waits for slots that are held by calls which wait for it.
//!
//! A call inside tool calls goes on when any of them ends; a tool goes on when any of the calls it has
//! made ends; a call in line goes on when any slot of its pool is free. So a call is *blocked* only if
//! every one of its alternatives is: all of its tool calls, all of the calls those have made, the
//! holders of all the slots it could get. The blocked calls are the greatest set for which that holds.
//! A wait for several things at the same time looks like a wait for the first of them until the others
//! are done; then it is seen for what it is, because every end is looked at again.
//!
//! Owns the graph of these waits, under one lock of its own that is taken with a pool's lock held, never
//! the other way round. Calls that neither are nested nor call tools are not in it and cost nothing.
//! Invariant: a pool that has or expects a worker with a slot that no blocked call holds blocks nobody.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::Shared;
use crate::ids::CallId;
use crate::slots::Slots;

/// What calls of several pools wait for. Clones are handles to the same; a host's pools share one.
#[derive(Clone, Default)]
pub struct Nesting(Arc<Inner>);

#[derive(Default)]
struct Inner {
    graph: Mutex<Graph>,
    /// Nested calls in line, readable without the lock.
    waiting: AtomicUsize,
}

/// Names one tool call in a [`Nesting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToolKey(u64);

/// A pool in the graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct PoolKey(u64);

type CallKey = (PoolKey, CallId);

#[derive(Default)]
struct Graph {
    pools: FxHashMap<PoolKey, PoolNode>,
    calls: FxHashMap<CallKey, CallNode>,
    tools: FxHashMap<ToolKey, ToolNode>,
    last_pool: u64,
    last_tool: u64,
    /// Counts calls that line up, so that the newest is known.
    last_turn: u64,
}

struct PoolNode {
    shared: Weak<Shared>,
    /// Workers it has or may get by itself.
    expected: usize,
    /// Workers that take calls.
    members: FxHashMap<u64, Arc<dyn Slots>>,
}

#[derive(Default)]
struct CallNode {
    /// The worker whose slot it holds, where that matters: of a call inside tool calls.
    member: u64,
    /// Its turn in line, if it is there.
    queued: Option<u64>,
    /// The worker whose slots alone will do, if there is one: its session is bound to that.
    bound: Option<u64>,
    /// Tool calls it is inside of.
    tools: SmallVec<[ToolKey; 1]>,
    /// The tool call it was made in, while that lasts.
    parent: Option<ToolKey>,
}

struct ToolNode {
    caller: CallKey,
    /// Nested calls it has made that have not ended.
    calls: SmallVec<[CallKey; 1]>,
}

impl Nesting {
    /// A call that waits for itself, with its pool; the newest one if there are several.
    fn victim(&self) -> Option<(Arc<Shared>, CallId)> {
        let graph = self.lock();
        let blocked = graph.blocked();
        let queued = blocked.iter().filter_map(|key| Some((graph.calls[key].queued?, *key)));
        let (_, (pool, call)) = queued.max_by_key(|(turn, _)| *turn)?;
        Some((graph.pools.get(&pool)?.shared.upgrade()?, call))
    }

    /// Refuses calls that wait for themselves until there is none. To be called without any pool's
    /// lock.
    pub(super) fn resolve(&self) {
        // Each look refuses a call or finds that it has moved meanwhile.
        while self.0.waiting.load(Ordering::Relaxed) > 0
            && let Some((shared, call)) = self.victim()
        {
            shared.refuse_blocked(call);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Graph> {
        self.0.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Nesting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nesting").finish_non_exhaustive()
    }
}

/// One pool's part of a [`Nesting`]. All of its functions are called with the pool locked.
#[derive(Default)]
pub(super) struct Nest {
    nesting: Nesting,
    pool: PoolKey,
}

impl Nest {
    pub(super) fn new(nesting: Nesting, shared: Weak<Shared>) -> Self {
        let mut graph = nesting.lock();
        graph.last_pool += 1;
        let pool = PoolKey(graph.last_pool);
        let node = PoolNode { shared, expected: 0, members: FxHashMap::default() };
        graph.pools.insert(pool, node);
        drop(graph);
        Self { nesting, pool }
    }

    /// Whether anything may have become blocked by what has happened.
    pub(super) fn is_anybody_waiting(&self) -> bool {
        self.nesting.0.waiting.load(Ordering::Relaxed) > 0
    }

    pub(super) fn expect_workers(&self, workers: usize) {
        self.pool_node(|pool| pool.expected = workers);
    }

    pub(super) fn member_joined(&self, member: u64, slots: Arc<dyn Slots>) {
        self.pool_node(|pool| pool.members.insert(member, slots));
    }

    /// The member takes no calls any more.
    pub(super) fn member_shut(&self, member: u64) {
        self.pool_node(|pool| pool.members.remove(&member));
    }

    /// A call begins a tool call.
    pub(super) fn enter_tool(&self, call: CallId, member: u64) -> ToolKey {
        let mut graph = self.nesting.lock();
        graph.last_tool += 1;
        let tool = ToolKey(graph.last_tool);
        let caller = (self.pool, call);
        graph.tools.insert(tool, ToolNode { caller, calls: SmallVec::new() });
        let node = graph.calls.entry(caller).or_default();
        node.member = member;
        node.tools.push(tool);
        tool
    }

    /// A tool call has ended, or nobody waits for it any more.
    pub(super) fn leave_tool(&self, tool: ToolKey) {
        let mut graph = self.nesting.lock();
        let Some(node) = graph.tools.remove(&tool) else { return };
        for nested in node.calls {
            if let Some(nested) = graph.calls.get_mut(&nested) {
                nested.parent = None;
            }
        }
        if let Some(caller) = graph.calls.get_mut(&node.caller) {
            caller.tools.retain(|other| *other != tool);
            if caller.tools.is_empty() && caller.parent.is_none() && caller.queued.is_none() {
                graph.calls.remove(&node.caller);
            }
        }
    }

    /// Whether somebody waits for a tool call.
    pub(super) fn is_open(&self, tool: ToolKey) -> bool {
        self.nesting.lock().tools.contains_key(&tool)
    }

    /// A call was made in a tool call.
    pub(super) fn call_nested(&self, call: CallId, parent: ToolKey) {
        let mut graph = self.nesting.lock();
        let key = (self.pool, call);
        // Of a tool call that has ended nobody waits for what it goes on doing.
        let parent = graph.tools.get_mut(&parent).map(|tool| {
            tool.calls.push(key);
            parent
        });
        graph.calls.insert(key, CallNode { parent, ..CallNode::default() });
    }

    /// A nested call stands in line, for a slot of that member if it is held to one.
    pub(super) fn call_queued(&self, call: CallId, bound: Option<u64>) {
        let mut graph = self.nesting.lock();
        graph.last_turn += 1;
        let turn = graph.last_turn;
        let node = graph.calls.entry((self.pool, call)).or_default();
        node.bound = bound;
        if node.queued.replace(turn).is_none() {
            self.nesting.0.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A nested call was handed to a worker.
    pub(super) fn call_started(&self, call: CallId) {
        if let Some(node) = self.nesting.lock().calls.get_mut(&(self.pool, call)) {
            self.take_from_line(node);
        }
    }

    /// A nested call has ended; its tool calls are left already.
    pub(super) fn call_ended(&self, call: CallId) {
        let mut graph = self.nesting.lock();
        let key = (self.pool, call);
        let Some(mut node) = graph.calls.remove(&key) else { return };
        self.take_from_line(&mut node);
        if let Some(tool) = node.parent.and_then(|parent| graph.tools.get_mut(&parent)) {
            tool.calls.retain(|other| *other != key);
        }
    }

    /// Whether a call in line waits for itself.
    pub(super) fn is_blocked(&self, call: CallId) -> bool {
        self.nesting.lock().blocked().contains(&(self.pool, call))
    }

    fn take_from_line(&self, node: &mut CallNode) {
        if node.queued.take().is_some() {
            self.nesting.0.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn pool_node<T>(&self, change: impl FnOnce(&mut PoolNode) -> T) {
        // There is none for a state that belongs to no pool yet.
        let _ = self.nesting.lock().pools.get_mut(&self.pool).map(change);
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        self.nesting.lock().pools.remove(&self.pool);
    }
}

impl Graph {
    /// The calls that cannot go on unless somebody gives up.
    fn blocked(&self) -> FxHashSet<CallKey> {
        let may_be = |node: &CallNode| node.queued.is_some() || !node.tools.is_empty();
        let calls = self.calls.iter().filter(|(_, node)| may_be(node));
        let mut blocked: FxHashSet<CallKey> = calls.map(|(key, _)| *key).collect();
        loop {
            let held = self.slots_held_by(&blocked);
            let is_stuck = |key: &CallKey| {
                let node = &self.calls[key];
                if node.queued.is_some() {
                    let pool = self.pools.get(&key.0);
                    return pool.is_some_and(|pool| match node.bound {
                        Some(member) => pool.is_member_held(key.0, member, &held),
                        None => pool.is_held(key.0, &held),
                    });
                }
                let is_stuck = |tool: &ToolKey| {
                    let calls = &self.tools[tool].calls;
                    !calls.is_empty() && calls.iter().all(|call| blocked.contains(call))
                };
                node.tools.iter().all(is_stuck)
            };
            let stuck: FxHashSet<CallKey> = blocked.iter().copied().filter(is_stuck).collect();
            if stuck.len() == blocked.len() {
                return blocked;
            }
            blocked = stuck;
        }
    }

    /// How many slots of each worker these calls hold.
    fn slots_held_by(&self, calls: &FxHashSet<CallKey>) -> FxHashMap<(PoolKey, u64), usize> {
        let mut held = FxHashMap::default();
        for key in calls {
            let node = &self.calls[key];
            if !node.tools.is_empty() {
                *held.entry((key.0, node.member)).or_default() += 1;
            }
        }
        held
    }
}

impl PoolNode {
    /// Whether every slot that there is or may be is among the held ones.
    fn is_held(&self, key: PoolKey, held: &FxHashMap<(PoolKey, u64), usize>) -> bool {
        !self.members.is_empty()
            && self.members.len() >= self.expected
            && self.members.keys().all(|member| self.is_member_held(key, *member, held))
    }

    /// Whether every slot of a member is among the held ones.
    fn is_member_held(
        &self,
        key: PoolKey,
        member: u64,
        held: &FxHashMap<(PoolKey, u64), usize>,
    ) -> bool {
        self.members
            .get(&member)
            .is_some_and(|slots| held.get(&(key, member)).copied().unwrap_or(0) >= slots.capacity())
    }
}
