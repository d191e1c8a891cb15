//! Workers that die or refuse with calls in hand.

use super::fake::*;
use crate::error::ErrorKind;
use crate::ids::WorkerId;

#[tokio::test(start_paused = true)]
async fn started_calls_of_a_dead_worker_fail_and_others_run_elsewhere_unnoticed() {
    let pool = pool(|_| {});
    let a = FakeWorker::new("a", 2);
    pool.join(a.clone());
    let started = pool.submit(request("started")).unwrap();
    let unstarted = pool.submit(request("unstarted")).unwrap();
    a.refuse_from_now_on();
    drop(a.take(1));
    a.give_back(2);
    assert_eq!(kind(started.await), ErrorKind::WorkerLost { maybe_executed: true });
    pool.leave(&WorkerId::from("a"));
    assert_eq!(pool.stats().workers, 0);
    let b = FakeWorker::new("b", 1);
    pool.join(b.clone());
    assert_eq!(b.commands(), ["unstarted"]);
    b.finish(2);
    assert_eq!(number(unstarted.await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_back_stands_before_those_that_came_after_it() {
    let pool = pool(|_| {});
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    pool.join(a.clone());
    let _first = pool.submit(request("first")).unwrap();
    let _second = pool.submit(request("second")).unwrap();
    a.refuse_from_now_on();
    a.give_back(1);
    pool.join(b.clone());
    assert_eq!(b.commands(), ["first"]);
    b.finish(1);
    assert_eq!(b.commands(), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_refuses_gets_no_more_and_its_call_goes_elsewhere() {
    let pool = pool(|_| {});
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    pool.join(a.clone());
    pool.join(b.clone());
    a.refuse_from_now_on();
    let handle = pool.submit(request("x")).unwrap();
    b.finish(1);
    assert_eq!(number(handle.await), 1);
    assert_eq!((pool.stats().workers, a.load()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn leaving_ends_calls_the_worker_forgot() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let handle = pool.submit(request("x")).unwrap();
    pool.leave(&WorkerId::from("w"));
    assert_eq!(kind(handle.await), ErrorKind::WorkerLost { maybe_executed: true });
    worker.finish(1);
    assert_eq!(pool.stats().counters.completed, 0, "a late answer counts for nothing");
}
