//! Slots that are lent for what is no call.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::fake::*;
use crate::call::Request;
use crate::error::ErrorKind;
use crate::ids::WorkerId;
use crate::pool::Loan;

fn now<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_lent_slot_gets_no_call_and_the_line_gets_it_back() {
    let (pool, worker) = (pool(|_| {}), FakeWorker::new("w", 1));
    pool.join(worker.clone());
    let id = WorkerId::from("w");
    let loan: Loan = pool.borrow_slot(&id).await.unwrap();
    assert!(pool.borrow_slot(&id).await.is_none(), "one at a time");
    let call = pool.submit(request("x")).unwrap();
    let bound = pool.submit(Request { worker: Some(id.clone()), ..request("x") });
    assert_eq!(kind(bound.map(|_| ())), ErrorKind::WorkerBusy);
    assert_eq!((worker.holds().len(), pool.stats().queued), (0, 1));
    drop(loan);
    assert_eq!(worker.holds(), [1]);
    worker.finish(1);
    assert_eq!(number(call.await), 1);
    assert_eq!(worker.load(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_worker_lends_when_its_call_ends_although_others_wait() {
    let (pool, worker) = (pool(|_| {}), FakeWorker::new("w", 1));
    pool.join(worker.clone());
    let first = pool.submit(request("x")).unwrap();
    let second = pool.submit(request("x")).unwrap();
    let id = WorkerId::from("w");
    let mut asked = pin!(pool.borrow_slot(&id));
    assert!(now(asked.as_mut()).is_none());
    worker.finish(1);
    let loan = now(asked.as_mut()).unwrap().unwrap();
    assert_eq!((worker.holds().len(), worker.load()), (0, 1));
    drop(loan);
    worker.finish(2);
    assert_eq!((number(first.await), number(second.await)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn calls_handed_over_ahead_of_time_are_taken_back_and_no_more_come() {
    let (pool, worker) = (pool(|o| o.prefetch = 4), FakeWorker::new("w", 1));
    pool.join(worker.clone());
    // So that the command is known to be short.
    let known = pool.submit(request("x")).unwrap();
    worker.finish(1);
    number(known.await);
    let calls: Vec<_> = (0..4).map(|_| pool.submit(request("x")).unwrap()).collect();
    assert_eq!(worker.holds(), [2, 3, 4, 5]);
    let id = WorkerId::from("w");
    let mut asked = pin!(pool.borrow_slot(&id));
    assert!(now(asked.as_mut()).is_none());
    let mut revoked = worker.take_revoked();
    revoked.sort_unstable();
    assert_eq!(revoked, [3, 4, 5]);
    // One of them has started meanwhile.
    worker.give_back(4);
    worker.give_back(5);
    assert_eq!(worker.holds(), [2, 3], "they do not come back while a loan is asked for");
    worker.finish(2);
    assert!(now(asked.as_mut()).is_none(), "the one that started has the slot");
    worker.finish(3);
    let loan = now(asked.as_mut()).unwrap().unwrap();
    drop(loan);
    worker.finish(4);
    worker.finish(5);
    for (call, expected) in calls.into_iter().zip(2..) {
        assert_eq!(number(call.await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loan_that_is_given_up_or_whose_worker_goes_leaves_nothing_behind() {
    let (pool, worker) = (pool(|_| {}), FakeWorker::new("w", 1));
    pool.join(worker.clone());
    let id = WorkerId::from("w");
    let first = pool.submit(request("x")).unwrap();
    {
        let mut given_up = pin!(pool.borrow_slot(&id));
        assert!(now(given_up.as_mut()).is_none());
    }
    {
        // Granted at the moment in which it is given up.
        let mut given_up = pin!(pool.borrow_slot(&id));
        assert!(now(given_up.as_mut()).is_none());
        worker.finish(1);
    }
    number(first.await);
    let second = pool.submit(request("x")).unwrap();
    assert_eq!(worker.holds(), [2]);
    let mut asked = pin!(pool.borrow_slot(&id));
    assert!(now(asked.as_mut()).is_none());
    worker.finish(2);
    number(second.await);
    let loan = now(asked.as_mut()).unwrap();
    pool.leave(&id);
    drop(loan);
    assert!(pool.borrow_slot(&id).await.is_none());
    assert_eq!(worker.load(), 0);
}
