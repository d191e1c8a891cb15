//! Time: each timeout names its phase, a call past its deadline never starts, and a worker that
//! ignores a deadline is reported.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fake::*;
use crate::call::CancelReason;
use crate::error::{ErrorKind, Phase};
use crate::pool::Nesting;

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

#[tokio::test(start_paused = true)]
async fn calls_that_outlast_the_drain_time_are_cut_off_and_reported_when_stuck() {
    let pool = pool(|o| (o.cancel_grace, o.prefetch) = (Duration::from_secs(2), 4));
    let worker = FakeWorker::new("w", 2);
    pool.join(worker.clone());
    let [deaf, obedient, ahead] =
        ["deaf", "obedient", "ahead"].map(|command| pool.submit(request(command)).unwrap());
    let dropped = pool.submit(request("dropped")).unwrap();
    drop(dropped);
    pool.interrupt();
    assert_eq!(kind(deaf.await), ErrorKind::Timeout(Phase::Drain));
    assert_eq!(kind(obedient.await), ErrorKind::Timeout(Phase::Drain));
    assert_eq!(kind(ahead.await), ErrorKind::PoolClosed, "it had not started");
    let told = worker.cancelled();
    assert!([1, 2].iter().all(|call| told.contains(&(*call, CancelReason::Shutdown))), "{told:?}");
    worker.fail(2);
    for call in worker.take_revoked() {
        worker.give_back(call);
    }
    sleep(Duration::from_millis(1900)).await;
    assert!(worker.stuck_calls().is_empty(), "still within the grace period");
    sleep(Duration::from_millis(200)).await;
    assert_eq!(worker.stuck_calls(), [1]);
    let counters = pool.stats().counters;
    assert_eq!((counters.call_timeouts, counters.failed, counters.cancelled), (2, 1, 1));
    worker.finish(1);
    pool.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_nested_call_outlasts_the_drain_time_of_its_pool_while_others_wait_for_it() {
    let (jobs, nesting) = (Arc::new(Jobs::default()), Nesting::default());
    let outer = pool(|o| {
        o.tool_host = Some(jobs.clone());
        o.nesting = nesting.clone();
    });
    let inner = pool(|o| o.nesting = nesting);
    let (caller, callee) = (FakeWorker::new("outer-0", 1), FakeWorker::new("inner-0", 1));
    outer.join(caller.clone());
    inner.join(callee.clone());
    let _waits = outer.submit(request("x")).unwrap();
    caller.call_tool(1, 1, "lookup");
    let job = jobs.take();
    let nested = inner.submit(nested(&job, "y")).unwrap();
    inner.interrupt();
    assert!(callee.cancelled().is_empty());
    inner.interrupt_all();
    assert_eq!(callee.cancelled(), [(1, CancelReason::Shutdown)]);
    assert_eq!(kind(nested.await), ErrorKind::Timeout(Phase::Drain));
}
