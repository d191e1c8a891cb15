//! A pool is kept at its number of workers. Fake workers, paused time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snakepit_core::{
    BoxFuture, Call, CallId, CancelReason, Clock, Error, ErrorKind, Phase, Pool, PoolOptions,
    Profile, Reply, Seat, Slots, Worker, WorkerExit, WorkerInfo,
};
use snakepit_lifecycle::{SeatState, Supervisor, SupervisorOptions};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What becomes of one start.
enum Outcome {
    Ready,
    ReadyAfter(Duration),
    Fails,
    Hangs,
    /// Ready, and takes this long to stop.
    Stubborn(Duration),
}

/// Gives each start its outcome from the script, then `Ready` for ever.
struct Script {
    outcomes: Mutex<VecDeque<Outcome>>,
    started: mpsc::UnboundedSender<(Seat, Instant, Arc<Fake>)>,
    alive: Arc<AtomicUsize>,
}

type Started = mpsc::UnboundedReceiver<(Seat, Instant, Arc<Fake>)>;

fn script(outcomes: impl IntoIterator<Item = Outcome>) -> (Arc<Script>, Started) {
    let (started, received) = mpsc::unbounded_channel();
    let outcomes = Mutex::new(outcomes.into_iter().collect());
    (Arc::new(Script { outcomes, started, alive: Arc::default() }), received)
}

impl Profile for Script {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>> {
        let outcome = self.outcomes.lock().unwrap().pop_front().unwrap_or(Outcome::Ready);
        let started = self.started.clone();
        let alive = Arc::clone(&self.alive);
        Box::pin(async move {
            let stop_time = match outcome {
                Outcome::Ready => Duration::ZERO,
                Outcome::ReadyAfter(time) => {
                    tokio::time::sleep(time).await;
                    Duration::ZERO
                }
                Outcome::Fails => return Err(Error::new(ErrorKind::AdapterFailed, "no adapter")),
                Outcome::Hangs => std::future::pending().await,
                Outcome::Stubborn(time) => time,
            };
            let worker = Fake::new(seat.clone(), stop_time, alive);
            let _ = started.send((seat, Instant::now(), Arc::clone(&worker)));
            Ok(worker as Arc<dyn Worker>)
        })
    }
}

struct Fake {
    info: WorkerInfo,
    slots: Arc<dyn Slots>,
    stop_time: Duration,
    exit: watch::Sender<Option<WorkerExit>>,
    alive: Arc<AtomicUsize>,
}

impl Fake {
    fn new(seat: Seat, stop_time: Duration, alive: Arc<AtomicUsize>) -> Arc<Self> {
        alive.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            info: WorkerInfo::new(seat.worker_id(), "fake"),
            slots: Arc::new(NoSlots),
            stop_time,
            exit: watch::Sender::new(None),
            alive,
        })
    }

    fn die(&self) {
        self.exit.send_replace(Some(WorkerExit::Died("killed by the test".to_owned())));
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

struct NoSlots;

impl Slots for NoSlots {
    fn capacity(&self) -> usize {
        0
    }
    fn load(&self) -> usize {
        0
    }
    fn try_acquire(&self) -> bool {
        false
    }
    fn release(&self) {}
}

impl Worker for Fake {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }
    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }
    fn submit(&self, _: &Call, _: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        Err(reply)
    }
    fn cancel(&self, _: CallId, _: CancelReason) {}
    fn revoke(&self, _: &[CallId]) {}
    fn grant(&self, _: CallId, _: u32) {}
    fn flush(&self) {}
    fn stuck(&self, _: CallId) {}

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        let mut exit = self.exit.subscribe();
        Box::pin(async move {
            let exit = exit.wait_for(Option::is_some).await.map(|exit| exit.clone());
            exit.ok().flatten().unwrap_or(WorkerExit::Stopped)
        })
    }

    fn stop(&self, _: Duration) -> BoxFuture<'static, WorkerExit> {
        let time = self.stop_time;
        Box::pin(async move {
            tokio::time::sleep(time).await;
            WorkerExit::Stopped
        })
    }
}

fn pool() -> Pool {
    let runtime = Handle::current();
    Pool::new(PoolOptions::new("pool"), Clock::of_runtime(runtime.clone()), &runtime)
}

async fn supervise(pool: &Pool, profile: &Arc<Script>, n: usize) -> Result<Supervisor, Error> {
    let options = SupervisorOptions::new(n);
    Supervisor::start(pool.clone(), profile.clone(), options, &Handle::current()).await
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn workers_start_at_the_same_time_and_all_are_awaited() {
    let (profile, mut started) = script((0..4).map(|_| Outcome::ReadyAfter(SECOND)));
    let (pool, before) = (pool(), Instant::now());
    let supervisor = supervise(&pool, &profile, 4).await.unwrap();
    assert_eq!(before.elapsed(), SECOND);
    assert_eq!(pool.stats().workers, 4);
    let mut seats: Vec<_> = (0..4).map(|_| started.try_recv().unwrap().0.index).collect();
    seats.sort_unstable();
    assert_eq!(seats, [0, 1, 2, 3]);
    let status = supervisor.status();
    assert!(status.seats.iter().all(|seat| seat.state == SeatState::Ready));
    assert!(!status.degraded);
}

#[tokio::test(start_paused = true)]
async fn a_dead_worker_is_replaced_at_once_in_its_seat_and_pauses_grow() {
    let (profile, mut started) = script([]);
    let pool = pool();
    let supervisor = supervise(&pool, &profile, 2).await.unwrap();
    let first = [started.recv().await.unwrap(), started.recv().await.unwrap()];
    let (seat, mut since, mut worker) = first.into_iter().find(|(s, ..)| s.index == 1).unwrap();
    let mut pauses = Vec::new();
    for incarnation in 1..=6 {
        worker.die();
        let (next, at, replacement) = started.recv().await.unwrap();
        assert_eq!((next.index, next.incarnation), (seat.index, incarnation));
        pauses.push(at.duration_since(since).as_millis());
        (since, worker) = (at, replacement);
    }
    assert_eq!(pauses, [0, 100, 200, 400, 800, 1600]);
    let status = supervisor.status();
    assert!(status.degraded, "six crashes within a minute");
    assert_eq!(status.seats[1].crashes, 6);
    assert_eq!(status.seats[1].last_failure.as_deref(), Some("killed by the test"));
    tokio::time::sleep(120 * SECOND).await;
    assert!(!supervisor.status().degraded, "a label that fades");
    assert_eq!(pool.stats().workers, 2);
    worker.die();
    let (.., at) = started.recv().await.map(|(_, at, _)| ((), at)).unwrap();
    assert_eq!(at, Instant::now(), "it had been well, so the next came at once");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_start_says_why_and_leaves_nothing() {
    let (profile, _started) = script((0..3).map(|_| Outcome::Fails));
    let pool = pool();
    let error = supervise(&pool, &profile, 3).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(pool.stats().workers, 0, "nobody tries again");
}

#[tokio::test(start_paused = true)]
async fn what_did_not_start_is_tried_again_beside_what_did() {
    let (profile, _started) = script([Outcome::Ready, Outcome::Fails, Outcome::Fails]);
    let pool = pool();
    let supervisor = supervise(&pool, &profile, 2).await.unwrap();
    assert_eq!(pool.stats().workers, 1);
    let failing = &supervisor.status().seats[1];
    assert_eq!(failing.state, SeatState::Failing);
    assert_eq!(failing.last_failure.as_deref(), Some("no adapter"));
    tokio::time::sleep(SECOND).await;
    assert_eq!(pool.stats().workers, 2);
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_are_told_when_nobody_can_run_them() {
    use snakepit_core::{Codec, Payload, Request};
    let outcomes = [Outcome::Ready, Outcome::Fails, Outcome::Fails];
    let (profile, mut started) = script(outcomes);
    let pool = pool();
    let _supervisor = supervise(&pool, &profile, 1).await.unwrap();
    let call = pool.submit(Request::new("add", Payload::from_bytes(Codec::Raw, ""))).unwrap();
    started.recv().await.unwrap().2.die();
    let error = call.await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    started.recv().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_never_ready_times_out() {
    let (profile, _started) = script([Outcome::Hangs]);
    let before = Instant::now();
    let error = supervise(&pool(), &profile, 1).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Start));
    assert_eq!(error.details()["worker"], "pool.0.0");
    assert_eq!(before.elapsed(), 61 * SECOND, "a second for the profile's own account");
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_all_at_the_same_time() {
    let (profile, mut started) = script((0..3).map(|_| Outcome::Stubborn(2 * SECOND)));
    let pool = pool();
    let supervisor = supervise(&pool, &profile, 3).await.unwrap();
    while started.try_recv().is_ok() {}
    let before = Instant::now();
    supervisor.shutdown(10 * SECOND).await.unwrap();
    assert_eq!(before.elapsed(), 2 * SECOND);
    assert_eq!(pool.stats().workers, 0);
    assert_eq!(profile.alive.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_keeps_its_deadline_whatever_the_workers_do() {
    let outcomes = [Outcome::Stubborn(3600 * SECOND), Outcome::Ready];
    let (profile, mut started) = script(outcomes);
    let pool = pool();
    let supervisor = supervise(&pool, &profile, 2).await.unwrap();
    while started.try_recv().is_ok() {}
    let before = Instant::now();
    supervisor.shutdown(10 * SECOND).await.unwrap();
    assert_eq!(before.elapsed(), 10 * SECOND);
    assert_eq!(profile.alive.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_starts_and_pauses_too() {
    let (profile, _started) = script([Outcome::Ready, Outcome::Fails, Outcome::Hangs]);
    let supervisor = supervise(&pool(), &profile, 2).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let before = Instant::now();
    supervisor.shutdown(10 * SECOND).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_supervisor_leaves_no_worker() {
    let (profile, mut started) = script([]);
    let pool = pool();
    let supervisor = supervise(&pool, &profile, 3).await.unwrap();
    while started.try_recv().is_ok() {}
    drop(supervisor);
    assert_eq!(pool.stats().workers, 0);
    // Aborted tasks are dropped when the runtime comes to them.
    tokio::time::sleep(SECOND).await;
    assert_eq!(profile.alive.load(Ordering::Relaxed), 0);
}
