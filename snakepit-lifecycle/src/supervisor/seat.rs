//! One seat: its workers' lives, deaths and replacements, as one task.
//!
//! Invariants: at most one worker of a seat is ready or due; a replacement has joined the pool
//! before the worker it replaces stops taking calls; an extra worker exists only while room for it
//! is held.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{BoxFuture, Error, ErrorKind, Phase, Seat, Worker, WorkerExit, WorkerId};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Shared;
use super::book::Orders;
use super::due::{Due, due};
use super::farewell::{Cause, dismiss};
use super::pace::Backoff;
use super::plan::{Plan, Told};
use super::policy::{Limits, RecycleReason};
use super::pulse::{Ended, end_of};
use super::rest::{AtLimit, rest_at_limit, stand_by};
use super::state::Step;
use super::status::{SeatState, SeatStatus};

/// Of the time that is left for stopping, the part a worker gets to stop by itself. A profile may
/// take a quarter of that once more to use force.
const GRACE_SHARE: f64 = 0.75;

/// A profile that keeps the limit itself knows more about what went wrong; it may speak first.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A worker that takes calls.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) worker: Arc<dyn Worker>,
    pub(super) id: WorkerId,
    /// When it became ready.
    pub(super) since: Instant,
    /// Its own limits, jitter included.
    pub(super) limits: Limits,
    /// The same without jitter.
    nominal: Limits,
    /// Time between two signs of its life.
    pub(super) heartbeat: Option<Duration>,
    /// The edition of the plan it was made by.
    pub(super) edition: u64,
}

/// How a worker's time in its seat ended.
enum Served {
    /// It is gone; the seat may be filled again after the pause.
    Gone(Duration),
    /// Another one has the seat.
    Replaced(Serving),
    /// It was stopped or is on its way out, and no other is to come.
    Over,
    /// It stays, as nothing came of what was to replace it.
    Kept,
}

/// A new kind of worker that is tried out, and who waits for the outcome.
type Trying = (Arc<Plan>, Told);

/// Why a seat is given up.
enum End {
    /// Everything must have stopped by then.
    Stop(Instant),
    /// The pool has become smaller.
    Leave,
}

/// Keeps a seat filled until the supervisor stops or has no more use for it; gives its number.
pub(super) async fn keep(
    shared: Arc<Shared>,
    number: usize,
    orders: watch::Receiver<Orders>,
) -> usize {
    let mut keeper = Keeper {
        number,
        ending: Ending { stop: shared.stop.subscribe(), orders: orders.clone() },
        orders,
        plan: shared.plan.subscribe(),
        backoff: Backoff::default(),
        settled: false,
        leaving: JoinSet::new(),
        shared: Arc::clone(&shared),
    };
    keeper.run().await;
    // Workers on their way out hear of a stop themselves.
    while keeper.leaving.join_next().await.is_some() {}
    if let Some(seat) = shared.book().seat(number) {
        seat.state = SeatState::Stopped;
    }
    shared.news.send_replace(());
    number
}

struct Keeper {
    shared: Arc<Shared>,
    number: usize,
    ending: Ending,
    orders: watch::Receiver<Orders>,
    plan: watch::Receiver<Arc<Plan>>,
    backoff: Backoff,
    /// Whether the first start has ended.
    settled: bool,
    /// Workers on their way out.
    leaving: JoinSet<()>,
}

/// Hears of the seat's end.
struct Ending {
    stop: watch::Receiver<Option<Instant>>,
    orders: watch::Receiver<Orders>,
}

impl Ending {
    async fn asked(&mut self) -> End {
        tokio::select! {
            biased;
            deadline = stop_asked(&mut self.stop) => End::Stop(deadline),
            // The sender lives in the book for as long as this task runs.
            _ = self.orders.wait_for(|orders| orders.leave) => End::Leave,
        }
    }
}

impl Keeper {
    async fn run(&mut self) {
        while let Some(mut serving) = self.fill().await {
            let pause = loop {
                match self.serve(&mut serving).await {
                    Served::Replaced(next) => serving = next,
                    Served::Kept => {}
                    Served::Gone(pause) => break pause,
                    Served::Over => return,
                }
            };
            drop(serving);
            if self.pause(pause).await.is_break() {
                return;
            }
        }
    }

    /// Starts workers until one is ready; `None` when the seat is given up.
    async fn fill(&mut self) -> Option<Serving> {
        loop {
            let start = self.enter(self.shared.plan());
            let plan = Arc::clone(&start.plan);
            self.note(|seat| seat.worker = start.id());
            let started = tokio::select! {
                started = start.run(std::future::ready(())) => started,
                _ = self.ending.asked() => return None,
            };
            if !std::mem::replace(&mut self.settled, true) {
                // The book comes first: `Supervisor::start` reads it when the count is complete.
                note_first(&self.shared, self.number, &started);
                self.shared.settled.send_modify(|settled| *settled += 1);
            }
            match started {
                Ok(worker) => return self.join(worker, &plan),
                Err(error) => {
                    let pause = self.start_failed(error);
                    if self.pause(pause).await.is_break() {
                        return None;
                    }
                }
            }
        }
    }

    /// Has a worker serve until it is gone, has been replaced, or the seat is given up.
    async fn serve(&mut self, serving: &mut Serving) -> Served {
        let exited = end_of(&self.shared, serving);
        self.follow(serving);
        let shared = Arc::clone(&self.shared);
        let (mut orders, mut exited) = (self.orders.clone(), exited);
        let (due, trying) = tokio::select! {
            biased;
            end = self.ending.asked() => return self.end(serving, end).await,
            exit = &mut exited => return Served::Gone(self.lost(serving, exit)),
            trying = trial(&mut orders, &serving.id) => (Due::because(RecycleReason::Reload), Some(trying)),
            // The sender lives in `shared`.
            _ = self.plan.changed() => return Served::Kept,
            due = due(&shared, serving, &mut self.orders) => (due, None),
        };
        self.shared.book().due(&serving.id, due.reason);
        let (tell, at_limit) = oneshot::channel();
        let served = tokio::select! {
            served = self.replace(serving, due.reason, exited, at_limit, trying) => served,
            never = rest_at_limit(&shared, serving, tell) => match never {},
        };
        drop(due.spoilt);
        served
    }

    /// Takes up what has changed for a worker that serves on.
    fn follow(&mut self, serving: &mut Serving) {
        let plan = Arc::clone(&self.plan.borrow_and_update());
        if plan.options.limits != serving.nominal {
            serving.nominal = plan.options.limits;
            serving.limits = self.shared.draw_limits(&plan.options);
            self.shared.book().limit(&serving.id, serving.limits);
        }
    }

    /// Has a worker replaced: it serves until the replacement is ready, however often that fails. One
    /// that is only tried out is started once.
    async fn replace(
        &mut self,
        serving: &Serving,
        reason: RecycleReason,
        mut exited: BoxFuture<'static, Ended>,
        mut at_limit: AtLimit,
        trying: Option<Trying>,
    ) -> Served {
        let mut backoff = Backoff::default();
        loop {
            let room = tokio::select! {
                biased;
                end = self.ending.asked() => return self.end(serving, end).await,
                exit = &mut exited => return Served::Gone(self.lost(serving, exit)),
                room = Arc::clone(&self.shared.surge).acquire_owned() => room,
            };
            // The semaphore is never closed.
            let Ok(room) = room else { return Served::Gone(Duration::ZERO) };
            let plan =
                trying.as_ref().map_or_else(|| self.shared.plan(), |(plan, _)| Arc::clone(plan));
            let start = self.enter(Arc::clone(&plan));
            let replacement = start.id();
            let shared = Arc::clone(&self.shared);
            let mut starting = pin!(start.run(async {
                if reason == RecycleReason::MaxRequests {
                    stand_by(&shared, serving, &mut at_limit).await;
                }
            }));
            let started = tokio::select! {
                biased;
                end = self.ending.asked() => return self.end(serving, end).await,
                exit = &mut exited => {
                    self.lost(serving, exit);
                    // What was to replace it is under way already and fills the empty seat.
                    self.note(|seat| seat.worker = replacement);
                    drop(room);
                    return self.take_over(starting, &plan, trying).await;
                }
                started = &mut starting => started,
            };
            let error = match started {
                Ok(worker) => {
                    let Some(next) = self.join(worker, &plan) else { return Served::Over };
                    self.come_into_force(trying);
                    self.dismiss(serving, Cause::Replaced(reason, room));
                    return Served::Replaced(next);
                }
                Err(error) => error,
            };
            drop(room);
            if let Some((_, told)) = trying {
                not_changed(&self.shared, &serving.id, &error);
                self.shared.book().called_off(&serving.id);
                // Whoever waits no longer has no use for it.
                let _ = told.send(Err(error));
                return Served::Kept;
            }
            let pause = backoff.after_failed_start();
            not_replaced(&self.shared, self.number, &serving.id, &error, pause);
            tokio::select! {
                biased;
                end = self.ending.asked() => return self.end(serving, end).await,
                exit = &mut exited => return Served::Gone(self.lost(serving, exit)),
                () = sleep(pause) => {}
                // What failed is made another way now. The sender lives in `shared`.
                _ = self.plan.changed() => {}
            }
        }
    }

    /// Waits for the replacement of a worker that died meanwhile.
    async fn take_over(
        &mut self,
        starting: impl Future<Output = Result<Arc<dyn Worker>, Error>>,
        plan: &Plan,
        trying: Option<Trying>,
    ) -> Served {
        let started = tokio::select! {
            biased;
            _ = self.ending.asked() => return Served::Over,
            started = starting => started,
        };
        match started {
            Ok(worker) => {
                let Some(next) = self.join(worker, plan) else { return Served::Over };
                self.come_into_force(trying);
                Served::Replaced(next)
            }
            Err(error) => {
                if let Some((_, told)) = trying {
                    let _ = told.send(Err(error.clone()));
                }
                Served::Gone(self.start_failed(error))
            }
        }
    }

    /// What was tried out holds for all workers from now on.
    fn come_into_force(&self, trying: Option<Trying>) {
        if let Some((plan, told)) = trying {
            self.shared.plan.send_replace(plan);
            let _ = told.send(Ok(()));
        }
    }

    /// Takes a ready worker into the pool; `None` if the supervisor was dropped meanwhile.
    fn join(&mut self, worker: Arc<dyn Worker>, plan: &Plan) -> Option<Serving> {
        let info = worker.info();
        let (id, pool) = (info.id.clone(), self.shared.pool.name());
        {
            let mut book = self.shared.book();
            book.step(&id, Step::Started);
            if let Some(seat) = book.seat(self.number) {
                (seat.state, seat.worker) = (SeatState::Ready, id.clone());
            }
        }
        tracing::info!(%pool, worker = %id, pid = info.pid, "worker ready");
        self.shared.pool.join(Arc::clone(&worker));
        if self.shared.book().abandoned {
            // Whoever dropped the supervisor may have looked before the worker was there.
            self.shared.pool.leave(&id);
            return None;
        }
        self.shared.news.send_replace(());
        let options = &plan.options;
        let limits = self.shared.draw_limits(options);
        self.shared.book().limit(&id, limits);
        Some(Serving {
            worker,
            id,
            since: Instant::now(),
            limits,
            nominal: options.limits,
            heartbeat: options.heartbeat,
            edition: plan.edition,
        })
    }

    fn dismiss(&mut self, serving: &Serving, cause: Cause) {
        while self.leaving.try_join_next().is_some() {}
        let leaving = serving.clone();
        let (shared, stop) = (Arc::clone(&self.shared), self.ending.stop.clone());
        self.leaving.spawn(dismiss(shared, leaving, self.number, cause, stop));
    }

    /// Sees a worker out whose seat is given up.
    async fn end(&mut self, serving: &Serving, end: End) -> Served {
        let deadline = match end {
            End::Stop(deadline) => deadline,
            End::Leave => {
                self.dismiss(serving, Cause::Surplus);
                return Served::Over;
            }
        };
        let (pool, id) = (self.shared.pool.name(), &serving.id);
        self.shared.book().step(id, Step::StopAsked);
        let stopped = serving.worker.stop(grace_until(deadline));
        if timeout_at(deadline, stopped).await.is_err() {
            tracing::warn!(%pool, worker = %id, "worker did not stop in time and is ended");
        }
        // With the pool's handle and this one gone, nothing keeps the worker alive.
        let served = self.shared.left(serving, |book| book.exits.shutdown += 1);
        self.shared.gone(id, serving.since, served);
        Served::Over
    }

    /// Lets go of a worker that is gone; gives the pause before its seat is filled again.
    fn lost(&mut self, serving: &Serving, ended: Ended) -> Duration {
        let Serving { worker, id, since, .. } = serving;
        let served = self.shared.left(serving, |book| match ended.exit {
            WorkerExit::Died(_) => book.exits.died(ended.silent),
            _ => book.exits.left += 1,
        });
        // Those that were lost with it count too, and are one for each slot at most.
        let of_use = served > worker.slots().capacity() as u64;
        self.note(|seat| seat.state = SeatState::Starting);
        match ended.exit {
            WorkerExit::Died(how) => crashed(&self.shared, self.number, id, &how),
            _ => tracing::info!(pool = %self.shared.pool.name(), worker = %id, "worker stopped"),
        }
        self.shared.gone(id, *since, served);
        self.backoff.after_death(since.elapsed(), of_use)
    }

    fn start_failed(&mut self, error: Error) -> Duration {
        let pause = self.backoff.after_failed_start();
        failed(&self.shared, self.number, error, pause);
        pause
    }

    async fn pause(&mut self, pause: Duration) -> ControlFlow<()> {
        tokio::select! {
            () = sleep(pause) => ControlFlow::Continue(()),
            // What failed is made another way now. The sender lives in `shared`.
            _ = self.plan.changed() => ControlFlow::Continue(()),
            _ = self.ending.asked() => ControlFlow::Break(()),
        }
    }

    fn note(&self, change: impl FnOnce(&mut SeatStatus)) {
        self.shared.book().seat(self.number).map(change);
    }

    fn enter(&self, plan: Arc<Plan>) -> Start {
        let (pool, edition) = (self.shared.pool.name(), plan.edition);
        let seat = self.shared.book().enter(pool, self.number, edition);
        Start { shared: Arc::clone(&self.shared), plan, seat, over: false }
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

/// A start that is in the book. Dropping it ends it.
struct Start {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    seat: Seat,
    over: bool,
}

impl Start {
    fn id(&self) -> WorkerId {
        self.seat.worker_id()
    }

    /// Gives the worker when it is ready and has stood by.
    async fn run(
        mut self,
        standing_by: impl Future<Output = ()>,
    ) -> Result<Arc<dyn Worker>, Error> {
        let limit = self.plan.options.start_timeout;
        let starting = self.plan.profile.start(self.seat.clone());
        let started = timeout(limit + LAST_WORD, starting).await;
        if matches!(started, Ok(Ok(_))) {
            standing_by.await;
        }
        self.over = true;
        let worker = self.id();
        let started = started.unwrap_or_else(|_| {
            let message = format!("worker {worker} was not ready within {limit:?}");
            Err(Error::new(ErrorKind::Timeout(Phase::Start), message)
                .with_help("raise the pool's `start_timeout`, or do less in the adapter's setup")
                .with_detail("worker", worker.as_str()))
        });
        let mut book = self.shared.book();
        if started.is_err() {
            book.step(&worker, Step::StartFailed);
        }
        book.started(self.plan.edition, started.as_ref().map(|_| ()).map_err(Error::clone));
        drop(book);
        self.shared.news.send_replace(());
        started
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if !self.over {
            self.shared.gone_before_ready(&self.id());
        }
    }
}

/// Resolves when another kind of worker is to be tried out in the place of this one.
async fn trial(orders: &mut watch::Receiver<Orders>, worker: &WorkerId) -> Trying {
    let of_it = |orders: &Orders| orders.trial.as_ref().is_some_and(|trial| trial.is_due(worker));
    loop {
        // The sender lives in the book for as long as this task runs.
        let trial = orders.wait_for(of_it).await.ok().and_then(|orders| orders.trial.clone());
        if let Some(trial) = trial
            && let Some(told) = trial.begin()
        {
            return (trial.plan, told);
        }
    }
}

fn not_changed(shared: &Shared, kept: &WorkerId, error: &Error) {
    let pool = shared.pool.name();
    tracing::warn!(%pool, worker = %kept, %error, "a changed worker did not start; the old ones stay");
}

fn note_first(shared: &Shared, number: usize, started: &Result<Arc<dyn Worker>, Error>) {
    let mut book = shared.book();
    if let Err(error) = started {
        book.first_error.get_or_insert_with(|| error.clone());
    }
    if let Some(seat) = book.seat(number) {
        seat.state = if started.is_ok() { SeatState::Ready } else { SeatState::Failing };
    }
}

pub(super) fn crashed(shared: &Shared, number: usize, worker: &WorkerId, how: &str) {
    let pool = shared.pool.name();
    tracing::warn!(%pool, %worker, how, "worker died");
    let degraded = {
        let mut book = shared.book();
        if let Some(seat) = book.seat(number) {
            seat.crashes += 1;
            seat.last_failure = Some(how.to_owned());
        }
        book.crashes.note(Instant::now())
    };
    tell_degraded(shared, degraded);
}

fn failed(shared: &Shared, number: usize, error: Error, pause: Duration) {
    let pool = shared.pool.name();
    let (degraded, nobody) = {
        let mut book = shared.book();
        if let Some(seat) = book.seat(number) {
            seat.state = SeatState::Failing;
            seat.last_failure = Some(error.to_string());
            tracing::warn!(%pool, worker = %seat.worker, %error, ?pause, "worker did not start");
        }
        let nobody = book.count(SeatState::Failing) == book.staying().count();
        (book.crashes.note(Instant::now()), nobody)
    };
    tell_degraded(shared, degraded);
    if nobody {
        // No worker and none that might still come at its first try: waiting calls are told why.
        shared.pool.fail(error);
    }
}

fn not_replaced(shared: &Shared, number: usize, kept: &WorkerId, error: &Error, pause: Duration) {
    let pool = shared.pool.name();
    tracing::warn!(%pool, worker = %kept, %error, ?pause, "no replacement; the worker serves on");
    let degraded = {
        let mut book = shared.book();
        if let Some(seat) = book.seat(number) {
            seat.last_failure = Some(error.to_string());
        }
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
