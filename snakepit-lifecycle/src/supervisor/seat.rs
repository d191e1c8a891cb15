//! One seat: its workers' lives, deaths and replacements, as one task.
//!
//! Invariants: at most one worker of a seat is ready or due; a replacement has joined the pool
//! before the worker it replaces stops taking calls; an extra worker exists only while room for it
//! is held.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{
    BoxFuture, Error, ErrorKind, Phase, PoolName, Seat, Worker, WorkerExit, WorkerId,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Shared;
use super::due::due;
use super::farewell::dismiss;
use super::pace::Backoff;
use super::policy::{Limits, RecycleReason};
use super::pulse::end_of;
use super::state::Step;
use super::status::SeatState;

/// Of the time that is left for stopping, the part a worker gets to stop by itself. A profile may
/// take a quarter of that once more to use force.
const GRACE_SHARE: f64 = 0.75;

/// A profile that keeps the limit itself knows more about what went wrong; it may speak first.
const LAST_WORD: Duration = Duration::from_secs(1);

pub(super) fn of(pool: &PoolName, index: usize, incarnation: u64) -> Seat {
    Seat { pool: pool.clone(), index, incarnation }
}

/// A worker that takes calls.
pub(super) struct Serving {
    pub(super) worker: Arc<dyn Worker>,
    pub(super) id: WorkerId,
    /// When it became ready.
    pub(super) since: Instant,
    /// Its own limits, jitter included.
    pub(super) limits: Limits,
}

/// How a worker's time in its seat ended.
enum Served {
    /// It is gone; the seat may be filled again after the pause.
    Gone(Duration),
    /// Another one has the seat.
    Replaced(Serving),
    /// The supervisor stops.
    Stopped,
}

/// Keeps a seat filled until the supervisor stops.
pub(super) async fn keep(shared: Arc<Shared>, index: usize) {
    let mut keeper = Keeper {
        index,
        incarnation: 0,
        stop: shared.stop.subscribe(),
        order: shared.orders[index].subscribe(),
        backoff: Backoff::default(),
        settled: false,
        leaving: JoinSet::new(),
        shared: Arc::clone(&shared),
    };
    keeper.run().await;
    shared.book().give_up_starts(index);
    // Replaced workers have heard of the end too.
    while keeper.leaving.join_next().await.is_some() {}
    shared.book().seats[index].state = SeatState::Stopped;
    shared.departed.send_replace(());
}

struct Keeper {
    shared: Arc<Shared>,
    index: usize,
    /// Of the next worker.
    incarnation: u64,
    stop: watch::Receiver<Option<Instant>>,
    order: watch::Receiver<Option<WorkerId>>,
    backoff: Backoff,
    /// Whether the first start has ended.
    settled: bool,
    /// Replaced workers on their way out.
    leaving: JoinSet<()>,
}

impl Keeper {
    async fn run(&mut self) {
        while let Some(mut serving) = self.fill().await {
            let pause = loop {
                match self.serve(&serving).await {
                    Served::Replaced(next) => serving = next,
                    Served::Gone(pause) => break pause,
                    Served::Stopped => return,
                }
            };
            drop(serving);
            if self.pause(pause).await.is_break() {
                return;
            }
        }
    }

    /// Starts workers until one is ready; `None` when the supervisor stops.
    async fn fill(&mut self) -> Option<Serving> {
        loop {
            let seat = self.next_seat();
            self.shared.book().seats[self.index].worker = seat.worker_id();
            let started = tokio::select! {
                started = start(Arc::clone(&self.shared), seat) => started,
                _ = stop_asked(&mut self.stop) => return None,
            };
            if !std::mem::replace(&mut self.settled, true) {
                // The book comes first: `Supervisor::start` reads it when the count is complete.
                note_first(&self.shared, self.index, &started);
                self.shared.settled.send_modify(|settled| *settled += 1);
            }
            match started {
                Ok(worker) => return self.join(worker),
                Err(error) => {
                    let pause = self.start_failed(error);
                    if self.pause(pause).await.is_break() {
                        return None;
                    }
                }
            }
        }
    }

    /// Has a worker serve until it is gone, has been replaced, or the supervisor stops.
    async fn serve(&mut self, serving: &Serving) -> Served {
        let mut exited = end_of(&self.shared, &serving.worker, &serving.id);
        let reason = tokio::select! {
            biased;
            deadline = stop_asked(&mut self.stop) => return self.end(serving, deadline).await,
            exit = &mut exited => return Served::Gone(self.lost(serving, exit)),
            reason = due(&self.shared, serving, &mut self.order) => reason,
        };
        self.shared.book().due(&serving.id, reason);
        self.replace(serving, reason, exited).await
    }

    /// Has a worker replaced: it serves until the replacement is ready, however often that fails.
    async fn replace(
        &mut self,
        serving: &Serving,
        reason: RecycleReason,
        mut exited: BoxFuture<'static, WorkerExit>,
    ) -> Served {
        let mut backoff = Backoff::default();
        loop {
            let room = tokio::select! {
                biased;
                deadline = stop_asked(&mut self.stop) => return self.end(serving, deadline).await,
                exit = &mut exited => return Served::Gone(self.lost(serving, exit)),
                room = Arc::clone(&self.shared.surge).acquire_owned() => room,
            };
            // The semaphore is never closed.
            let Ok(room) = room else { return Served::Gone(Duration::ZERO) };
            let seat = self.next_seat();
            let replacement = seat.worker_id();
            let mut starting = pin!(start(Arc::clone(&self.shared), seat));
            let started = tokio::select! {
                biased;
                deadline = stop_asked(&mut self.stop) => return self.end(serving, deadline).await,
                exit = &mut exited => {
                    self.lost(serving, exit);
                    // What was to replace it is under way already and fills the empty seat.
                    self.shared.book().seats[self.index].worker = replacement;
                    drop(room);
                    return self.take_over(starting).await;
                }
                started = &mut starting => started,
            };
            let error = match started {
                Ok(worker) => {
                    let Some(next) = self.join(worker) else { return Served::Stopped };
                    self.dismiss(serving, reason, room);
                    return Served::Replaced(next);
                }
                Err(error) => error,
            };
            drop(room);
            let pause = backoff.after_failed_start();
            not_replaced(&self.shared, self.index, &serving.id, &error, pause);
            tokio::select! {
                biased;
                deadline = stop_asked(&mut self.stop) => return self.end(serving, deadline).await,
                exit = &mut exited => return Served::Gone(self.lost(serving, exit)),
                () = sleep(pause) => {}
            }
        }
    }

    /// Waits for the replacement of a worker that died meanwhile.
    async fn take_over(
        &mut self,
        starting: impl Future<Output = Result<Arc<dyn Worker>, Error>>,
    ) -> Served {
        let started = tokio::select! {
            biased;
            _ = stop_asked(&mut self.stop) => return Served::Stopped,
            started = starting => started,
        };
        match started {
            Ok(worker) => self.join(worker).map_or(Served::Stopped, Served::Replaced),
            Err(error) => Served::Gone(self.start_failed(error)),
        }
    }

    /// Takes a ready worker into the pool; `None` if the supervisor was dropped meanwhile.
    fn join(&mut self, worker: Arc<dyn Worker>) -> Option<Serving> {
        let info = worker.info();
        let (id, pool) = (info.id.clone(), self.shared.pool.name());
        {
            let mut book = self.shared.book();
            book.step(&id, Step::Started);
            let seat = &mut book.seats[self.index];
            (seat.state, seat.worker) = (SeatState::Ready, id.clone());
        }
        tracing::info!(%pool, worker = %id, pid = info.pid, "worker ready");
        self.shared.pool.join(Arc::clone(&worker));
        if self.shared.book().abandoned {
            // Whoever dropped the supervisor may have looked before the worker was there.
            self.shared.pool.leave(&id);
            return None;
        }
        let limits = self.shared.draw_limits();
        Some(Serving { worker, id, since: Instant::now(), limits })
    }

    fn dismiss(
        &mut self,
        serving: &Serving,
        reason: RecycleReason,
        room: tokio::sync::OwnedSemaphorePermit,
    ) {
        while self.leaving.try_join_next().is_some() {}
        let Serving { worker, id, since, limits } = serving;
        let leaving =
            Serving { worker: Arc::clone(worker), id: id.clone(), since: *since, limits: *limits };
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        self.leaving.spawn(dismiss(shared, leaving, self.index, reason, room, stop));
    }

    /// Stops a worker because the supervisor stops.
    async fn end(&mut self, serving: &Serving, deadline: Instant) -> Served {
        let (pool, id) = (self.shared.pool.name(), &serving.id);
        self.shared.book().step(id, Step::StopAsked);
        let stopped = serving.worker.stop(grace_until(deadline));
        if timeout_at(deadline, stopped).await.is_err() {
            tracing::warn!(%pool, worker = %id, "worker did not stop in time and is ended");
        }
        // With the pool's handle and this one gone, nothing keeps the worker alive.
        self.shared.pool.leave(id);
        self.shared.book().exits.shutdown += 1;
        self.shared.gone(id);
        Served::Stopped
    }

    /// Lets go of a worker that is gone; gives the pause before its seat is filled again.
    fn lost(&mut self, serving: &Serving, exit: WorkerExit) -> Duration {
        let Serving { id, since, .. } = serving;
        self.shared.pool.leave(id);
        self.shared.book().seats[self.index].state = SeatState::Starting;
        match exit {
            WorkerExit::Died(how) => crashed(&self.shared, self.index, id, &how),
            _ => {
                self.shared.book().exits.left += 1;
                tracing::info!(pool = %self.shared.pool.name(), worker = %id, "worker stopped");
            }
        }
        self.shared.gone(id);
        self.backoff.after_death(since.elapsed())
    }

    fn start_failed(&mut self, error: Error) -> Duration {
        let pause = self.backoff.after_failed_start();
        failed(&self.shared, self.index, error, pause);
        pause
    }

    async fn pause(&mut self, pause: Duration) -> ControlFlow<()> {
        tokio::select! {
            () = sleep(pause) => ControlFlow::Continue(()),
            _ = stop_asked(&mut self.stop) => ControlFlow::Break(()),
        }
    }

    fn next_seat(&mut self) -> Seat {
        let seat = of(self.shared.pool.name(), self.index, self.incarnation);
        self.incarnation += 1;
        seat
    }
}

/// Resolves with the instant by which everything must have stopped.
pub(super) async fn stop_asked(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let deadline = stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    match deadline {
        Some(deadline) => deadline,
        // The sender lives in the `Shared` this task holds.
        None => std::future::pending().await,
    }
}

/// How long a worker may take to stop by itself when everything must have stopped by `deadline`.
pub(super) fn grace_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).mul_f64(GRACE_SHARE)
}

async fn start(shared: Arc<Shared>, seat: Seat) -> Result<Arc<dyn Worker>, Error> {
    let worker = seat.worker_id();
    shared.book().enter(&seat);
    let limit = shared.options.start_timeout;
    let started = match timeout(limit + LAST_WORD, shared.profile.start(seat)).await {
        Ok(started) => started,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout(Phase::Start),
            format!("worker {worker} was not ready within {limit:?}"),
        )
        .with_help("raise the pool's `start_timeout`, or do less in the adapter's setup")
        .with_detail("worker", worker.as_str())),
    };
    if started.is_err() {
        shared.book().step(&worker, Step::StartFailed);
    }
    started
}

fn note_first(shared: &Shared, index: usize, started: &Result<Arc<dyn Worker>, Error>) {
    let mut book = shared.book();
    match started {
        Ok(_) => book.seats[index].state = SeatState::Ready,
        Err(error) => {
            book.seats[index].state = SeatState::Failing;
            book.first_error.get_or_insert_with(|| error.clone());
        }
    }
}

pub(super) fn crashed(shared: &Shared, index: usize, worker: &WorkerId, how: &str) {
    let pool = shared.pool.name();
    tracing::warn!(%pool, %worker, how, "worker died");
    let degraded = {
        let mut book = shared.book();
        book.exits.died += 1;
        let seat = &mut book.seats[index];
        seat.crashes += 1;
        seat.last_failure = Some(how.to_owned());
        book.crashes.note(Instant::now())
    };
    tell_degraded(shared, degraded);
}

fn failed(shared: &Shared, index: usize, error: Error, pause: Duration) {
    let pool = shared.pool.name();
    let (degraded, nobody) = {
        let mut book = shared.book();
        let seat = &mut book.seats[index];
        seat.state = SeatState::Failing;
        seat.last_failure = Some(error.to_string());
        tracing::warn!(%pool, worker = %seat.worker, %error, ?pause, "worker did not start");
        let nobody = book.seats.iter().all(|seat| seat.state == SeatState::Failing);
        (book.crashes.note(Instant::now()), nobody)
    };
    tell_degraded(shared, degraded);
    if nobody {
        // No worker and none that might still come at its first try: waiting calls are told why.
        shared.pool.fail(error);
    }
}

fn not_replaced(shared: &Shared, index: usize, kept: &WorkerId, error: &Error, pause: Duration) {
    let pool = shared.pool.name();
    tracing::warn!(%pool, worker = %kept, %error, ?pause, "no replacement; the worker serves on");
    let degraded = {
        let mut book = shared.book();
        book.seats[index].last_failure = Some(error.to_string());
        book.crashes.note(Instant::now())
    };
    tell_degraded(shared, degraded);
}

fn tell_degraded(shared: &Shared, degraded: bool) {
    if degraded {
        let pool = shared.pool.name();
        tracing::warn!(%pool, "pool is degraded: its workers keep dying; they are replaced still");
    }
}
