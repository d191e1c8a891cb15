//! How busy a pool is, for whoever decides how large it should be. Only looks; costs calls nothing.

use std::time::Duration;

use super::Pool;
use super::state::{Member, State};
use crate::ids::WorkerId;

/// The calls that wait for any slot. Those that wait for a certain worker gain nothing by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// How many stand in line.
    pub queued: usize,
    /// How long the one that is next has waited; zero when there is none.
    pub waited: Duration,
    /// How long one more would wait, as far as is known: at least as long as the next one has, and as
    /// long as those in line are expected to take.
    pub expected: Duration,
}

/// Calls looked at to tell how long the line will take.
const SAMPLE: usize = 64;

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
        let first = state.queue.first().and_then(|(_, call)| state.calls.get(&call));
        let waited =
            first.map_or(Duration::ZERO, |call| now.saturating_duration_since(call.submitted));
        let expected = waited.max(state.line_takes());
        Backlog { queued: state.queue.len_unbound(), waited, expected }
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

impl State {
    /// How long the line is expected to take; zero where nothing is known about its commands.
    fn line_takes(&self) -> Duration {
        let commands = self.queue.iter().take(SAMPLE).filter_map(|call| self.calls.get(&call));
        let known = commands
            .map(|record| self.estimates.of(&record.call.request.command))
            .filter(|time| *time < Duration::MAX);
        let (count, sum) =
            known.fold((0_u32, Duration::ZERO), |(n, sum), time| (n + 1, sum.saturating_add(time)));
        let slots = self.members.values().filter(|member| member.open);
        let slots: usize = slots.map(|member| member.worker.slots().capacity()).sum();
        if count == 0 || slots == 0 {
            return Duration::ZERO;
        }
        let rounds = self.queue.len_unbound() as f64 / slots as f64;
        Duration::try_from_secs_f64((sum / count).as_secs_f64() * rounds).unwrap_or(Duration::MAX)
    }
}

impl Member {
    fn load(&self) -> WorkerLoad {
        let (in_flight, served) = (self.assigned.len(), self.served);
        WorkerLoad { worker: self.id().clone(), in_flight, served }
    }
}
