//! Where calls of sessions run, what becomes of them when their worker goes, and how sessions end.

use std::time::Duration;

use super::fake::*;
use crate::error::ErrorKind;
use crate::ids::{SessionId, WorkerId};
use crate::payload::{Codec, Payload};
use crate::session::Affinity::{Hint, StrictFailFast, StrictQueue};
use crate::testkit::Told;
use crate::worker::Worker;

fn id(text: &str) -> SessionId {
    SessionId::from(text)
}

/// A pool with two workers of one slot, `a` and `b`.
fn two() -> (crate::pool::Pool, std::sync::Arc<FakeWorker>, std::sync::Arc<FakeWorker>) {
    let pool = pool(|_| {});
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    pool.join(a.clone());
    pool.join(b.clone());
    (pool, a, b)
}

#[tokio::test(start_paused = true)]
async fn a_hint_call_goes_where_its_session_was_and_elsewhere_when_that_is_busy() {
    let (pool, a, b) = two();
    let _first = pool.submit(bound_request("s", Hint)).unwrap();
    a.finish(1);
    let _other = pool.submit(request("x")).unwrap();
    // Both are idle or busy alike; without affinity `a`, which is first, would take it.
    assert_eq!((a.holds(), b.holds()), (vec![2], vec![]));
    let _fallback = pool.submit(bound_request("s", Hint)).unwrap();
    assert_eq!(b.holds(), [3], "its worker is busy");
    a.finish(2);
    b.finish(3);
    let _next = pool.submit(bound_request("s", Hint)).unwrap();
    assert_eq!((a.holds(), b.holds()), (vec![], vec![4]), "the session has moved");
    let stats = pool.stats().sessions;
    assert_eq!((stats.begun, stats.kept, stats.strayed), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn sessions_spread_over_workers_though_their_calls_come_one_by_one() {
    let (pool, a, b) = two();
    for n in 1..=6 {
        let _call = pool.submit(bound_request(&n.to_string(), StrictQueue)).unwrap();
        [&a, &b].into_iter().for_each(|w| w.holds().into_iter().for_each(|call| w.finish(call)));
    }
    let at = |worker| {
        let homes = pool.sessions().into_iter().filter_map(|session| session.worker);
        homes.filter(|home| *home == WorkerId::from(worker)).count()
    };
    assert_eq!((at("a"), at("b")), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_strict_call_waits_for_its_worker_and_nobody_waits_behind_it() {
    let (pool, a, b) = two();
    let _first = pool.submit(bound_request("s", StrictQueue)).unwrap();
    let _waits = pool.submit(bound_request("s", StrictQueue)).unwrap();
    let _also = pool.submit(bound_request("s", StrictQueue)).unwrap();
    assert_eq!((a.holds(), b.holds()), (vec![1], vec![]));
    let _other = pool.submit(request("x")).unwrap();
    assert_eq!(b.holds(), [4], "a call of nobody's passes by");
    let _fifth = pool.submit(request("x")).unwrap();
    // Its turn came first.
    a.finish(1);
    assert_eq!(a.holds(), [2]);
    // Now the call without a session is first, for it has waited longer than a session's third.
    a.finish(2);
    assert_eq!(a.holds(), [5]);
    b.finish(4);
    assert_eq!(b.holds(), [] as [u64; 0], "the strict call waits on beside a free worker");
    a.finish(5);
    assert_eq!(a.holds(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_will_not_wait_finds_its_worker_busy() {
    let (pool, a, _b) = two();
    let _first = pool.submit(bound_request("s", StrictFailFast)).unwrap();
    assert_eq!(kind(pool.submit(bound_request("s", StrictFailFast))), ErrorKind::WorkerBusy);
    a.finish(1);
    let _next = pool.submit(bound_request("s", StrictFailFast)).unwrap();
    assert_eq!(a.holds(), [2]);
}

#[tokio::test(start_paused = true)]
async fn strict_calls_that_came_before_their_session_had_a_worker_hold_to_the_first_ones() {
    let pool = pool(|_| {});
    let first = pool.submit(bound_request("s", StrictQueue)).unwrap();
    let second = pool.submit(bound_request("s", StrictQueue)).unwrap();
    let hasty = pool.submit(bound_request("s", StrictFailFast)).unwrap();
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    pool.join(a.clone());
    pool.join(b.clone());
    assert_eq!((a.holds(), b.holds()), (vec![1], vec![]));
    assert_eq!(kind(hasty.await), ErrorKind::WorkerBusy);
    a.finish(1);
    assert_eq!(a.holds(), [2]);
    a.finish(2);
    assert_eq!((number(first.await), number(second.await)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_strict_calls_have_bound_is_not_moved_by_a_hint() {
    let (pool, a, b) = two();
    let _strict = pool.submit(bound_request("s", StrictQueue)).unwrap();
    let _hint = pool.submit(bound_request("s", Hint)).unwrap();
    assert_eq!(b.holds(), [2]);
    b.finish(2);
    a.finish(1);
    let _again = pool.submit(bound_request("s", StrictQueue)).unwrap();
    assert_eq!(a.holds(), [3]);
    let info = pool.session(&id("s")).unwrap();
    assert_eq!((info.worker, info.strict, info.calls), (Some(WorkerId::from("a")), true, 3));
}

#[tokio::test(start_paused = true)]
async fn recycling_moves_hint_sessions_and_tells_strict_ones_once() {
    let told = Told::default();
    let _listening = told.listen();
    let pool = pool(|_| {});
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    pool.join(a.clone());
    let _hint = pool.submit(bound_request("hint", Hint)).unwrap();
    a.finish(1);
    let running = pool.submit(bound_request("strict", StrictQueue)).unwrap();
    let in_line = pool.submit(bound_request("strict", StrictQueue)).unwrap();
    assert_eq!(a.holds(), [2]);
    pool.join(b.clone());
    drop(pool.retire(&a.info().id));
    assert_eq!(kind(in_line.await), ErrorKind::SessionWorkerUnavailable);
    a.finish(2);
    assert_eq!(number(running.await), 2, "what runs ends well");
    let _moved = pool.submit(bound_request("hint", Hint)).unwrap();
    assert_eq!(b.holds(), [4]);
    b.finish(4);
    // The call in line was told, so the next one binds the session anew.
    let _anew = pool.submit(bound_request("strict", StrictQueue)).unwrap();
    assert_eq!(b.holds(), [5]);
    assert_eq!(pool.session(&id("strict")).unwrap().worker, Some(WorkerId::from("b")));
    let stats = pool.stats().sessions;
    assert_eq!((stats.moved, stats.lost), (1, 1));
    assert!(told.text().contains("those bound to it are told"), "{}", told.text());
    assert!(told.text().contains("worker_id=a moved=1 lost=1"), "{}", told.text());
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_is_told_to_the_next_strict_call_and_hints_do_not_hide_it() {
    let (pool, a, b) = two();
    let running = pool.submit(bound_request("s", StrictQueue)).unwrap();
    drop(a.take(1));
    assert_eq!(kind(running.await), ErrorKind::WorkerLost { maybe_executed: true });
    pool.leave(&a.info().id);
    let _hint = pool.submit(bound_request("s", Hint)).unwrap();
    assert_eq!(b.holds(), [2]);
    b.finish(2);
    for affinity in [StrictQueue, StrictFailFast] {
        let refused = pool.submit(bound_request("s", affinity));
        if affinity == StrictQueue {
            assert_eq!(kind(refused), ErrorKind::SessionWorkerUnavailable);
        } else {
            drop(refused.unwrap());
        }
    }
    assert_eq!(b.holds(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_under_a_waiting_strict_call_ends_it_before_it_leaves() {
    let (pool, a, b) = two();
    let _running = pool.submit(bound_request("s", StrictQueue)).unwrap();
    let in_line = pool.submit(bound_request("s", StrictQueue)).unwrap();
    // It is dead, and nobody has noticed but for its calls.
    a.refuse_from_now_on();
    a.give_back(1);
    assert_eq!(kind(in_line.await), ErrorKind::SessionWorkerUnavailable);
    assert_eq!(b.holds(), [] as [u64; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_cancels_what_waits_and_lets_what_runs_finish() {
    let (pool, a, b) = two();
    let running = pool.submit(bound_request("s", StrictQueue)).unwrap();
    let waiting = pool.submit(bound_request("s", StrictQueue)).unwrap();
    assert!(pool.end_session(&id("s")));
    assert!(!pool.end_session(&id("s")), "it is over");
    assert_eq!(kind(waiting.await), ErrorKind::Cancelled);
    assert_eq!(a.take_ended_sessions(), ["s"]);
    assert!(a.is_flushed(), "the news was sent");
    // Another session of that name has no worker yet.
    let _anew = pool.submit(bound_request("s", StrictFailFast)).unwrap();
    assert_eq!((a.holds(), b.holds()), (vec![1], vec![3]));
    a.finish(1);
    assert_eq!(number(running.await), 1);
    assert!(pool.end_session(&id("s")));
    assert_eq!((a.take_ended_sessions(), b.take_ended_sessions()), (vec![], vec!["s".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_session_expires_where_it_was_and_not_while_a_call_is_under_way() {
    let (pool, a, b) = two();
    let _running = pool.submit(bound_request("s", Hint)).unwrap();
    let _elsewhere = pool.submit(bound_request("s", Hint)).unwrap();
    b.finish(2);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // Its timeout has passed; the worker has not let go of it.
    assert!(pool.session(&id("s")).is_some(), "a call of it is under way");
    a.finish(1);
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert!(pool.session(&id("s")).is_some());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(pool.session(&id("s")).is_none());
    assert_eq!(
        (a.take_ended_sessions(), b.take_ended_sessions()),
        (vec!["s".into()], vec!["s".into()])
    );
    assert_eq!(pool.stats().sessions.expired, 1);
}

#[tokio::test(start_paused = true)]
async fn one_session_too_many_is_refused_and_the_quota_is_told_of_before() {
    let told = Told::default();
    let _listening = told.listen();
    let pool = pool(|o| o.sessions.quota = 5);
    pool.join(FakeWorker::new("w", 9));
    let _calls: Vec<_> =
        (0..3).map(|n| pool.submit(bound_request(&n.to_string(), Hint)).unwrap()).collect();
    assert!(!told.text().contains("four fifths"), "{}", told.text());
    let value = || Payload::encode(Codec::MsgPack, &1).unwrap();
    pool.put_session_value(&id("3"), "x", value()).unwrap();
    assert!(told.text().contains("sessions=4 quota=5"), "{}", told.text());
    pool.put_session_value(&id("4"), "x", value()).unwrap();
    assert_eq!(kind(pool.submit(bound_request("5", Hint))), ErrorKind::SessionQuotaExceeded);
    assert_eq!(
        kind(pool.put_session_value(&id("5"), "x", value())),
        ErrorKind::SessionQuotaExceeded
    );
    assert!(pool.end_session(&id("4")));
    assert!(pool.submit(bound_request("5", Hint)).is_ok());
    assert_eq!(pool.stats().sessions.refused, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_a_session_belongs_to_it_alone_and_ends_with_it() {
    let pool = pool(|_| {});
    let value = |n: u8| Payload::encode(Codec::MsgPack, &n).unwrap();
    pool.put_session_value(&id("a"), "program", value(1)).unwrap();
    pool.put_session_value(&id("b"), "program", value(2)).unwrap();
    let read = |session| pool.session_value(&id(session), "program").map(|v| v.decode().unwrap());
    assert_eq!((read("a"), read("b"), read("c")), (Some(1_u8), Some(2), None));
    assert!(pool.take_session_value(&id("b"), "program").is_some());
    assert!(pool.end_session(&id("a")));
    assert_eq!((read("a"), read("b")), (None, None));
    assert_eq!(pool.sessions().iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_prefetched_to_a_worker_that_strict_calls_wait_for() {
    let pool = pool(|o| o.prefetch = 3);
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    // The command is known to be short.
    let _known = pool.submit(request("x")).unwrap();
    worker.finish(1);
    let _strict = pool.submit(bound_request("s", StrictQueue)).unwrap();
    let _waits = pool.submit(bound_request("s", StrictQueue)).unwrap();
    let _other = pool.submit(request("x")).unwrap();
    assert_eq!(worker.holds(), [2], "it would run before the one that waits");
    worker.finish(2);
    assert_eq!(worker.holds()[0], 3);
}
