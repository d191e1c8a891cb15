//! What a supervisor knows of its seats and workers. Data and the steps that keep it consistent;
//! decisions are the seats'.
//!
//! Invariant: a worker is in the book from the moment its start begins until it is gone.

use std::collections::BTreeMap;

use snakepit_core::{Error, PoolName, Seat, WorkerId};
use tokio::time::Instant;

use super::pace::Crashes;
use super::policy::RecycleReason;
use super::seat;
use super::state::{Step, WorkerState};
use super::status::{Exits, Recycles, SeatState, SeatStatus, SupervisorStatus, WorkerLife};

pub(super) struct Book {
    pub(super) seats: Vec<SeatStatus>,
    workers: BTreeMap<WorkerId, Entry>,
    pub(super) crashes: Crashes,
    pub(super) recycles: Recycles,
    pub(super) exits: Exits,
    pub(super) first_error: Option<Error>,
    /// The supervisor was dropped.
    pub(super) abandoned: bool,
}

struct Entry {
    seat: Seat,
    state: WorkerState,
    ready: Option<Instant>,
    recycled: Option<RecycleReason>,
}

impl Book {
    pub(super) fn new(pool: &PoolName, workers: usize) -> Self {
        let seats = (0..workers).map(|index| SeatStatus {
            index,
            state: SeatState::Starting,
            worker: seat::of(pool, index, 0).worker_id(),
            crashes: 0,
            last_failure: None,
        });
        Self {
            seats: seats.collect(),
            workers: BTreeMap::new(),
            crashes: Crashes::default(),
            recycles: Recycles::default(),
            exits: Exits::default(),
            first_error: None,
            abandoned: false,
        }
    }

    /// Enters a worker whose start begins.
    pub(super) fn enter(&mut self, seat: &Seat) {
        let entry =
            Entry { seat: seat.clone(), state: WorkerState::Starting, ready: None, recycled: None };
        self.workers.insert(seat.worker_id(), entry);
    }

    /// Notes what happened to a worker.
    pub(super) fn step(&mut self, worker: &WorkerId, step: Step) {
        let Some(entry) = self.workers.get_mut(worker) else {
            return;
        };
        let Some(next) = entry.state.after(step) else {
            debug_assert!(false, "{step:?} cannot happen to a worker that is {}", entry.state);
            return;
        };
        entry.state = next;
        match next {
            WorkerState::Ready => entry.ready = Some(Instant::now()),
            WorkerState::Gone => drop(self.workers.remove(worker)),
            _ => {}
        }
    }

    /// Notes that a worker is to be replaced.
    pub(super) fn due(&mut self, worker: &WorkerId, reason: RecycleReason) {
        self.step(worker, Step::LimitReached);
        if let Some(entry) = self.workers.get_mut(worker) {
            entry.recycled = Some(reason);
        }
    }

    /// Notes that starts in a seat were given up.
    pub(super) fn give_up_starts(&mut self, index: usize) {
        self.workers
            .retain(|_, entry| entry.seat.index != index || entry.state != WorkerState::Starting);
    }

    /// Takes all workers out; gives those that the pool knows.
    pub(super) fn clear(&mut self) -> Vec<WorkerId> {
        let workers = std::mem::take(&mut self.workers).into_iter();
        workers.filter(|(_, entry)| entry.state.has_joined()).map(|(id, _)| id).collect()
    }

    pub(super) fn knows(&self, worker: &WorkerId) -> bool {
        self.workers.contains_key(worker)
    }

    /// The workers that the pool knows.
    pub(super) fn joined(&self) -> Vec<WorkerId> {
        let joined = self.workers.iter().filter(|(_, entry)| entry.state.has_joined());
        joined.map(|(id, _)| id.clone()).collect()
    }

    /// The seat of a worker that takes calls and is not about to be replaced.
    pub(super) fn seat_of_ready(&self, worker: &WorkerId) -> Option<usize> {
        let entry = self.workers.get(worker)?;
        (entry.state == WorkerState::Ready).then_some(entry.seat.index)
    }

    pub(super) fn count(&self, state: SeatState) -> usize {
        self.seats.iter().filter(|seat| seat.state == state).count()
    }

    pub(super) fn status(&self, now: Instant) -> SupervisorStatus {
        let mut workers: Vec<_> = self.workers.iter().collect();
        workers.sort_by_key(|(_, entry)| (entry.seat.index, entry.seat.incarnation));
        let workers = workers.into_iter().map(|(id, entry)| WorkerLife {
            worker: id.clone(),
            state: entry.state,
            age: entry.ready.map(|ready| now - ready),
            recycled: entry.recycled,
        });
        SupervisorStatus {
            seats: self.seats.clone(),
            workers: workers.collect(),
            degraded: self.crashes.degraded(now),
            recycles: self.recycles,
            exits: self.exits,
        }
    }
}
