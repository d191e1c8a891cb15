//! A pool is kept at its number of workers. Fake workers, paused time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use snakepit_core::testkit::{FakeProfile, Start};
use snakepit_core::{Clock, Error, ErrorKind, Phase, Pool, PoolOptions};
use snakepit_lifecycle::{SeatState, Supervisor, SupervisorOptions};
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Gives each start its outcome from the script, then `Ready` for ever. The workers have room for
/// no call.
fn script(starts: impl IntoIterator<Item = Start>) -> Arc<FakeProfile> {
    let profile = FakeProfile::new(0, Start::Ready);
    starts.into_iter().for_each(|start| profile.next(start));
    Arc::new(profile)
}

fn pool() -> Pool {
    let runtime = Handle::current();
    Pool::new(PoolOptions::new("pool"), Clock::of_runtime(runtime.clone()), &runtime)
}

async fn supervise(pool: &Pool, profile: &Arc<FakeProfile>, n: usize) -> Result<Supervisor, Error> {
    let options = SupervisorOptions::new(n);
    Supervisor::start(pool.clone(), profile.clone(), options, &Handle::current()).await
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn workers_start_at_the_same_time_and_all_are_awaited() {
    let profile = script((0..4).map(|_| Start::ReadyAfter(SECOND)));
    let (pool, before) = (pool(), Instant::now());
    let supervisor = supervise(&pool, &profile, 4).await.unwrap();
    assert_eq!(before.elapsed(), SECOND);
    assert_eq!(pool.stats().workers, 4);
    let mut seats: Vec<_> = profile.take_ready().iter().map(|ready| ready.seat.index).collect();
    seats.sort_unstable();
    assert_eq!(seats, [0, 1, 2, 3]);
    let status = supervisor.status();
    assert!(status.seats.iter().all(|seat| seat.state == SeatState::Ready));
    assert!(!status.degraded);
}

#[tokio::test(start_paused = true)]
async fn a_dead_worker_is_replaced_at_once_in_its_seat_and_pauses_grow() {
    let profile = script([]);
    let pool = pool();
    let supervisor = supervise(&pool, &profile, 2).await.unwrap();
    let mut last = profile.take_ready().into_iter().find(|ready| ready.seat.index == 1).unwrap();
    let mut pauses = Vec::new();
    for incarnation in 1..=6 {
        last.worker.die();
        let next = profile.next_ready().await;
        assert_eq!((next.seat.index, next.seat.incarnation), (1, incarnation));
        pauses.push(next.at.duration_since(last.at).as_millis());
        last = next;
    }
    assert_eq!(pauses, [0, 100, 200, 400, 800, 1600]);
    let status = supervisor.status();
    assert!(status.degraded, "six crashes within a minute");
    assert_eq!(status.seats[1].crashes, 6);
    assert_eq!(status.seats[1].last_failure.as_deref(), Some("killed by the test"));
    tokio::time::sleep(120 * SECOND).await;
    assert!(!supervisor.status().degraded, "a label that fades");
    assert_eq!(pool.stats().workers, 2);
    last.worker.die();
    let next = profile.next_ready().await;
    assert_eq!(next.at, Instant::now(), "it had been well, so the next came at once");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_start_says_why_and_leaves_nothing() {
    let profile = script((0..3).map(|_| Start::Fails));
    let pool = pool();
    let error = supervise(&pool, &profile, 3).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(pool.stats().workers, 0, "nobody tries again");
}

#[tokio::test(start_paused = true)]
async fn what_did_not_start_is_tried_again_beside_what_did() {
    let profile = script([Start::Ready, Start::Fails, Start::Fails]);
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
    let outcomes = [Start::Ready, Start::Fails, Start::Fails];
    let profile = script(outcomes);
    let pool = pool();
    let _supervisor = supervise(&pool, &profile, 1).await.unwrap();
    let call = pool.submit(Request::new("add", Payload::from_bytes(Codec::Raw, ""))).unwrap();
    profile.next_ready().await.worker.die();
    let error = call.await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    profile.next_ready().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_never_ready_times_out() {
    let profile = script([Start::Hangs]);
    let before = Instant::now();
    let error = supervise(&pool(), &profile, 1).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Start));
    assert_eq!(error.details()["worker"], "pool.0.0");
    assert_eq!(before.elapsed(), 61 * SECOND, "a second for the profile's own account");
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_all_at_the_same_time() {
    let profile = script((0..3).map(|_| Start::Stubborn(2 * SECOND)));
    let pool = pool();
    let supervisor = supervise(&pool, &profile, 3).await.unwrap();
    profile.forget_workers();
    let before = Instant::now();
    supervisor.shutdown(10 * SECOND).await.unwrap();
    assert_eq!(before.elapsed(), 2 * SECOND);
    assert_eq!(pool.stats().workers, 0);
    assert_eq!(profile.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_keeps_its_deadline_whatever_the_workers_do() {
    let outcomes = [Start::Stubborn(3600 * SECOND), Start::Ready];
    let profile = script(outcomes);
    let pool = pool();
    let supervisor = supervise(&pool, &profile, 2).await.unwrap();
    profile.forget_workers();
    let before = Instant::now();
    supervisor.shutdown(10 * SECOND).await.unwrap();
    assert_eq!(before.elapsed(), 10 * SECOND);
    assert_eq!(profile.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_starts_and_pauses_too() {
    let profile = script([Start::Ready, Start::Fails, Start::Hangs]);
    let supervisor = supervise(&pool(), &profile, 2).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let before = Instant::now();
    supervisor.shutdown(10 * SECOND).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_supervisor_leaves_no_worker() {
    let profile = script([]);
    let pool = pool();
    let supervisor = supervise(&pool, &profile, 3).await.unwrap();
    profile.forget_workers();
    drop(supervisor);
    assert_eq!(pool.stats().workers, 0);
    // Aborted tasks are dropped when the runtime comes to them.
    tokio::time::sleep(SECOND).await;
    assert_eq!(profile.alive(), 0);
}
