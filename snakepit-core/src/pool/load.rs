//! How busy a pool is, for whoever decides how large it should be. Only looks; costs calls nothing.

use std::time::Duration;

use super::Pool;
use super::state::Member;
use crate::ids::WorkerId;

/// The calls that wait for a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// How many stand in line.
    pub queued: usize,
    /// How long the one that is next has waited; zero when there is none.
    pub waited: Duration,
}

/// The calls of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerLoad {
    /// The worker.
    pub worker: WorkerId,
    /// Calls handed to it.
    pub in_flight: usize,
    /// Calls it has ended.
    pub served: u64,
}

impl Pool {
    /// The line at this moment.
    pub fn backlog(&self) -> Backlog {
        let now = self.0.clock.now();
        let state = self.0.lock();
        let first = state.queue.first().and_then(|call| state.calls.get(&call));
        Backlog {
            queued: state.queue.len(),
            waited: first
                .map_or(Duration::ZERO, |call| now.saturating_duration_since(call.submitted)),
        }
    }

    /// What each worker has to do, in no order.
    pub fn loads(&self) -> Vec<WorkerLoad> {
        self.0.lock().members.values().map(Member::load).collect()
    }

    /// What a worker has to do; `None` when there is no such worker.
    pub fn load_of(&self, worker: &WorkerId) -> Option<WorkerLoad> {
        let state = self.0.lock();
        let key = state.member_key(worker)?;
        state.members.get(&key).map(Member::load)
    }
}

impl Member {
    fn load(&self) -> WorkerLoad {
        let (in_flight, served) = (self.assigned.len(), self.served);
        WorkerLoad { worker: self.id().clone(), in_flight, served }
    }
}
