//! One seat: its worker's life, death and replacement, as one task.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{Error, ErrorKind, Phase, PoolName, Seat, Worker, WorkerExit};
use tokio::sync::watch;
use tokio::time::Instant;

use super::pace::Backoff;
use super::{SeatState, Shared};

/// Of the time that is left for stopping, the part a worker gets to stop by itself. A profile may
/// take a quarter of that once more to use force.
const GRACE_SHARE: f64 = 0.75;

/// A profile that keeps the limit itself knows more about what went wrong; it may speak first.
const LAST_WORD: Duration = Duration::from_secs(1);

pub(super) fn of(pool: &PoolName, index: usize, incarnation: u64) -> Seat {
    Seat { pool: pool.clone(), index, incarnation }
}

/// Keeps a seat filled until the supervisor stops.
pub(super) async fn keep(shared: Arc<Shared>, index: usize) {
    let mut stop = shared.stop.subscribe();
    let mut backoff = Backoff::default();
    let mut settled = false;
    for incarnation in 0.. {
        let seat = of(shared.pool.name(), index, incarnation);
        let started = tokio::select! {
            started = start(&shared, seat) => started,
            _ = stop_asked(&mut stop) => break,
        };
        if !std::mem::replace(&mut settled, true) {
            // The book comes first: `start` reads it when the count is complete.
            note_first(&shared, index, &started);
            shared.settled.send_modify(|settled| *settled += 1);
        }
        let pause = match started {
            Ok(worker) => match serve(&shared, index, worker, &mut stop).await {
                ControlFlow::Continue(served) => backoff.after_death(served),
                ControlFlow::Break(()) => break,
            },
            Err(error) => {
                let pause = backoff.after_failed_start();
                failed(&shared, index, error, pause);
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop_asked(&mut stop) => break,
        }
    }
    shared.book().seats[index].state = SeatState::Stopped;
}

/// Resolves with the instant by which everything must have stopped.
async fn stop_asked(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let deadline = stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    match deadline {
        Some(deadline) => deadline,
        // The sender lives in the `Shared` this task holds.
        None => std::future::pending().await,
    }
}

async fn start(shared: &Shared, seat: Seat) -> Result<Arc<dyn Worker>, Error> {
    let worker = seat.worker_id();
    {
        let mut book = shared.book();
        let status = &mut book.seats[seat.index];
        status.worker = worker.clone();
        // A seat that is failing stays so until a worker is ready.
        if status.state == SeatState::Ready {
            status.state = SeatState::Starting;
        }
    }
    let limit = shared.options.start_timeout;
    match tokio::time::timeout(limit + LAST_WORD, shared.profile.start(seat)).await {
        Ok(started) => started,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout(Phase::Start),
            format!("worker {worker} was not ready within {limit:?}"),
        )
        .with_help("raise the pool's `start_timeout`, or do less in the adapter's setup")
        .with_detail("worker", worker.as_str())),
    }
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

/// Has a ready worker serve until it dies, or until the supervisor stops.
async fn serve(
    shared: &Shared,
    index: usize,
    worker: Arc<dyn Worker>,
    stop: &mut watch::Receiver<Option<Instant>>,
) -> ControlFlow<(), Duration> {
    let info = worker.info();
    let (id, pool) = (info.id.clone(), shared.pool.name());
    shared.book().seats[index].state = SeatState::Ready;
    tracing::info!(%pool, worker = %id, pid = info.pid, "worker ready");
    let since = Instant::now();
    let exited = worker.exited();
    shared.pool.join(Arc::clone(&worker));
    if shared.book().abandoned {
        // The supervisor was dropped meanwhile and may have looked before the worker was there.
        shared.pool.leave(&id);
        return ControlFlow::Break(());
    }
    tokio::select! {
        exit = exited => {
            shared.pool.leave(&id);
            let served = since.elapsed();
            match exit {
                WorkerExit::Died(how) => crashed(shared, index, &how),
                _ => {
                    shared.book().seats[index].state = SeatState::Starting;
                    tracing::info!(%pool, worker = %id, "worker stopped");
                }
            }
            ControlFlow::Continue(served)
        }
        deadline = stop_asked(stop) => {
            let grace = deadline.saturating_duration_since(Instant::now()).mul_f64(GRACE_SHARE);
            if tokio::time::timeout_at(deadline, worker.stop(grace)).await.is_err() {
                tracing::warn!(%pool, worker = %id, "worker did not stop in time and is ended");
            }
            // With the pool's handle and this one gone, nothing keeps the worker alive.
            shared.pool.leave(&id);
            ControlFlow::Break(())
        }
    }
}

fn crashed(shared: &Shared, index: usize, how: &str) {
    let pool = shared.pool.name();
    let degraded = {
        let mut book = shared.book();
        let seat = &mut book.seats[index];
        seat.state = SeatState::Starting;
        seat.crashes += 1;
        seat.last_failure = Some(how.to_owned());
        tracing::warn!(%pool, worker = %seat.worker, how, "worker died; replacing it");
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

fn tell_degraded(shared: &Shared, degraded: bool) {
    if degraded {
        let pool = shared.pool.name();
        tracing::warn!(%pool, "pool is degraded: its workers keep dying; they are replaced still");
    }
}
