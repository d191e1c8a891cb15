//! Calls that crash their workers.

use std::time::Duration;

use super::fake::*;
use crate::call::Request;
use crate::error::ErrorKind;
use crate::ids::WorkerId;
use crate::pool::{Pool, PoolOptions};
use crate::session::Affinity;
use crate::testkit::Told;

const TAINT: Duration = Duration::from_secs(60);

fn barrier(change: impl FnOnce(&mut PoolOptions)) -> Pool {
    pool(|options| {
        options.barrier = Some(TAINT);
        options.queue_timeout = None;
        change(options);
    })
}

fn twice(command: &str) -> Request {
    Request { idempotent: true, ..request(command) }
}

fn lost() -> ErrorKind {
    ErrorKind::WorkerLost { maybe_executed: true }
}

/// Takes workers of these ids in.
fn join<const N: usize>(pool: &Pool, ids: [&str; N]) -> [std::sync::Arc<FakeWorker>; N] {
    ids.map(|id| {
        let worker = FakeWorker::new(id, 1);
        pool.join(worker.clone());
        worker
    })
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_run_twice_moves_to_another_worker_once() {
    let told = Told::default();
    let _listening = told.listen();
    let pool = barrier(|_| {});
    let [a, b, c] = join(&pool, ["p.0.0", "p.1.0", "p.2.0"]);
    let handle = pool.submit(twice("risky")).unwrap();
    a.crash("SIGSEGV");
    assert_eq!(b.commands(), ["risky"], "unnoticed by its caller");
    b.crash("SIGABRT");
    assert_eq!(kind(handle.await), lost());
    assert!(c.commands().is_empty(), "once is enough");
    let counters = pool.stats().counters;
    assert_eq!((counters.moved, counters.tainted, counters.failed), (1, 2, 1));
    let text = told.text();
    assert!(text.contains("worker_id=p.0.0") && text.contains("command=risky"), "{text}");
    assert!(text.contains("moved=true") && text.contains("moved=false"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_strict_call_moves_with_no_crash_and_a_hint_keeps_away_from_the_tainted_seat() {
    let pool = barrier(|_| {});
    let [a, b] = join(&pool, ["p.0.0", "p.1.0"]);
    let strict = Request { idempotent: true, ..bound_request("s", Affinity::StrictQueue) };
    let lost_call = pool.submit(strict).unwrap();
    a.crash("SIGSEGV");
    assert_eq!(kind(lost_call.await), lost(), "its session was there and nowhere else");
    pool.leave(&WorkerId::from("p.0.0"));
    let [again] = join(&pool, ["p.0.1"]);
    // Away from the seat: both are idle, and the hint's home is where the command is tainted.
    let named = Request { worker: Some(WorkerId::from("p.0.1")), ..session_request("y", "h") };
    let _first = pool.submit(named).unwrap();
    again.finish(again.holds()[0]);
    let _steered = pool.submit(bound_request("h", Affinity::Hint)).unwrap();
    assert_eq!((again.holds().len(), b.holds().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_may_not_run_twice_or_was_no_crash_does_not_move() {
    let pool = barrier(|_| {});
    let [a, _b] = join(&pool, ["p.0.0", "p.1.0"]);
    let once = pool.submit(request("once")).unwrap();
    a.crash("SIGKILL");
    assert_eq!(kind(once.await), lost());
    let [c] = join(&pool, ["p.2.0"]);
    let ended = pool.submit(Request { worker: Some(WorkerId::from("p.2.0")), ..twice("x") });
    c.crash("SIGSEGV");
    assert_eq!(kind(ended.unwrap().await), lost(), "it was for this worker only");
    let [d] = join(&pool, ["p.3.0"]);
    let ended = pool.submit(Request { worker: Some(WorkerId::from("p.3.0")), ..twice("y") });
    let tainted = pool.stats().counters.tainted;
    d.crash("SIGTERM");
    assert_eq!(kind(ended.unwrap().await), lost());
    assert_eq!(pool.stats().counters.tainted, tainted, "somebody ended it");
}

#[tokio::test(start_paused = true)]
async fn a_tainted_seat_gets_no_more_of_that_command_until_the_time_is_over() {
    let pool = barrier(|_| {});
    let [a, b] = join(&pool, ["p.0.0", "p.1.0"]);
    let handle = pool.submit(request("risky")).unwrap();
    a.crash("SIGSEGV");
    assert_eq!(kind(handle.await), lost());
    pool.leave(&WorkerId::from("p.0.0"));
    let [again] = join(&pool, ["p.0.1"]);
    let _first = pool.submit(request("risky")).unwrap();
    let _second = pool.submit(request("risky")).unwrap();
    assert_eq!((b.commands(), again.commands().len()), (vec!["risky".to_owned()], 0));
    let _other = pool.submit(request("harmless")).unwrap();
    assert_eq!(again.commands(), ["harmless"], "it goes past those that wait for another worker");
    again.finish(4);
    tokio::time::advance(TAINT - Duration::from_millis(1)).await;
    settle().await;
    assert_eq!(again.commands(), ["harmless"]);
    tokio::time::advance(Duration::from_millis(1)).await;
    settle().await;
    assert_eq!(again.commands(), ["harmless", "risky"], "nothing but time has passed");
}

#[tokio::test(start_paused = true)]
async fn where_every_worker_is_tainted_any_of_them_will_do() {
    let pool = barrier(|_| {});
    let [a] = join(&pool, ["p.0.0"]);
    let handle = pool.submit(twice("risky")).unwrap();
    a.crash("SIGSEGV");
    pool.leave(&WorkerId::from("p.0.0"));
    let [again] = join(&pool, ["p.0.1"]);
    assert_eq!(again.commands(), ["risky"], "there is nobody else");
    again.finish(1);
    assert_eq!(number(handle.await), 1);
}

#[tokio::test(start_paused = true)]
async fn a_moved_call_keeps_its_deadline_and_waits_anew() {
    let pool = barrier(|options| options.queue_timeout = Some(Duration::from_secs(5)));
    let [a] = join(&pool, ["p.0.0"]);
    let timed = Request { timeout: Some(Duration::from_secs(30)), ..twice("slow") };
    let handle = pool.submit(timed).unwrap();
    tokio::time::advance(Duration::from_secs(27)).await;
    a.crash("SIGKILL");
    pool.leave(&WorkerId::from("p.0.0"));
    tokio::time::advance(Duration::from_secs(2)).await;
    settle().await;
    let [again] = join(&pool, ["p.0.1"]);
    assert_eq!(again.commands(), ["slow"], "it has waited for two of its five seconds");
    tokio::time::advance(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(kind(handle.await), ErrorKind::Timeout(crate::Phase::Call));
}

#[tokio::test(start_paused = true)]
async fn a_stream_moves_only_before_its_first_chunk() {
    let pool = barrier(|_| {});
    let [a, b, c] = join(&pool, ["p.0.0", "p.1.0", "p.2.0"]);
    let mut stream = pool.submit_stream(twice("count")).unwrap();
    a.crash("SIGSEGV");
    b.chunk(1, 7).unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().decode::<u64>().unwrap(), 7);
    b.end_stream(1);
    let mut stream = pool.submit_stream(twice("other")).unwrap();
    let (runs, other) = if b.holds().is_empty() { (c, b) } else { (b, c) };
    runs.chunk(2, 8).unwrap();
    runs.crash("SIGSEGV");
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(kind(stream.next().await.unwrap()), lost());
    assert!(other.holds().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_barrier_nothing_moves_and_nothing_is_kept() {
    let pool = pool(|_| {});
    let [a, b] = join(&pool, ["p.0.0", "p.1.0"]);
    let handle = pool.submit(twice("risky")).unwrap();
    a.crash("SIGSEGV");
    assert_eq!(kind(handle.await), lost());
    assert!(b.commands().is_empty());
    assert_eq!(pool.stats().counters.tainted, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_moves_when_its_session_is_over_gives_that_no_home() {
    let pool = barrier(|_| {});
    let [a, b] = join(&pool, ["p.0.0", "p.1.0"]);
    let call = Request { idempotent: true, ..session_request("x", "s") };
    let handle = pool.submit(call).unwrap();
    assert!(pool.end_session(&"s".into()));
    a.crash("SIGSEGV");
    assert_eq!(b.commands(), ["x"]);
    b.finish(1);
    handle.await.unwrap();
    // The session's place is free for another, which this worker knows nothing of.
    drop(pool.retire(&"p.1.0".into()));
    assert_eq!(pool.stats().sessions.moved, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_an_untainted_worker_is_let_go_when_that_retires() {
    let pool = barrier(|_| {});
    let [a, b] = join(&pool, ["p.0.0", "p.1.0"]);
    drop(pool.submit(twice("risky")).unwrap());
    a.crash("SIGSEGV");
    let [again] = join(&pool, ["p.0.1"]);
    let held = pool.submit(Request { worker: Some("p.1.0".into()), ..request("long") }).unwrap();
    let waits = pool.submit(request("risky")).unwrap();
    assert!(again.commands().is_empty(), "it waits for the other seat");
    drop(pool.retire(&"p.1.0".into()));
    assert_eq!(again.commands(), ["risky"], "now there is no other");
    drop((held, waits, b));
}
