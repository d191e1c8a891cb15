//! Dropping a handle at every stage of a call: the slot always comes back, exactly once.

use super::fake::*;
use crate::call::CancelReason;
use crate::error::ErrorKind;

/// The stages at which a caller may go away.
#[derive(Clone, Copy, Debug)]
enum At {
    Queued,
    Running,
    AfterDeadline,
    AfterAnswer,
    AfterFailure,
    AfterReturn,
    AfterClose,
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_returns_its_slot_at_every_stage() {
    use At::*;
    for at in [Queued, Running, AfterDeadline, AfterAnswer, AfterFailure, AfterReturn, AfterClose] {
        let pool = pool(|o| o.queue_timeout = None);
        let worker = FakeWorker::new("w", 1);
        pool.join(worker.clone());
        let blocker = matches!(at, Queued).then(|| pool.submit(request("blocker")).unwrap());
        let handle = pool.submit(request("x")).unwrap();
        let call = handle.id().get();
        match at {
            Queued | Running => {}
            AfterDeadline => {
                tokio::time::sleep(std::time::Duration::from_secs(301)).await;
            }
            AfterAnswer => worker.finish(call),
            AfterFailure => worker.fail(call),
            AfterReturn => {
                worker.refuse_from_now_on();
                worker.give_back(call);
            }
            AfterClose => pool.close(),
        }
        drop(handle);
        if let Some(blocker) = blocker {
            worker.finish(blocker.id().get());
            assert!(worker.holds().is_empty(), "{at:?}: a dropped call was dispatched");
        }
        for held in worker.holds() {
            let reasons: Vec<_> = worker.cancelled().iter().map(|(_, reason)| *reason).collect();
            let reason = if matches!(at, AfterDeadline) {
                CancelReason::Deadline
            } else {
                CancelReason::Dropped
            };
            assert_eq!(reasons, [reason], "{at:?}");
            assert_eq!(worker.load(), 1, "{at:?}: the slot is the running call's until it answers");
            worker.finish(held);
        }
        let stats = pool.stats();
        assert_eq!((worker.load(), stats.queued, stats.in_flight), (0, 0, 0), "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn polling_and_dropping_a_borrowed_handle_loses_nothing() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut handle = pool.submit(request("x")).unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(1), &mut handle).await;
    assert!(waited.is_err());
    worker.finish(1);
    assert_eq!(number(handle.await), 1);
    assert!(worker.cancelled().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_dropped_call_reaches_nobody() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    drop(pool.submit(request("first")).unwrap());
    let second = pool.submit(request("second")).unwrap();
    worker.finish(1);
    worker.finish(2);
    assert_eq!(number(second.await), 2);
    assert_eq!(pool.stats().counters.cancelled, 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_owns_a_handle_of_the_same_pool_can_be_dropped_anywhere() {
    // The progress handler keeps another call's handle alive; dropping it re-enters the pool.
    let pool = pool(|o| o.queue_limit = 1);
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let owning = |inner| {
        let mut request = request("outer");
        let inner = std::sync::Mutex::new(Some(inner));
        request.on_progress =
            Some(std::sync::Arc::new(move |_| drop(inner.lock().unwrap().take())));
        request
    };
    let inner = pool.submit(request("inner")).unwrap();
    let outer = pool.submit(owning(inner)).unwrap();
    let refused = pool.submit(owning(outer));
    assert_eq!(kind(refused), ErrorKind::PoolSaturated);
    worker.finish(1);
    assert_eq!(pool.stats().in_flight, 0);
}
