//! What a supervisor knows of its seats and workers. Data and the steps that keep it consistent;
//! decisions are the seats'.
//!
//! Invariant: a worker is in the book from the moment its start begins until it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use snakepit_core::{Error, PoolName, Seat, WorkerId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::index::Indices;
use super::pace::Crashes;
use super::plan::Trial;
use super::policy::{Limits, NearLimits, RecycleReason};
use super::state::{Step, WorkerState};
use super::status::{Exits, Recycles, SeatState, SeatStatus, SupervisorStatus, WorkerLife};

pub(super) struct Book {
    pub(super) seats: BTreeMap<usize, Place>,
    last_seat: usize,
    workers: BTreeMap<WorkerId, Entry>,
    indices: Indices,
    pub(super) crashes: Crashes,
    pub(super) recycles: Recycles,
    pub(super) exits: Exits,
    pub(super) failed_checks: u64,
    /// Limits' worth of life that workers have used up who are gone.
    used_up: f64,
    pub(super) first_error: Option<Error>,
    /// How the first start by the latest plan ended.
    first_outcome: Option<(u64, Result<(), Error>)>,
    /// The supervisor was dropped.
    pub(super) abandoned: bool,
}

/// One seat, and how to reach its task.
pub(super) struct Place {
    pub(super) status: SeatStatus,
    orders: watch::Sender<Orders>,
}

/// What a seat is told from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    /// The worker that is to be replaced.
    pub(super) replace: Option<WorkerId>,
    /// A new kind of worker is to be tried out in its place.
    pub(super) trial: Option<Trial>,
    /// The seat is one too many.
    pub(super) leave: bool,
}

struct Entry {
    seat: Seat,
    /// The edition of the plan it was made by.
    edition: u64,
    /// The number of its place.
    place: usize,
    state: WorkerState,
    ready: Option<Instant>,
    recycled: Option<RecycleReason>,
    /// Its own limits, jitter included.
    limits: Limits,
    /// Bytes of memory when that was last read.
    memory: Option<u64>,
}

impl Book {
    pub(super) fn new(borne_before: u64) -> Self {
        Self {
            seats: BTreeMap::new(),
            last_seat: 0,
            workers: BTreeMap::new(),
            indices: Indices::after(borne_before),
            crashes: Crashes::default(),
            recycles: Recycles::default(),
            exits: Exits::default(),
            failed_checks: 0,
            used_up: 0.0,
            first_error: None,
            first_outcome: None,
            abandoned: false,
        }
    }

    /// Makes a place for a worker.
    pub(super) fn open_seat(&mut self) -> (usize, watch::Receiver<Orders>) {
        self.last_seat += 1;
        let number = self.last_seat;
        let (orders, told) = watch::channel(Orders::default());
        let status = SeatStatus {
            number,
            state: SeatState::Starting,
            worker: WorkerId::from(""),
            crashes: 0,
            last_failure: None,
        };
        self.seats.insert(number, Place { status, orders });
        (number, told)
    }

    pub(super) fn seat(&mut self, number: usize) -> Option<&mut SeatStatus> {
        self.seats.get_mut(&number).map(|place| &mut place.status)
    }

    /// The seats that are to stay.
    pub(super) fn staying(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.seats
            .iter()
            .filter(|(_, place)| !place.leaves())
            .map(|(number, place)| (*number, place))
    }

    /// Tells a seat to leave.
    pub(super) fn dismiss(&self, number: usize) {
        if let Some(place) = self.seats.get(&number) {
            place.orders.send_modify(|orders| orders.leave = true);
        }
    }

    /// Tells the seat of a worker to replace it. One that is not ready is on its way already.
    pub(super) fn order(&self, worker: &WorkerId) {
        let ready = self.workers.get(worker).filter(|entry| entry.state == WorkerState::Ready);
        if let Some(place) = ready.and_then(|entry| self.seats.get(&entry.place)) {
            place.orders.send_modify(|orders| orders.replace = Some(worker.clone()));
        }
    }

    /// Enters a worker whose start begins.
    pub(super) fn enter(&mut self, pool: &PoolName, place: usize, edition: u64) -> Seat {
        let (index, incarnation) = self.indices.take();
        let seat = Seat { pool: pool.clone(), index, incarnation };
        let entry = Entry {
            seat: seat.clone(),
            edition,
            place,
            state: WorkerState::Starting,
            ready: None,
            recycled: None,
            limits: Limits::default(),
            memory: None,
        };
        self.workers.insert(seat.worker_id(), entry);
        seat
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
            WorkerState::Gone => {
                self.indices.give_back(entry.seat.index);
                self.workers.remove(worker);
            }
            _ => {}
        }
    }

    /// Notes after how much a worker is to be replaced.
    pub(super) fn limit(&mut self, worker: &WorkerId, limits: Limits) {
        if let Some(entry) = self.workers.get_mut(worker) {
            entry.limits = limits;
        }
    }

    /// Notes a reading of a worker's memory.
    pub(super) fn measured(&mut self, worker: &WorkerId, bytes: u64) {
        if let Some(entry) = self.workers.get_mut(worker) {
            entry.memory = Some(bytes);
        }
    }

    /// Notes what a worker that is gone has done; `nominal` are the limits without jitter.
    pub(super) fn outlived(&mut self, nominal: &Limits, age: Duration, served: u64) {
        self.used_up += nominal.used_up(age, served);
    }

    /// Notes that a worker is to be replaced.
    pub(super) fn due(&mut self, worker: &WorkerId, reason: RecycleReason) {
        self.step(worker, Step::LimitReached);
        if let Some(entry) = self.workers.get_mut(worker) {
            entry.recycled = Some(reason);
        }
    }

    /// Notes that a worker is not to be replaced after all.
    pub(super) fn called_off(&mut self, worker: &WorkerId) {
        self.step(worker, Step::CalledOff);
        if let Some(entry) = self.workers.get_mut(worker) {
            entry.recycled = None;
        }
    }

    /// Tells the seat of a worker to try out another kind in its place.
    pub(super) fn try_out(&self, trial: Trial, worker: &WorkerId) {
        let place = self.workers.get(worker).and_then(|entry| self.seats.get(&entry.place));
        if let Some(place) = place {
            place.orders.send_modify(|orders| orders.trial = Some(trial));
        }
    }

    /// A worker that takes calls and may go on doing so.
    pub(super) fn first_ready(&self) -> Option<WorkerId> {
        let ready = self.workers.iter().find(|(_, entry)| entry.state == WorkerState::Ready);
        ready.map(|(id, _)| id.clone())
    }

    /// Notes how a start ended.
    pub(super) fn started(&mut self, edition: u64, outcome: Result<(), Error>) {
        if self.first_outcome.as_ref().is_none_or(|(known, _)| *known < edition) {
            self.first_outcome = Some((edition, outcome));
        }
    }

    /// How the first start by a plan ended, if it has.
    pub(super) fn first_outcome(&self, edition: u64) -> Option<Result<(), Error>> {
        let known = self.first_outcome.as_ref().filter(|(known, _)| *known == edition);
        known.map(|(_, outcome)| outcome.clone())
    }

    /// Whether there are workers of other plans.
    pub(super) fn has_others(&self, edition: u64) -> bool {
        self.workers.values().any(|entry| entry.edition != edition)
    }

    /// Notes that a replaced worker is gone, and whether it stopped in good order.
    pub(super) fn recycled(&mut self, reason: RecycleReason, stopped: bool) {
        self.recycles.count(reason);
        self.exits.recycled += u64::from(stopped);
    }

    /// Takes all workers out; gives those that the pool knows.
    pub(super) fn clear(&mut self) -> Vec<WorkerId> {
        let workers = std::mem::take(&mut self.workers).into_iter();
        workers.filter(|(_, entry)| entry.state.has_joined()).map(|(id, _)| id).collect()
    }

    pub(super) fn borne(&self) -> u64 {
        self.indices.borne()
    }

    pub(super) fn knows(&self, worker: &WorkerId) -> bool {
        self.workers.contains_key(worker)
    }

    /// The workers that the pool knows.
    pub(super) fn joined(&self) -> Vec<WorkerId> {
        let joined = self.workers.iter().filter(|(_, entry)| entry.state.has_joined());
        joined.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn count(&self, state: SeatState) -> usize {
        self.staying().filter(|(_, place)| place.status.state == state).count()
    }

    /// Whether there are so many seats, each with its worker, and no other.
    pub(super) fn is_of(&self, workers: usize) -> bool {
        self.seats.len() == workers && self.count(SeatState::Ready) == workers
    }

    /// `served` are the calls each worker has ended, `nominal` the limits without jitter.
    pub(super) fn status(
        &self,
        now: Instant,
        served: &BTreeMap<WorkerId, u64>,
        nominal: &Limits,
    ) -> SupervisorStatus {
        let mut near_limits = NearLimits::default();
        let mut used_up = self.used_up;
        for (id, entry) in &self.workers {
            let Some(age) = entry.ready.map(|ready| now - ready) else { continue };
            let served = served.get(id).copied().unwrap_or_default();
            near_limits.note(&entry.limits, age, served, entry.memory);
            used_up += nominal.used_up(age, served);
        }
        let mut workers: Vec<_> = self.workers.iter().collect();
        workers.sort_by_key(|(_, entry)| (entry.place, entry.ready.is_none(), entry.ready));
        let workers = workers.into_iter().map(|(id, entry)| WorkerLife {
            worker: id.clone(),
            index: entry.seat.index,
            state: entry.state,
            age: entry.ready.map(|ready| now - ready),
            recycled: entry.recycled,
            memory_bytes: entry.memory,
        });
        SupervisorStatus {
            seats: self.seats.values().map(Place::status).collect(),
            workers: workers.collect(),
            degraded: self.crashes.degraded(now),
            recycles: self.recycles,
            nominal_recycles: used_up as u64,
            near_limits,
            exits: self.exits,
            failed_checks: self.failed_checks,
        }
    }
}

impl Place {
    fn leaves(&self) -> bool {
        self.orders.borrow().leave
    }

    fn status(&self) -> SeatStatus {
        let mut status = self.status.clone();
        if self.leaves() && status.state != SeatState::Stopped {
            status.state = SeatState::Leaving;
        }
        status
    }
}
