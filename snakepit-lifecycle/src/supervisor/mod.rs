//! Keeps one pool at its number of workers.
//!
//! Owns the seats of a pool, how many there are, when a worker is replaced, and what people are
//! told about it. How a worker is made and ended is the profile's. Invariants: each seat has one
//! task; there are never more workers than seats and `max_surge`; a worker leaves the pool before
//! its successor starts if it died, and after its successor has joined if it was recycled.

mod book;
mod crew;
mod due;
mod elastic;
mod farewell;
mod health;
mod index;
mod lead;
mod pace;
mod plan;
mod policy;
mod pulse;
mod rest;
mod seat;
mod state;
mod status;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snakepit_core::{Dice, Error, ErrorKind, Pool, Profile, WorkerId};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use book::Book;
pub use elastic::Elastic;
use lead::Lead;
use plan::Plan;
pub use policy::{Limits, NearLimits, RecycleReason};
use state::Step;
pub use state::WorkerState;
pub use status::{Exits, Recycles, SeatState, SeatStatus, SupervisorStatus, WorkerLife};

/// How a pool is supervised.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisorOptions {
    /// Number of workers to start with.
    pub workers: usize,
    /// Between which numbers the pool changes its size by itself; `None` keeps it as it is.
    pub elastic: Option<Elastic>,
    /// Time a worker has to become ready.
    pub start_timeout: Duration,
    /// After how much a worker is replaced.
    pub limits: Limits,
    /// The share, from 0 to 1, by which chance may shorten a worker's limits and the time between its
    /// checks.
    pub jitter: f64,
    /// Workers that may exist beside the pool's number while others are replaced; at least one.
    pub max_surge: usize,
    /// Time between two readings of a worker's memory, where that has a limit.
    pub memory_interval: Duration,
    /// Time between two signs of life of a worker. Three in a row that are five times as late end
    /// it; `None` never does.
    pub heartbeat: Option<Duration>,
    /// Time between two checks of a worker's own; three failed ones in a row replace it, and the
    /// second and third come after a tenth of this time. `None` never asks.
    pub health_interval: Option<Duration>,
    /// How long a replaced worker's calls may take before an event says so. They are never cut off.
    pub drain: Duration,
    /// Where the jitter's chance begins.
    pub seed: u64,
    /// The incarnation of the first workers: above all those of an earlier pool of the same name
    /// ([`Observer::incarnations`]), so that no worker's id comes twice.
    pub first_incarnation: u64,
}

impl SupervisorOptions {
    /// How many workers there may really be beside the pool's number.
    fn most_surge(&self) -> usize {
        self.max_surge.clamp(1, Semaphore::MAX_PERMITS)
    }

    /// So many workers without limits, each with a minute to become ready.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            elastic: None,
            start_timeout: Duration::from_secs(60),
            limits: Limits::default(),
            jitter: 0.1,
            max_surge: 1,
            memory_interval: Duration::from_secs(10),
            heartbeat: None,
            health_interval: None,
            drain: Duration::from_secs(25),
            seed: Dice::any_seed(),
            first_incarnation: 0,
        }
    }
}

/// Starts, replaces and stops the workers of one pool.
///
/// Dropping it ends the workers by force, without waiting; [`shutdown`](Self::shutdown) is the
/// orderly way.
pub struct Supervisor {
    shared: Arc<Shared>,
    /// Owns the seats' tasks.
    crew: JoinHandle<Result<(), Error>>,
}

/// Looks at a pool's workers, also when the supervisor is gone.
#[derive(Clone)]
pub struct Observer(Arc<Shared>);

impl Observer {
    /// How the workers are.
    pub fn status(&self) -> SupervisorStatus {
        let served = self.0.pool.loads().into_iter().map(|load| (load.worker, load.served));
        let served = served.collect();
        self.0.book().status(Instant::now(), &served, &self.0.plan().options.limits)
    }

    /// More than the incarnation of any worker there was.
    pub fn incarnations(&self) -> u64 {
        self.0.book().borne()
    }

    /// How many workers the pool has when all is well, or may grow to by itself.
    pub fn most_workers(&self) -> usize {
        self.0.most_workers()
    }
}

/// What the seats' tasks and the supervisor's owner share.
struct Shared {
    pool: Pool,
    plan: watch::Sender<Arc<Plan>>,
    /// How many editions of plans there were.
    editions: AtomicU64,
    book: Mutex<Book>,
    /// The instant by which everything must have stopped, once it must.
    stop: watch::Sender<Option<Instant>>,
    /// Counts seats whose first worker has become ready or failed.
    settled: watch::Sender<usize>,
    /// How many seats there are to be.
    wanted: watch::Sender<usize>,
    /// Sends when a worker has joined or is gone, and when a seat is.
    news: watch::Sender<()>,
    /// Room for workers beside the pool's number. First come, first served.
    surge: Arc<Semaphore>,
    /// Room for health checks at a time.
    checks: Semaphore,
    dice: Mutex<Dice>,
    /// How early replacements start.
    lead: Mutex<Lead>,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        // Plain assignments only: a poisoned book is whole.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Strikes a worker out that has ended so many calls.
    fn gone(&self, worker: &WorkerId, since: Instant, served: u64) {
        let mut book = self.book();
        book.outlived(&self.plan().options.limits, since.elapsed(), served);
        book.step(worker, Step::Exited);
        drop(book);
        self.news.send_replace(());
    }

    /// Takes a worker that is gone out of the pool; gives the calls it has ended. It is counted
    /// before: whoever finds it gone from the pool finds out why.
    fn left(&self, serving: &seat::Serving, count: impl FnOnce(&mut book::Book)) -> u64 {
        count(&mut self.book());
        let served = self.pool.served_by(&serving.id).unwrap_or_default();
        self.pool.leave(&serving.id);
        served
    }

    /// Strikes out a worker whose start was given up.
    fn gone_before_ready(&self, worker: &WorkerId) {
        self.book().step(worker, Step::StopAsked);
        self.news.send_replace(());
    }

    /// Strikes out a seat whose worker is gone for good.
    fn close_seat(&self, number: usize) {
        self.book().seats.remove(&number);
        self.news.send_replace(());
    }

    /// Whether no worker is to be had any more.
    fn is_over(&self) -> bool {
        self.stop.borrow().is_some() || self.book().abandoned
    }

    /// How many workers there may be, those on their way out included.
    fn most_workers(&self) -> usize {
        let wanted = *self.wanted.borrow();
        self.plan().options.elastic.map_or(wanted, |elastic| wanted.max(elastic.max_workers))
    }

    /// What is in force.
    fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }

    /// How early replacements start.
    fn lead(&self) -> MutexGuard<'_, Lead> {
        // One number: a poisoned one is whole.
        self.lead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits of a worker.
    fn draw_limits(&self, options: &SupervisorOptions) -> Limits {
        options.limits.shortened(options.jitter, || self.draw())
    }

    /// The error of whoever asks for something when no worker is to be had any more.
    fn stopping(&self) -> Error {
        let message = format!("pool `{}` is shutting down", self.pool.name());
        Error::new(ErrorKind::PoolClosed, message)
    }

    /// Follows a change of how many workers the settings want.
    fn resize(&self, before: &SupervisorOptions, now: &SupervisorOptions) {
        let mut wanted = *self.wanted.borrow();
        if before.workers != now.workers {
            wanted = now.workers;
        }
        if let Some(elastic) = now.elastic {
            wanted = wanted.clamp(elastic.min_workers.max(1), elastic.max_workers);
        } else if before.elastic.is_some() {
            // Where it had got to by itself means nothing any more.
            wanted = now.workers;
        }
        self.wanted.send_replace(wanted);
        self.news.send_replace(());
        self.pool.expect_workers(self.most_workers());
    }

    /// A time, shortened by chance.
    fn shorten(&self, time: Duration) -> Duration {
        policy::shorten(time, self.plan().options.jitter, || self.draw())
    }

    fn draw(&self) -> f64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    /// Orders workers to be replaced; resolves when they are gone.
    fn recycle(self: &Arc<Self>, workers: Vec<WorkerId>) -> impl Future<Output = ()> + use<> {
        let book = self.book();
        workers.iter().for_each(|worker| book.order(worker));
        drop(book);
        let shared = Arc::clone(self);
        async move {
            let mut news = shared.news.subscribe();
            let all_gone = |_: &()| {
                let book = shared.book();
                !workers.iter().any(|worker| book.knows(worker))
            };
            // The sender lives in `shared`.
            let _ = news.wait_for(all_gone).await;
        }
    }
}

impl Supervisor {
    /// Starts a pool's workers on `runtime` and resolves when each has become ready or failed once.
    /// Those that failed are tried again for as long as the supervisor lives.
    ///
    /// # Errors
    /// If no worker can be started: the first error met.
    ///
    /// # Cancel safety
    /// Dropping the future ends every worker that was started.
    pub async fn start(
        pool: Pool,
        profile: Arc<dyn Profile>,
        options: SupervisorOptions,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let workers = options.workers;
        let name = pool.name().clone();
        let surge = Arc::new(Semaphore::new(options.most_surge()));
        let dice = Mutex::new(Dice::seeded(options.seed));
        let shared = Arc::new(Shared {
            pool,
            book: Mutex::new(Book::new(options.first_incarnation)),
            plan: watch::Sender::new(Arc::new(Plan { profile, options, edition: 0 })),
            editions: AtomicU64::new(0),
            stop: watch::Sender::new(None),
            settled: watch::Sender::new(0),
            wanted: watch::Sender::new(workers),
            news: watch::Sender::new(()),
            surge,
            checks: Semaphore::new(health::AT_A_TIME),
            dice,
            lead: Mutex::default(),
        });
        shared.pool.expect_workers(shared.most_workers());
        let mut settled = shared.settled.subscribe();
        let crew = runtime.spawn(crew::lead(Arc::clone(&shared)));
        let supervisor = Self { shared: Arc::clone(&shared), crew };
        // The sender lives in `shared`.
        let _ = settled.wait_for(|settled| *settled >= workers).await;

        let (ready, first_error) = {
            let mut book = shared.book();
            (book.count(SeatState::Ready), book.first_error.take())
        };
        match first_error {
            Some(error) if ready == 0 => Err(error),
            Some(error) => {
                let missing = workers - ready;
                tracing::warn!(pool = %name, ready, missing, %error, "some workers did not start");
                Ok(supervisor)
            }
            None => Ok(supervisor),
        }
    }

    /// How the workers are.
    pub fn status(&self) -> SupervisorStatus {
        self.observer().status()
    }

    /// A way to look at the workers that outlives the supervisor.
    pub fn observer(&self) -> Observer {
        Observer(Arc::clone(&self.shared))
    }

    /// Has a worker replaced: another one starts in its seat and takes the calls, then this one ends
    /// what it has and goes. The future resolves when it is gone, however it went; a replacement
    /// that does not start is tried again for as long as it takes.
    ///
    /// # Errors
    /// `WorkerNotFound` if no running worker has this id.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: the worker is replaced all the same.
    pub fn recycle(
        &self,
        worker: &WorkerId,
    ) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
        if !self.shared.book().joined().contains(worker) {
            return Err(Error::new(
                ErrorKind::WorkerNotFound,
                format!("there is no running worker `{worker}`"),
            )
            .with_detail("worker", worker.as_str())
            .with_help("it may have been replaced: list the pool's workers"));
        };
        Ok(self.shared.recycle(vec![worker.clone()]))
    }

    /// Has every running worker replaced, as many at a time as `max_surge` allows. The future
    /// resolves when those that ran are gone.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: the workers are replaced all the same.
    pub fn recycle_all(&self) -> impl Future<Output = ()> + Send + use<> {
        let joined = self.shared.book().joined();
        self.shared.recycle(joined)
    }

    /// Changes how many workers the pool has. Missing ones are started at the same time; surplus ones
    /// take no more calls, end those they have, and go: those that are not ready first, then idle
    /// ones. The future resolves when the pool has so many ready workers and the surplus is gone, or
    /// when another number was asked for meanwhile. A worker that does not start is tried again for
    /// as long as it takes.
    ///
    /// While surplus workers still end their calls they count: a pool that grows again at that moment
    /// waits for them, so that there are never more workers than before. A pool that changes its size
    /// by itself goes on doing so from there.
    ///
    /// # Errors
    /// `InvalidConfig` for no worker at all, and for fewer or more than the bounds of a pool that
    /// changes its size by itself; the future's is `PoolClosed` if the supervisor stops
    /// first.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: the number holds all the same.
    pub fn scale(
        &self,
        workers: usize,
    ) -> Result<impl Future<Output = Result<(), Error>> + Send + use<>, Error> {
        let shared = Arc::clone(&self.shared);
        let bounds = shared.plan().options.elastic.map(|e| e.min_workers.max(1)..=e.max_workers);
        let bounds = bounds.unwrap_or(1..=usize::MAX);
        if !bounds.contains(&workers) {
            let message = format!("pool `{}` cannot have {workers} workers", shared.pool.name());
            let help = match workers {
                0 => "ask for at least one; to end all of them, shut the pool down".to_owned(),
                _ => format!("its bounds are {} and {}", bounds.start(), bounds.end()),
            };
            return Err(Error::new(ErrorKind::InvalidConfig, message).with_help(help));
        }
        shared.wanted.send_replace(workers);
        shared.pool.expect_workers(shared.most_workers());
        shared.news.send_replace(());
        Ok(async move {
            let mut news = shared.news.subscribe();
            let settled = |_: &()| {
                let wanted = *shared.wanted.borrow();
                shared.is_over() || wanted != workers || shared.book().is_of(workers)
            };
            // The sender lives in `shared`.
            let _ = news.wait_for(settled).await;
            if !shared.is_over() {
                return Ok(());
            }
            Err(shared.stopping())
        })
    }

    /// Looks after the pool by other options from now on. Workers stay what they are: their limits,
    /// their number and the checks on them follow; how they are made (their profile, their
    /// heartbeat) does not change for those there are.
    pub fn adjust(&self, profile: Arc<dyn Profile>, options: SupervisorOptions) {
        let before = self.shared.plan();
        let plan = Plan { profile, options: options.clone(), edition: before.edition };
        self.shared.plan.send_replace(Arc::new(plan));
        self.shared.resize(&before.options, &options);
    }

    /// Has workers made by another profile and other options from now on. One of them is tried out
    /// first: it starts in the place of a worker, which serves meanwhile. When it is ready the future
    /// resolves, and the others are replaced, as many at a time as `max_surge` allows; see
    /// [`rolled`](Self::rolled).
    ///
    /// # Errors
    /// Why the first of them did not start: nothing has changed then. `PoolClosed` if the supervisor
    /// stops.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the change comes into force.
    pub fn renew(
        &self,
        profile: Arc<dyn Profile>,
        options: SupervisorOptions,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let before = shared.plan().options.clone();
            // Relaxed: only its own order matters.
            let edition = shared.editions.fetch_add(1, Ordering::Relaxed) + 1;
            let plan = Arc::new(Plan { profile, options: options.clone(), edition });
            plan::try_out(&shared, &plan).await?;
            shared.resize(&before, &options);
            Ok(())
        }
    }

    /// Resolves when no worker is left that was made before the last [`renew`](Self::renew), or the
    /// supervisor stops.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: the workers are replaced all the same.
    pub fn rolled(&self) -> impl Future<Output = ()> + Send + use<> {
        plan::rolled(Arc::clone(&self.shared), self.shared.plan().edition)
    }

    /// Stops all workers at the same time and resolves when they are gone, at the latest after
    /// `deadline`: what is left then is ended by force. The pool should be closed before.
    ///
    /// # Errors
    /// `Internal` if the runtime ended first.
    ///
    /// # Cancel safety
    /// Dropping the future ends by force what has not stopped yet.
    pub fn shutdown(
        mut self,
        deadline: Duration,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.shared.stop.send_replace(Some(Instant::now() + deadline));
        self.shared.news.send_replace(());
        async move { (&mut self.crew).await.unwrap_or_else(|error| Err(crew::broken(&error))) }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.crew.abort();
        // The tasks let go of their workers; so must the pool, whose calls could not end any more.
        let workers: Vec<_> = {
            let mut book = self.shared.book();
            book.abandoned = true;
            for place in book.seats.values_mut() {
                place.status.state = SeatState::Stopped;
            }
            book.clear()
        };
        self.shared.news.send_replace(());
        for worker in workers {
            self.shared.pool.leave(&worker);
        }
    }
}
