//! Time: each timeout names its phase, a call past its deadline never starts, and a worker that
//! ignores a deadline is reported.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fake::*;
use crate::call::CancelReason;
use crate::error::{ErrorKind, Phase};

#[tokio::test(start_paused = true)]
async fn waiting_too_long_in_line_is_a_queue_timeout() {
    let pool = pool(|_| {});
    let start = Instant::now();
    assert_eq!(kind(pool.submit(request("x")).unwrap().await), ErrorKind::Timeout(Phase::Queue));
    let waited = start.elapsed();
    assert!((10.0..10.1).contains(&waited.as_secs_f64()), "{waited:?}");
    assert_eq!(pool.stats().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_past_its_deadline_never_starts() {
    let pool = pool(|_| {});
    let mut late = request("late");
    late.timeout = Some(Duration::from_millis(50));
    assert_eq!(kind(pool.submit(late).unwrap().await), ErrorKind::Timeout(Phase::Queue));
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    assert!(worker.holds().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_running_call_times_out_keeps_its_slot_and_is_reported_when_stuck() {
    let pool = pool(|o| o.cancel_grace = Duration::from_secs(2));
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut slow = request("slow");
    slow.timeout = Some(Duration::from_secs(1));
    let handle = pool.submit(slow).unwrap();
    assert_eq!(kind(handle.await), ErrorKind::Timeout(Phase::Call));
    assert_eq!(worker.cancelled(), [(1, CancelReason::Deadline)]);
    assert_eq!(worker.load(), 1);
    sleep(Duration::from_millis(1900)).await;
    assert!(worker.stuck_calls().is_empty(), "still within the grace period");
    sleep(Duration::from_millis(200)).await;
    assert_eq!(worker.stuck_calls(), [1]);
    let next = pool.submit(request("next")).unwrap();
    worker.finish(1);
    worker.finish(2);
    assert_eq!(number(next.await), 2, "the late answer went nowhere");
    assert_eq!(pool.stats().counters.call_timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_obeys_in_time_is_left_alone() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut slow = request("slow");
    slow.timeout = Some(Duration::from_secs(1));
    assert!(pool.submit(slow).unwrap().await.is_err());
    worker.fail(1);
    sleep(Duration::from_secs(10)).await;
    assert!(worker.stuck_calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_that_ignores_its_deadline_is_stuck_too() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    drop(pool.submit(request("x")).unwrap());
    sleep(Duration::from_secs(303)).await;
    assert_eq!(worker.stuck_calls(), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_wakes_the_timer_early() {
    let pool = pool(|o| o.queue_timeout = None);
    let _long = pool.submit(request("long")).unwrap();
    settle().await;
    let start = Instant::now();
    let mut short = request("short");
    short.queue_timeout = Some(Duration::from_millis(5));
    assert!(pool.submit(short).unwrap().await.is_err());
    assert!(start.elapsed() < Duration::from_millis(50));
}
