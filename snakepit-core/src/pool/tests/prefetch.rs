//! Calls handed out ahead of time: only when that is known to be harmless, and taken back when it
//! turns out not to be.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{advance, sleep};

use super::fake::*;
use crate::ids::WorkerId;
use crate::pool::{CallHandle, Pool};

/// A pool whose estimate of `fast` is 20 µs, of `medium` 300 µs and of `slow` 200 ms.
fn trained(workers: &[&Arc<FakeWorker>]) -> Pool {
    let pool = pool(|o| o.prefetch = 3);
    let teacher = FakeWorker::new("teacher", 1);
    pool.join(teacher.clone());
    for (command, run_time) in [("fast", 20), ("medium", 300), ("slow", 200_000)] {
        let handle = pool.submit(request(command)).unwrap();
        teacher.finish_after(handle.id().get(), Duration::from_micros(run_time));
    }
    pool.leave(&WorkerId::from("teacher"));
    for worker in workers {
        pool.join(Arc::clone(worker) as _);
    }
    pool
}

fn submit(pool: &Pool, command: &str, count: usize) -> Vec<CallHandle> {
    (0..count).map(|_| pool.submit(request(command)).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn short_calls_are_lined_up_at_busy_workers_up_to_the_limit() {
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    let pool = trained(&[&a, &b]);
    let _calls = submit(&pool, "fast", 10);
    assert_eq!((a.holds().len(), b.holds().len()), (4, 4));
    assert_eq!((a.load(), b.load()), (1, 1), "prefetched calls hold no slot");
    assert_eq!(pool.stats().queued, 2);
    let first = a.holds()[0];
    a.finish(first);
    assert_eq!(a.holds().len(), 4, "the slot passed on and the line moved up");
    assert_eq!(a.load(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_slot_of_a_worker_may_have_calls_lined_up_behind_it() {
    let worker = FakeWorker::new("w", 2);
    let pool = trained(&[&worker]);
    let _calls = submit(&pool, "fast", 10);
    assert_eq!((worker.holds().len(), worker.load()), (8, 2));
    let wide = FakeWorker::new("wide", 4);
    let pool = trained(&[&wide]);
    // Of 300 µs each: four run, and no slot has more than a millisecond's worth.
    let _calls = submit(&pool, "medium", 20);
    assert_eq!(wide.holds().len(), 13);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lined_up_behind_slow_unknown_or_streaming_calls() {
    for command in ["slow", "unknown", "stream"] {
        let worker = FakeWorker::new("w", 1);
        let pool = trained(&[&worker]);
        let _stream = (command == "stream").then(|| pool.submit_stream(request("fast")).unwrap());
        let _call = (command != "stream").then(|| pool.submit(request(command)).unwrap());
        let _waiting = submit(&pool, "fast", 2);
        assert_eq!(worker.holds().len(), 1, "behind {command}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_unknown_session_and_urgent_calls_are_never_lined_up() {
    let worker = FakeWorker::new("w", 1);
    let pool = trained(&[&worker]);
    let _running = submit(&pool, "fast", 1);
    for mut unfit in
        [request("slow"), request("unknown"), session_request("fast", "s"), request("fast")]
    {
        if unfit.session.is_none() && &*unfit.command == "fast" {
            unfit.timeout = Some(Duration::from_millis(5));
        }
        let _waiting = pool.submit(unfit).unwrap();
        assert_eq!(worker.holds().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_call_that_turns_out_slow_runs_elsewhere() {
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    let pool = trained(&[&a, &b]);
    let handles = submit(&pool, "fast", 4);
    let waiting = a.holds()[1];
    let first_of_b = b.holds()[0];
    b.finish(first_of_b);
    sleep(Duration::from_millis(3)).await;
    assert_eq!(a.take_revoked(), [waiting]);
    a.give_back(waiting);
    let second_of_b = b.holds()[0];
    b.finish(second_of_b);
    assert_eq!(b.holds(), [waiting], "it went to the worker that is free");
    assert_eq!(pool.stats().counters.returned, 1);
    drop(handles);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_call_that_had_started_after_all_just_ends() {
    let worker = FakeWorker::new("w", 1);
    let pool = trained(&[&worker]);
    let mut handles = submit(&pool, "fast", 2);
    sleep(Duration::from_millis(3)).await;
    let second = handles.pop().unwrap();
    let (one, two) = (worker.holds()[0], worker.holds()[1]);
    assert_eq!(worker.take_revoked(), [two]);
    worker.finish(one);
    worker.finish(two);
    assert_eq!(number(second.await), two);
    assert_eq!(worker.load(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stays_free_takes_what_would_wait_long_elsewhere() {
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    let pool = trained(&[&a]);
    let _handles = submit(&pool, "medium", 3);
    pool.join(b.clone());
    assert!(a.take_revoked().is_empty(), "whoever submits next fills it sooner");
    advance(Duration::from_micros(250)).await;
    let (first, last) = (a.holds()[0], a.holds()[2]);
    a.finish(first);
    assert_eq!(a.take_revoked(), [last], "it would wait 300 µs more");
    a.finish(a.holds()[0]);
    assert!(a.take_revoked().is_empty(), "one is on its way to the one free slot");
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_lined_up_call_leaves_the_running_one_its_slot() {
    let worker = FakeWorker::new("w", 1);
    let pool = trained(&[&worker]);
    let mut handles = submit(&pool, "fast", 2);
    drop(handles.pop());
    let lined_up = worker.holds()[1];
    worker.fail(lined_up);
    assert_eq!(worker.load(), 1);
    worker.finish(worker.holds()[0]);
    assert_eq!(worker.load(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_takes_lined_up_calls_back_and_ends_them() {
    let worker = FakeWorker::new("w", 1);
    let pool = trained(&[&worker]);
    let mut handles = submit(&pool, "fast", 2);
    pool.close();
    let lined_up = worker.take_revoked();
    worker.give_back(lined_up[0]);
    assert_eq!(kind(handles.pop().unwrap().await), crate::ErrorKind::PoolClosed);
}
