//! Workers that are asked to go: no new calls, nothing lost, and an end that is told in time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::fake::*;
use crate::call::Request;
use crate::error::{ErrorKind, Phase};
use crate::ids::WorkerId;
use crate::pool::Pool;

fn id(worker: &str) -> WorkerId {
    WorkerId::from(worker)
}

fn is_ready(future: Pin<&mut impl Future<Output = ()>>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn one_worker(capacity: usize) -> (Pool, Arc<FakeWorker>) {
    let (pool, worker) = (pool(|_| {}), FakeWorker::new("old", capacity));
    pool.join(worker.clone());
    (pool, worker)
}

#[tokio::test(start_paused = true)]
async fn a_retiring_worker_ends_its_calls_and_gets_no_more() {
    let (pool, old) = one_worker(2);
    let (first, second) = (pool.submit(request("x")).unwrap(), pool.submit(request("x")).unwrap());
    let mut idle = pin!(pool.retire(&id("old")));
    let waiting = pool.submit(request("later")).unwrap();
    assert!(!is_ready(idle.as_mut()));
    old.finish(1);
    assert!(!is_ready(idle.as_mut()));
    assert_eq!(old.holds(), [2], "its free slot stays free");
    old.finish(2);
    assert!(is_ready(idle.as_mut()));
    assert_eq!((number(first.await), number(second.await)), (1, 2));
    let stats = pool.stats();
    assert_eq!((stats.workers, stats.queued, old.load()), (0, 1, 0));
    let new = FakeWorker::new("new", 1);
    pool.join(new.clone());
    new.finish(3);
    assert_eq!(number(waiting.await), 3);
}

#[tokio::test(start_paused = true)]
async fn an_idle_or_unknown_worker_retires_at_once_and_again() {
    let (pool, _old) = one_worker(1);
    assert!(is_ready(pin!(pool.retire(&id("old")))));
    assert!(is_ready(pin!(pool.retire(&id("old")))));
    assert!(is_ready(pin!(pool.retire(&id("nobody")))));
}

#[tokio::test(start_paused = true)]
async fn calls_bound_to_a_retiring_worker_are_refused() {
    let (pool, old) = one_worker(2);
    let bound = || Request { worker: Some(id("old")), ..request("x") };
    let running = pool.submit(bound()).unwrap();
    let mut idle = pin!(pool.retire(&id("old")));
    assert_eq!(kind(pool.submit(bound())), ErrorKind::WorkerNotFound);
    old.finish(1);
    assert!(is_ready(idle.as_mut()));
    assert_eq!(number(running.await), 1, "the one that ran goes on");
}

#[tokio::test(start_paused = true)]
async fn calls_lined_up_at_a_retiring_worker_return_to_their_places() {
    let pool = pool(|o| o.prefetch = 3);
    let old = FakeWorker::new("old", 1);
    pool.join(old.clone());
    let taught = pool.submit(request("fast")).unwrap();
    old.finish(1);
    taught.await.unwrap();
    let calls: Vec<_> = (0..5).map(|_| pool.submit(request("fast")).unwrap()).collect();
    assert_eq!(old.holds(), [2, 3, 4, 5]);
    let mut idle = pin!(pool.retire(&id("old")));
    let revoked = old.take_revoked();
    assert_eq!(revoked, [5, 4, 3]);
    // The worker may start one of them before it hears of that.
    old.finish(2);
    old.finish(3);
    for call in [5, 4] {
        assert!(!is_ready(idle.as_mut()));
        old.give_back(call);
    }
    assert!(is_ready(idle.as_mut()));
    let new = FakeWorker::new("new", 1);
    pool.join(new.clone());
    for call in [4, 5, 6] {
        assert_eq!(new.holds().first(), Some(&call), "the order is as before");
        new.finish(call);
    }
    for (call, expected) in calls.into_iter().zip(2..) {
        assert_eq!(number(call.await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_still_holds_a_retiring_worker_until_it_answers() {
    let (pool, old) = one_worker(1);
    let call = pool.submit(request("x")).unwrap();
    let mut idle = pin!(pool.retire(&id("old")));
    drop(call);
    assert_eq!(old.cancelled().len(), 1);
    assert!(!is_ready(idle.as_mut()));
    old.fail(1);
    assert!(is_ready(idle.as_mut()));
}

#[tokio::test(start_paused = true)]
async fn a_call_past_its_deadline_holds_a_retiring_worker_until_it_is_stuck() {
    let (pool, old) = one_worker(1);
    let timeout = Some(Duration::from_millis(50));
    let call = pool.submit(Request { timeout, ..request("x") }).unwrap();
    let mut idle = pin!(pool.retire(&id("old")));
    assert_eq!(kind(call.await), ErrorKind::Timeout(Phase::Call));
    assert!(!is_ready(idle.as_mut()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(old.stuck_calls(), [1], "after the grace the worker is told, retiring or not");
    assert!(is_ready(idle.as_mut()), "nobody waits for a call that does not end");
    old.finish(1);
    assert_eq!(old.load(), 0, "it did end after all");
}

#[tokio::test(start_paused = true)]
async fn leaving_and_closing_end_the_wait() {
    let (pool, old) = one_worker(1);
    let call = pool.submit(request("x")).unwrap();
    let mut idle = pin!(pool.retire(&id("old")));
    pool.leave(&id("old"));
    assert!(is_ready(idle.as_mut()));
    assert_eq!(kind(call.await), ErrorKind::WorkerLost { maybe_executed: true });
    drop(old);

    let (pool, old) = one_worker(1);
    let call = pool.submit(request("x")).unwrap();
    let mut idle = pin!(pool.retire(&id("old")));
    pool.close();
    assert!(!is_ready(idle.as_mut()), "a running call goes on");
    old.finish(1);
    assert!(is_ready(idle.as_mut()));
    assert_eq!(number(call.await), 1);
    pool.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_holds_a_retiring_worker_to_its_end() {
    let (pool, old) = one_worker(1);
    let mut stream = pool.submit_stream(request("x")).unwrap();
    let mut idle = pin!(pool.retire(&id("old")));
    old.chunk(1, 7).unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert!(!is_ready(idle.as_mut()));
    old.end_stream(1);
    assert!(is_ready(idle.as_mut()));
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_milestone_is_told_when_it_is_reached() {
    let (pool, old) = one_worker(1);
    assert!(is_ready(pin!(pool.served(&id("old"), 0))));
    assert!(is_ready(pin!(pool.served(&id("nobody"), 5))));
    let mut replaced = pin!(pool.served(&id("old"), 1));
    let mut second = pin!(pool.served(&id("old"), 2));
    assert!(is_ready(replaced.as_mut()));
    for n in 1..=2 {
        assert!(!is_ready(second.as_mut()));
        let call = pool.submit(request("x")).unwrap();
        if n == 1 {
            old.finish(n)
        } else {
            old.fail(n)
        }
        drop(call.await);
    }
    assert!(is_ready(second.as_mut()), "failed calls count too");
    assert_eq!((pool.served_by(&id("old")), pool.served_by(&id("nobody"))), (Some(2), None));
    let mut never = pin!(pool.served(&id("old"), 3));
    assert!(!is_ready(never.as_mut()));
    pool.leave(&id("old"));
    assert!(is_ready(never.as_mut()));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_stuck_does_not_hold_up_the_end_of_its_worker() {
    let (pool, old) = one_worker(2);
    let stuck = Request { timeout: Some(Duration::from_secs(1)), ..request("stuck") };
    let stuck = pool.submit(stuck).unwrap();
    let other = pool.submit(request("other")).unwrap();
    assert_eq!(kind(stuck.await), ErrorKind::Timeout(Phase::Call));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(old.stuck_calls(), [1]);
    let mut idle = pin!(pool.retire(&id("old")));
    assert!(!is_ready(idle.as_mut()), "the other call runs on");
    old.finish(2);
    assert!(is_ready(idle.as_mut()));
    assert_eq!(number(other.await), 2);
    assert_eq!(old.load(), 1, "its slot is gone with it");
}
