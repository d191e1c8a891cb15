//! A profile that injects faults: what becomes of each start is scripted, and so is how its workers
//! behave. Everything that happens to them is in one log.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::lock;
use super::worker::{Alive, Conduct, FakeWorker};
use crate::error::{Error, ErrorKind};
use crate::worker::{BoxFuture, Profile, Seat, Worker};

/// What becomes of one start.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Start {
    /// The worker is ready at once.
    Ready,
    /// It is ready after this time.
    ReadyAfter(Duration),
    /// It is ready at once, and takes this long to stop.
    Stubborn(Duration),
    /// There is no worker, but an error.
    Fails,
    /// Nothing ever comes of it.
    Hangs,
}

/// A profile of [`FakeWorker`]s. Starts come out as scripted with [`next`](Self::next), and then as
/// it was made with.
pub struct FakeProfile {
    then: Start,
    capacity: usize,
    script: Mutex<VecDeque<Start>>,
    workers: Mutex<Vec<Arc<FakeWorker>>>,
    ready: (mpsc::UnboundedSender<Ready>, tokio::sync::Mutex<mpsc::UnboundedReceiver<Ready>>),
    conduct: Arc<Conduct>,
}

/// A worker that has become ready.
pub struct Ready {
    /// Where.
    pub seat: Seat,
    /// When.
    pub at: Instant,
    /// The worker.
    pub worker: Arc<FakeWorker>,
}

impl FakeProfile {
    /// Workers with room for so many calls, which a test answers.
    pub fn new(capacity: usize, then: Start) -> Self {
        let (sent, received) = mpsc::unbounded_channel();
        Self {
            then,
            capacity,
            script: Mutex::default(),
            workers: Mutex::default(),
            ready: (sent, received.into()),
            conduct: Arc::default(),
        }
    }

    /// Workers that serve: a call's command says how many milliseconds it takes, and its value is
    /// its number.
    pub fn serving(capacity: usize, then: Start) -> Self {
        let profile = Self::new(capacity, then);
        profile.conduct.serves.store(true, Ordering::Relaxed);
        *lock(&profile.conduct.private_bytes) = Some(0);
        profile
    }

    /// Says what becomes of the next start that nothing has been said about.
    pub fn next(&self, start: Start) {
        lock(&self.script).push_back(start);
    }

    /// What happened so far: `start`, `ready`, `measure`, `check` or `check busy`, `stop` or
    /// `stop busy`, each with the worker's id.
    pub fn log(&self) -> Vec<String> {
        lock(&self.conduct.log).clone()
    }

    /// The same, forgotten thereafter.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.conduct.log))
    }

    /// Workers and starts that exist.
    pub fn alive(&self) -> usize {
        self.conduct.alive()
    }

    /// The most of them there ever were.
    pub fn most(&self) -> usize {
        self.conduct.most_alive()
    }

    /// A worker, also one that is gone.
    ///
    /// # Panics
    /// If no worker with that id was ever started, or it was forgotten.
    pub fn worker(&self, id: &str) -> Arc<FakeWorker> {
        let workers = lock(&self.workers);
        let found = workers.iter().find(|worker| worker.info().id.as_str() == id);
        Arc::clone(found.unwrap_or_else(|| panic!("there was never a worker {id}")))
    }

    /// The next worker that has become ready, in the order they did.
    ///
    /// # Panics
    /// Never, as long as the profile is there.
    pub async fn next_ready(&self) -> Ready {
        self.ready.1.lock().await.recv().await.expect("the profile holds the other end")
    }

    /// Takes those that have become ready and were not taken yet.
    pub fn take_ready(&self) -> Vec<Ready> {
        let Ok(mut ready) = self.ready.1.try_lock() else {
            // Somebody waits for the next: there is none.
            return Vec::new();
        };
        std::iter::from_fn(|| ready.try_recv().ok()).collect()
    }

    /// Lets go of the workers, so that they end when whoever else has them does.
    pub fn forget_workers(&self) {
        lock(&self.workers).clear();
        self.take_ready();
    }

    /// What every worker says of its memory from now on.
    pub fn set_private_bytes(&self, bytes: Option<u64>) {
        *lock(&self.conduct.private_bytes) = bytes;
    }

    /// How long every worker takes from now on to say how it is, and what is wrong.
    pub fn set_health(&self, time: Duration, ill: Option<&'static str>) {
        *lock(&self.conduct.health) = (time, ill);
    }
}

impl Profile for FakeProfile {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>> {
        let start = lock(&self.script).pop_front().unwrap_or(self.then);
        let stop_time = if let Start::Stubborn(time) = start { time } else { Duration::ZERO };
        let (id, conduct) = (seat.worker_id(), Arc::clone(&self.conduct));
        let alive = Arc::new(Alive::new(&conduct));
        conduct.say("start", &id);
        let worker = FakeWorker::of(id.clone(), self.capacity, stop_time, conduct, alive.clone());
        let worker = Arc::new(worker);
        lock(&self.workers).push(Arc::clone(&worker));
        // A start that is dropped ends what it started.
        let starting = Starting(Some(alive));
        let (conduct, ready) = (Arc::clone(&self.conduct), self.ready.0.clone());
        Box::pin(async move {
            match start {
                Start::Ready | Start::Stubborn(_) => {}
                Start::ReadyAfter(time) => tokio::time::sleep(time).await,
                Start::Fails => return Err(Error::new(ErrorKind::AdapterFailed, "no adapter")),
                Start::Hangs => std::future::pending().await,
            }
            starting.succeeded();
            conduct.say("ready", &id);
            // Nobody can ask any more when the profile is gone.
            let _ = ready.send(Ready { seat, at: Instant::now(), worker: Arc::clone(&worker) });
            Ok(worker as Arc<dyn Worker>)
        })
    }
}

struct Starting(Option<Arc<Alive>>);

impl Starting {
    fn succeeded(mut self) {
        self.0 = None;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(alive) = &self.0 {
            alive.end();
        }
    }
}
