//! The pool engine: one line of calls in front of a set of workers.
//!
//! Owns membership, queue, deadlines and the fate of every call. It starts and stops no worker and
//! knows no wire. All scheduling state sits behind one short lock; a lock-free scheduler would not
//! be faster at the rates a Python worker allows and could not be understood.

mod affinity;
mod answers;
mod barrier;
mod caller;
mod events;
mod load;
mod loan;
mod nesting;
mod options;
mod prefetch;
mod queue;
mod retire;
mod sessions;
mod state;
mod stats;
#[cfg(test)]
mod tests;
mod timer;
mod tools;
mod turn;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

use self::answers::Answers;
use self::caller::StreamBuffer;
pub use self::caller::{CallHandle, CallStream, Completed};
pub use self::load::{Backlog, WorkerLoad};
pub use self::loan::Loan;
use self::nesting::Nest;
pub use self::nesting::Nesting;
pub(crate) use self::nesting::ToolKey;
pub use self::options::{PoolOptions, Strategy};
use self::state::{Caller, Member, State};
pub use self::stats::{Counters, PoolStats, WorkerStatus};
pub use self::tools::ToolReply;
use self::turn::{Turn, closed};
use crate::call::Request;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::ids::{CallId, PoolName, WorkerId};
use crate::worker::Worker;

/// A pool of workers behind one queue. Clones are handles to the same pool.
///
/// Calls can be submitted from any thread and awaited on any executor. When the last handle is
/// gone, calls in line or at a worker still end; nothing new can come.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    name: PoolName,
    /// As last changed. A turn goes by those it began with.
    options: ArcSwap<PoolOptions>,
    lone_call: Option<Arc<Notify>>,
    nesting: Nesting,
    clock: Clock,
    state: Mutex<State>,
    /// Tells the timer task that something is due earlier than it thinks.
    timer: Arc<Notify>,
    answers: Arc<Answers>,
    /// Whether the pool is sealed and empty.
    drained: watch::Sender<bool>,
}

impl Pool {
    /// Makes a pool without workers. Its timers run on `runtime`, and its answers are told there: best
    /// the runtime that serves the links.
    pub fn new(options: PoolOptions, clock: Clock, runtime: &Handle) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(options.sessions.clone())),
            name: options.name.clone(),
            lone_call: options.lone_call.clone(),
            nesting: options.nesting.clone(),
            options: ArcSwap::from_pointee(options),
            clock,
            timer: Arc::new(Notify::new()),
            answers: Answers::serve(runtime),
            drained: watch::Sender::new(false),
        });
        let nest = Nest::new(shared.nesting.clone(), Arc::downgrade(&shared));
        shared.lock().nest = nest;
        shared.start_timer(runtime);
        Self(shared)
    }

    /// The pool's name.
    pub fn name(&self) -> &PoolName {
        &self.0.name
    }

    /// The settings it goes by.
    pub fn options(&self) -> Arc<PoolOptions> {
        self.0.options.load_full()
    }

    /// Changes the settings, but for the name and who is notified of lone calls. Calls that have been
    /// submitted keep their deadlines, and those in line their places.
    pub fn reconfigure(&self, options: PoolOptions) {
        let (name, lone_call) = (self.0.name.clone(), self.0.lone_call.clone());
        let sessions = options.sessions.clone();
        self.0.options.store(Arc::new(PoolOptions { name, lone_call, ..options }));
        let mut turn = Turn::new(&self.0);
        turn.state.sessions.store.set_options(sessions);
        turn.pump();
        turn.end();
    }

    /// Submits a call.
    ///
    /// # Errors
    /// `PoolClosed`, `PoolSaturated`, `PayloadTooLarge`, `WorkerNotFound`, `WorkerBusy`,
    /// `WorkerAtCapacity`, `SessionWorkerUnavailable`, `SessionQuotaExceeded`, or the error the pool
    /// failed with. What happens later comes out of the handle.
    pub fn submit(&self, request: Request) -> Result<CallHandle, Error> {
        let mut turn = Turn::new(&self.0);
        let handle = self.submit_in(&mut turn, request);
        turn.end();
        handle
    }

    /// Submits many calls in one turn; each succeeds or fails on its own, as with
    /// [`submit`](Self::submit).
    pub fn submit_many(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<CallHandle, Error>> {
        // The requests are made before the lock is taken: the iterator is the caller's code.
        let requests: Vec<Request> = requests.into_iter().collect();
        let mut turn = Turn::new(&self.0);
        let handles = requests.into_iter().map(|r| self.submit_in(&mut turn, r)).collect();
        turn.end();
        handles
    }

    fn submit_in(&self, turn: &mut Turn<'_>, request: Request) -> Result<CallHandle, Error> {
        let (sender, receiver) = oneshot::channel();
        let call = turn.admit(request, Caller::One(sender), None)?;
        Ok(CallHandle::new(Arc::clone(&self.0), call, receiver))
    }

    /// Submits a call whose result is a stream.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit).
    pub fn submit_stream(&self, request: Request) -> Result<CallStream, Error> {
        let credit = self.0.options.load().stream_credit.max(1);
        let buffer = Arc::new(StreamBuffer::new(credit));
        let mut turn = Turn::new(&self.0);
        let call = turn.admit(request, Caller::Stream(Arc::clone(&buffer)), Some(credit));
        turn.end();
        Ok(CallStream::new(Arc::clone(&self.0), call?, buffer))
    }

    /// Takes a ready worker in; it gets calls at once.
    pub fn join(&self, worker: Arc<dyn Worker>) {
        let mut turn = Turn::new(&self.0);
        let now = turn.now;
        let state = &mut *turn.state;
        state.failure = None;
        state.last_member += 1;
        let key = state.last_member;
        state.add_member(key, Member::new(worker, now));
        turn.offer_tools(key);
        turn.pump();
        turn.end();
    }

    /// Lets go of a worker that is gone.
    pub fn leave(&self, worker: &WorkerId) {
        let mut turn = Turn::new(&self.0);
        let mut gone = None;
        if let Some(key) = turn.state.member_key(worker) {
            turn.shut(key);
            let left: Vec<CallId> = turn.state.members[&key].assigned.iter().copied().collect();
            for call in left {
                turn.fail_call(call, |_| lost());
            }
            turn.check_nesting();
            gone = turn.state.members.remove(&key);
            if let Some(member) = &mut gone {
                // Without a call it has been told; this is for a member that lost its last one here.
                turn.state.reached.append(&mut member.retiring);
            }
            turn.pump();
        }
        turn.end();
        // Not under the lock: the last handle to a worker may have replies to drop.
        drop(gone);
    }

    /// Nobody can run calls: those in line end with `error`, and so do new ones until a worker
    /// joins. Without effect while there are workers.
    pub fn fail(&self, error: Error) {
        let mut turn = Turn::new(&self.0);
        if turn.state.members.is_empty() {
            turn.fail_queue(|| error.clone());
            turn.state.failure = Some(error);
        }
        turn.end();
    }

    /// Takes no more calls: new ones end with `PoolClosed`. Those it has go on, in line too.
    pub fn seal(&self) {
        let mut turn = Turn::new(&self.0);
        turn.state.sealed = true;
        turn.end();
    }

    /// [Seals](Self::seal) the pool and ends the calls that have not started with `PoolClosed`.
    /// Calls that run go on, and so do those that tools make on their behalf.
    pub fn close(&self) {
        let mut turn = Turn::new(&self.0);
        turn.state.sealed = true;
        turn.state.closed = true;
        let error = closed(&self.0.name);
        turn.fail_outer_queue(|| error.clone());
        turn.revoke_all();
        turn.end();
    }

    /// [Closes](Self::close) the pool and cuts off the calls that run: their callers get
    /// `Timeout(Drain)`, and a worker that does not let go of one within `cancel_grace` is told that
    /// it is stuck. Calls that tools make on behalf of other pools' calls go on.
    pub fn interrupt(&self) {
        self.close();
        let mut turn = Turn::new(&self.0);
        turn.interrupt(false);
        turn.end();
    }

    /// As [`interrupt`](Self::interrupt), for all calls that run.
    pub fn interrupt_all(&self) {
        self.close();
        let mut turn = Turn::new(&self.0);
        turn.interrupt(true);
        turn.end();
    }

    /// Resolves when the pool is sealed or closed, and no call is left.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn drained(&self) {
        let mut drained = self.0.drained.subscribe();
        // The sender lives as long as `self`.
        let _ = drained.wait_for(|drained| *drained).await;
    }

    /// What is going on, and the sums so far.
    pub fn stats(&self) -> PoolStats {
        let state = self.0.lock();
        let open = || state.members.values().filter(|m| m.open).map(|m| m.worker.slots());
        let capacity: usize = open().map(|slots| slots.capacity()).sum();
        let busy: usize = open().map(|slots| slots.load()).sum();
        PoolStats {
            pool: self.name().to_string(),
            workers: open().count(),
            capacity,
            // A worker whose capacity has shrunk may have more calls than room.
            available: capacity.saturating_sub(busy),
            busy,
            queued: state.queue.len(),
            in_flight: state.calls.len() - state.queue.len(),
            sessions: state.sessions.stats(),
            in_tools: state.in_tools,
            counters: state.counters,
        }
    }

    /// The workers, in the order of their ids.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let now = self.0.clock.now();
        let of_member =
            |member: &Member| (Arc::clone(&member.worker), member.assigned.len(), member.served);
        let members: Vec<_> = self.0.lock().members.values().map(of_member).collect();
        // Without the lock: the facts about a worker, with all its tools, take time to copy.
        let status = |(worker, in_flight, served): (Arc<dyn Worker>, usize, u64)| WorkerStatus {
            info: worker.info().clone(),
            capacity: worker.slots().capacity(),
            in_flight,
            served,
            last_seen: worker.last_seen().map(|seen| now.saturating_duration_since(seen)),
        };
        let mut workers: Vec<WorkerStatus> = members.into_iter().map(status).collect();
        workers.sort_by(|a, b| a.info.id.cmp(&b.info.id));
        workers
    }

    /// Reads how many bytes of memory each worker has to itself, where that is known. It blocks for
    /// 0.1 ms and more a worker.
    pub fn private_bytes(&self) -> Vec<(WorkerId, u64)> {
        let members: Vec<_> =
            self.0.lock().members.values().map(|member| Arc::clone(&member.worker)).collect();
        let read = |worker: Arc<dyn Worker>| {
            worker.private_bytes().map(|bytes| (worker.info().id.clone(), bytes))
        };
        members.into_iter().filter_map(read).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a defect of the engine; serving on beats failing every call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn abandon(self: &Arc<Self>, call: CallId) {
        let mut turn = Turn::new(self);
        turn.abandon(call);
        turn.pump();
        turn.end();
    }

    fn grant(self: &Arc<Self>, call: CallId, items: u32) {
        let mut turn = Turn::new(self);
        turn.grant(call, items);
        turn.end();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Lets the timer task see that the pool is gone.
        self.timer.notify_one();
        self.answers.close();
    }
}

/// The error of a call whose worker left and broke its promise to end it.
fn lost() -> Error {
    Error::worker_lost(true, "it left without an answer")
}

fn pool_gone() -> Error {
    Error::new(ErrorKind::Internal, "the pool lost track of the call")
}
