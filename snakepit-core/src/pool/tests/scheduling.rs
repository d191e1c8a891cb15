//! Who runs what, in which order, and what is refused.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::fake::*;
use crate::call::Request;
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::ids::WorkerId;
use crate::pool::{Pool, PoolOptions, Strategy};

#[tokio::test(start_paused = true)]
async fn a_call_reaches_a_worker_and_its_answer_the_caller() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let handle = pool.submit(request("add")).unwrap();
    assert!(worker.is_flushed(), "the link was woken");
    assert_eq!(worker.commands(), ["add"]);
    worker.finish(1);
    let completed = handle.await.unwrap();
    assert_eq!(completed.worker, WorkerId::from("w"));
    assert_eq!(completed.payload.decode::<u64>().unwrap(), 1);
    assert_eq!(worker.load(), 0);
}

#[test]
fn a_handle_can_be_awaited_without_any_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (pool, worker) = runtime.block_on(async { (pool(|_| {}), FakeWorker::new("w", 1)) });
    drop(runtime);
    pool.join(worker.clone());
    let handle = pool.submit(request("x")).unwrap();
    let thread = std::thread::spawn(move || worker.finish(1));
    assert_eq!(number(pollster::block_on(handle)), 1);
    thread.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_spread_over_workers_and_never_exceed_capacity() {
    let pool = pool(|_| {});
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 2));
    pool.join(a.clone());
    pool.join(b.clone());
    let handles: Vec<_> = (0..5).map(|_| pool.submit(request("x")).unwrap()).collect();
    assert_eq!((a.holds().len(), b.holds().len()), (1, 2));
    let stats = pool.stats();
    assert_eq!((stats.busy, stats.available, stats.queued), (3, 0, 2));
    for call in b.holds() {
        b.finish(call);
    }
    assert_eq!(b.holds(), [4, 5], "the line moves up in order");
    drop(handles);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_fills_uses_a_worker_up_before_the_next_one() {
    let pool = pool(|o| o.strategy = Strategy::Fill);
    let workers = ["a", "b", "c"].map(|id| FakeWorker::new(id, 2));
    workers.iter().for_each(|worker| pool.join(worker.clone()));
    let holds = || workers.each_ref().map(|worker| worker.holds());
    let _handles: Vec<_> = (0..3).map(|_| pool.submit(request("x")).unwrap()).collect();
    assert_eq!(holds(), [vec![1, 2], vec![3], vec![]]);
    workers[0].finish(1);
    let _fourth = pool.submit(request("x")).unwrap();
    assert_eq!(holds(), [vec![2, 4], vec![3], vec![]], "of equally busy ones the first");
    workers[0].finish(2);
    workers[0].finish(4);
    let _fifth = pool.submit(request("x")).unwrap();
    assert_eq!(holds(), [vec![], vec![3, 5], vec![]], "the one that serves is filled first");
    let _rest: Vec<_> = (0..4).map(|_| pool.submit(request("x")).unwrap()).collect();
    assert_eq!(holds(), [vec![6, 7], vec![3, 5], vec![8, 9]], "then the others");
    workers.iter().for_each(|worker| worker.holds().into_iter().for_each(|c| worker.finish(c)));
    pool.reconfigure(PoolOptions { strategy: Strategy::Spread, ..(*pool.options()).clone() });
    let _spread: Vec<_> = (0..3).map(|_| pool.submit(request("x")).unwrap()).collect();
    assert_eq!(holds(), [vec![10], vec![11], vec![12]]);
}

#[tokio::test(start_paused = true)]
async fn sessions_fill_a_worker_too_where_calls_do() {
    let homes = async |strategy| {
        let pool = pool(|o| o.strategy = strategy);
        let workers = ["a", "b"].map(|id| FakeWorker::new(id, 2));
        workers.iter().for_each(|worker| pool.join(worker.clone()));
        for (call, session) in (1..).zip(["one", "two", "three", "four"]) {
            let handle = pool.submit(session_request("x", session)).unwrap();
            workers.iter().filter(|w| w.holds() == [call]).for_each(|worker| worker.finish(call));
            assert_eq!(number(handle.await), call);
        }
        workers.map(|worker| worker.commands().len())
    };
    assert_eq!(homes(Strategy::Spread).await, [2, 2]);
    assert_eq!(homes(Strategy::Fill).await, [4, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_sealed_pool_ends_what_it_has_and_takes_nothing_more() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let handles: Vec<_> = (0..3).map(|_| pool.submit(request("x")).unwrap()).collect();
    pool.seal();
    assert_eq!(pool.submit(request("x")).err().unwrap().kind(), ErrorKind::PoolClosed);
    let mut drained = Box::pin(pool.drained());
    for (call, handle) in (1..).zip(handles) {
        assert!(futures_poll(&mut drained).is_pending(), "calls in line count");
        worker.finish(call);
        assert_eq!(number(handle.await), call);
    }
    drained.await;
    // Closed after that, it ends those that come back, too.
    pool.close();
    assert_eq!(pool.submit(request("x")).err().unwrap().kind(), ErrorKind::PoolClosed);
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn options_that_change_hold_for_what_comes_then() {
    let pool = pool(|options| options.queue_limit = 1);
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let running = pool.submit(request("x")).unwrap();
    let first = pool.submit(request("x")).unwrap();
    assert_eq!(pool.submit(request("x")).err().unwrap().kind(), ErrorKind::PoolSaturated);
    let mut options = PoolOptions::clone(&pool.options());
    options.name = "other".into();
    options.queue_limit = 2;
    options.call_timeout = Some(Duration::from_secs(7));
    pool.reconfigure(options);
    assert_eq!((pool.name().as_str(), pool.options().queue_limit), ("test", 2), "its name stays");
    let second = pool.submit(request("x")).unwrap();
    let late = second.await.unwrap_err();
    assert_eq!(late.kind().code(), "queue_timeout", "7 s are over");
    worker.finish(1);
    worker.finish(2);
    assert_eq!(
        (number(running.await), number(first.await)),
        (1, 2),
        "these have their old deadline"
    );
}

/// Wakes into a worker's view of the world: what had been dispatched when the caller was woken.
struct Observer {
    worker: Arc<FakeWorker>,
    seen: std::sync::Mutex<Vec<u64>>,
}

impl Wake for Observer {
    fn wake(self: Arc<Self>) {
        self.seen.lock().unwrap().extend(self.worker.holds());
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_call_is_on_its_way_before_the_caller_wakes() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut first = Box::pin(pool.submit(request("x")).unwrap());
    let _second = pool.submit(request("x")).unwrap();
    let observer = Arc::new(Observer { worker: worker.clone(), seen: Default::default() });
    let waker = observer.clone().into();
    assert!(matches!(first.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending));
    worker.finish(1);
    assert!(observer.seen.lock().unwrap().is_empty(), "the links have not had their turn yet");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(*observer.seen.lock().unwrap(), [2]);
}

#[tokio::test(start_paused = true)]
async fn answers_to_short_calls_are_told_a_few_at_a_time_while_many_wait() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut calls: Vec<_> = (0..40).map(|_| Box::pin(pool.submit(request("x")).unwrap())).collect();
    let mut told = |which: std::ops::Range<usize>| {
        let mut cx = Context::from_waker(Waker::noop());
        which.filter(|n| calls[*n].as_mut().poll(&mut cx).is_ready()).count()
    };
    // The first tells how long they take.
    worker.finish(1);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(told(0..1), 1);
    // With 37 in line: four together.
    for call in 2..=4 {
        worker.finish(call);
    }
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(told(1..4), 0, "three of four");
    worker.finish(5);
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(told(1..5), 4);
    // And none is left behind when no other comes.
    worker.finish(6);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(told(5..6), 1);
}

#[test]
fn an_answer_that_waits_for_the_links_survives_their_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let pool = Pool::new(PoolOptions::new("p"), Clock::system(), runtime.handle());
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut first = Box::pin(pool.submit(request("x")).unwrap());
    let mut second = Box::pin(pool.submit(request("x")).unwrap());
    worker.finish(1);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(first.as_mut().poll(&mut cx), Poll::Pending), "the links' thread never ran");
    drop(runtime);
    assert!(matches!(first.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    worker.finish(2);
    assert!(
        matches!(second.as_mut().poll(&mut cx), Poll::Ready(Ok(_))),
        "told at once from then on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_line_refuses_and_recovers() {
    let pool = pool(|o| o.queue_limit = 1);
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let _running = pool.submit(request("x")).unwrap();
    let waiting = pool.submit(request("x")).unwrap();
    assert_eq!(kind(pool.submit(request("x"))), ErrorKind::PoolSaturated);
    drop(waiting);
    let _next = pool.submit(request("x")).unwrap();
    assert_eq!(pool.stats().counters.saturated, 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_in_one_turn_and_each_call_stands_for_itself() {
    let pool = pool(|o| o.queue_limit = 1);
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut handles = pool.submit_many((0..3).map(|_| request("x")));
    assert_eq!(kind(handles.pop().unwrap()), ErrorKind::PoolSaturated);
    for (n, handle) in (1..).zip(handles) {
        worker.finish(n);
        assert_eq!(number(handle.unwrap().await), n);
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_share_a_busy_worker_fairly() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let _blocker = pool.submit(request("blocker")).unwrap();
    let mut handles: Vec<_> =
        (0..3).map(|_| pool.submit(session_request("greedy", "g")).unwrap()).collect();
    handles.push(pool.submit(session_request("modest", "m")).unwrap());
    for n in [1, 2, 5, 3, 4] {
        worker.finish(n);
    }
    assert_eq!(worker.commands(), ["blocker", "greedy", "modest", "greedy", "greedy"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_bound_to_a_worker_runs_there_or_says_why_not() {
    let pool = pool(|_| {});
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    pool.join(a.clone());
    pool.join(b.clone());
    let bound = || {
        let mut request = request("x");
        request.worker = Some(WorkerId::from("b"));
        request
    };
    let handle = pool.submit(bound()).unwrap();
    assert_eq!((a.holds(), b.holds()), (vec![], vec![1]));
    assert_eq!(kind(pool.submit(bound())), ErrorKind::WorkerBusy);
    b.give_back(1);
    assert_eq!(kind(handle.await), ErrorKind::WorkerLost { maybe_executed: false });
    b.refuse_from_now_on();
    assert_eq!(kind(pool.submit(bound())), ErrorKind::WorkerNotFound);
    pool.leave(&WorkerId::from("b"));
    assert_eq!(kind(pool.submit(bound())), ErrorKind::WorkerNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_worker_with_several_slots_is_at_capacity_when_all_are_taken() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 2);
    pool.join(worker.clone());
    let bound = || Request { worker: Some(WorkerId::from("w")), ..request("x") };
    let _running = [pool.submit(bound()).unwrap(), pool.submit(bound()).unwrap()];
    assert_eq!(kind(pool.submit(bound())), ErrorKind::WorkerAtCapacity);
    worker.finish(1);
    assert!(pool.submit(bound()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_free_slot_is_found_behind_any_number_of_smaller_workers_that_are_full() {
    let pool = pool(|_| {});
    let small: Vec<_> = (0..9).map(|n| FakeWorker::new(&format!("small {n}"), 1)).collect();
    let large = FakeWorker::new("large", 4);
    small.iter().for_each(|worker| pool.join(worker.clone()));
    pool.join(large.clone());
    let _running: Vec<_> = (0..13).map(|_| pool.submit(request("x")).unwrap()).collect();
    assert!(small.iter().all(|worker| worker.holds().len() == 1));
    assert_eq!((large.holds().len(), pool.stats().queued), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn arguments_over_the_limit_are_refused_at_the_door() {
    let pool = pool(|o| o.max_payload_bytes = 0);
    assert_eq!(kind(pool.submit(request("x"))), ErrorKind::PayloadTooLarge);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_what_waits_and_lets_what_runs_finish() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let running = pool.submit(request("x")).unwrap();
    let waiting = pool.submit(request("x")).unwrap();
    pool.close();
    assert_eq!(kind(waiting.await), ErrorKind::PoolClosed);
    assert_eq!(kind(pool.submit(request("x"))), ErrorKind::PoolClosed);
    let drained = tokio::spawn({
        let pool = pool.clone();
        async move { pool.drained().await }
    });
    settle().await;
    assert!(!drained.is_finished());
    worker.finish(1);
    assert_eq!(number(running.await), 1);
    drained.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_pool_says_so_at_once_until_a_worker_joins() {
    let pool = pool(|_| {});
    let waiting = pool.submit(request("x")).unwrap();
    pool.fail(crate::Error::new(ErrorKind::StartFailed, "no worker starts"));
    assert_eq!(kind(waiting.await), ErrorKind::StartFailed);
    assert_eq!(kind(pool.submit(request("x"))), ErrorKind::StartFailed);
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let handle = pool.submit(request("x")).unwrap();
    worker.finish(worker.holds()[0]);
    handle.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_serves_the_links_is_told_of_a_lone_call_and_of_its_end() {
    let lone_call = Arc::new(tokio::sync::Notify::new());
    let pool = pool(|o| o.lone_call = Some(lone_call.clone()));
    let worker = FakeWorker::new("w", 2);
    pool.join(worker.clone());
    let told = || {
        let mut notified = std::pin::pin!(lone_call.notified());
        notified.as_mut().enable()
    };

    let _one = pool.submit(request("one")).unwrap();
    assert!(told(), "sent alone");
    let _two = pool.submit(request("two")).unwrap();
    assert!(!told(), "in company");
    worker.finish(worker.holds()[0]);
    assert!(told(), "alone from now on");
    worker.finish(worker.holds()[0]);
    assert!(told(), "ended alone");
}
