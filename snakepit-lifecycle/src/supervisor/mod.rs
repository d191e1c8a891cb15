//! Keeps one pool at its number of workers.
//!
//! Owns the seats of a pool, when a worker is replaced, and what people are told about it. How a
//! worker is made and ended is the profile's. Invariants: each seat has one task and at most one
//! worker; a worker that has joined the pool leaves it before its seat is filled again.

mod pace;
mod seat;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snakepit_core::{Error, ErrorKind, Pool, Profile, WorkerId};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use pace::Crashes;

/// How a pool is supervised.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisorOptions {
    /// Number of workers.
    pub workers: usize,
    /// Time a worker has to become ready.
    pub start_timeout: Duration,
}

impl SupervisorOptions {
    /// So many workers, each with a minute to become ready.
    pub fn new(workers: usize) -> Self {
        Self { workers, start_timeout: Duration::from_secs(60) }
    }
}

/// Starts, replaces and stops the workers of one pool.
///
/// Dropping it ends the workers by force, without waiting; [`shutdown`](Self::shutdown) is the
/// orderly way.
pub struct Supervisor {
    shared: Arc<Shared>,
    seats: JoinSet<()>,
}

/// What a seat is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeatState {
    /// A worker is being started.
    Starting,
    /// Its worker takes calls.
    Ready,
    /// Starting failed; it is or will be tried again.
    Failing,
    /// The supervisor has stopped it.
    Stopped,
}

/// One place in a pool and its worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeatStatus {
    /// Position in the pool.
    pub index: usize,
    /// What it is doing.
    pub state: SeatState,
    /// Its worker, or the one being started.
    pub worker: WorkerId,
    /// How many workers of this seat died after they had been ready.
    pub crashes: u64,
    /// What went wrong last; `None` if nothing did.
    pub last_failure: Option<String>,
}

/// How a pool's workers are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisorStatus {
    /// The seats, in order.
    pub seats: Vec<SeatStatus>,
    /// Whether there were five crashes or failed starts within the last minute. A label: dead
    /// workers are replaced all the same.
    pub degraded: bool,
}

/// What the seats' tasks and the supervisor's owner share.
struct Shared {
    pool: Pool,
    profile: Arc<dyn Profile>,
    options: SupervisorOptions,
    book: Mutex<Book>,
    /// The instant by which everything must have stopped, once it must.
    stop: watch::Sender<Option<Instant>>,
    /// Counts seats whose first worker has become ready or failed.
    settled: watch::Sender<usize>,
}

struct Book {
    seats: Vec<SeatStatus>,
    crashes: Crashes,
    first_error: Option<Error>,
    /// The supervisor was dropped.
    abandoned: bool,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        // Plain assignments only: a poisoned book is whole.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
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
        let seats = (0..workers).map(|index| SeatStatus {
            index,
            state: SeatState::Starting,
            worker: seat::of(&name, index, 0).worker_id(),
            crashes: 0,
            last_failure: None,
        });
        let book = Book {
            seats: seats.collect(),
            crashes: Crashes::default(),
            first_error: None,
            abandoned: false,
        };
        let shared = Arc::new(Shared {
            pool,
            profile,
            options,
            book: Mutex::new(book),
            stop: watch::Sender::new(None),
            settled: watch::Sender::new(0),
        });
        let mut settled = shared.settled.subscribe();
        let mut supervisor = Self { shared: Arc::clone(&shared), seats: JoinSet::new() };
        for index in 0..workers {
            supervisor.seats.spawn_on(seat::keep(Arc::clone(&shared), index), runtime);
        }
        // The sender lives in `shared`.
        let _ = settled.wait_for(|settled| *settled == workers).await;

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
        let book = self.shared.book();
        let degraded = book.crashes.degraded(Instant::now());
        SupervisorStatus { seats: book.seats.clone(), degraded }
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
        async move {
            let mut outcome = Ok(());
            while let Some(ended) = self.seats.join_next().await {
                if let Err(e) = ended {
                    let text = format!("a supervising task did not end by itself: {e}");
                    outcome = Err(Error::new(ErrorKind::Internal, text));
                }
            }
            outcome
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.seats.abort_all();
        // The tasks let go of their workers; so must the pool, whose calls could not end any more.
        let workers: Vec<_> = {
            let mut book = self.shared.book();
            book.abandoned = true;
            let ready = book.seats.iter_mut().filter(|seat| seat.state == SeatState::Ready);
            ready
                .map(|seat| {
                    seat.state = SeatState::Stopped;
                    seat.worker.clone()
                })
                .collect()
        };
        for worker in workers {
            self.shared.pool.leave(&worker);
        }
    }
}

impl Book {
    fn count(&self, state: SeatState) -> usize {
        self.seats.iter().filter(|seat| seat.state == state).count()
    }
}
