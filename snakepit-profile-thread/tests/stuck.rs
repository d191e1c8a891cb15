//! A call that does not end costs the other calls of its worker nothing, and its worker in the end.

mod support;

use std::time::Duration;

use serde_json::json;
use snakepit_core::testkit::Told;
use snakepit_core::{ErrorKind, Phase};
use support::{Running, shown, side_by_side, start_with, value};

const SHORT: Duration = Duration::from_millis(200);

/// Two threads, and little patience with calls that are cancelled.
async fn impatient() -> Running {
    let started = start_with(side_by_side(2), 1, |pool| pool.cancel_grace = SHORT).await;
    match started {
        Ok(running) => running,
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn the_worker_is_replaced_first_its_other_call_ends_and_then_it_is_ended() {
    let told = Told::default();
    let _listening = told.listen();
    let running = impatient().await;
    let old = running.worker();
    let directory = tempfile::tempdir().unwrap();
    let [entered, gate, stuck] =
        ["entered", "gate", "stuck"].map(|name| directory.path().join(name));
    let other = running.submit("until", json!({"path": entered, "gate": gate}));
    shown(&entered).await;
    let call = running.submit_for("never", json!({"path": stuck}), Some(SHORT));
    let id = call.id();
    shown(&stuck).await;
    assert_eq!(call.await.unwrap_err().kind(), ErrorKind::Timeout(Phase::Call));

    // The replacement serves while the old worker, its other call in it, is still there.
    running
        .until("another worker serves", |running| {
            let workers = running.pool.workers();
            workers.len() == 2 && workers.iter().any(|worker| worker.info.id != old.info.id)
        })
        .await;
    running.until("the old one is shut", |running| running.pool.stats().workers == 1).await;
    let new_pid: u32 = running.call("pid", json!({})).await;
    assert_ne!(Some(new_pid), old.info.pid);
    assert!(!told.text().contains("worker.stuck"), "it was ended before its other call");

    std::fs::write(&gate, "").unwrap();
    assert_eq!(Some(value::<u32>(other).await), old.info.pid, "it ended where it had begun");
    running.until("the old worker is gone", |running| running.pool.workers().len() == 1).await;
    let told = told.text();
    let event =
        told.lines().find(|line| line.contains("ignores its cancellation; ending")).unwrap();
    assert!(event.contains(&format!("call={id}")), "{event}");
    assert!(told.contains("in never"), "the stacks show where it was: {told}");
    let status = running.supervisor.status();
    assert_eq!((status.recycles.unfit, status.recycles.total()), (1, 1));
    running.shutdown().await;
}

#[tokio::test]
async fn a_worker_with_nothing_but_stuck_calls_is_ended_at_once() {
    let running = impatient().await;
    let old = running.worker();
    let directory = tempfile::tempdir().unwrap();
    for name in ["first", "second"] {
        let path = directory.path().join(name);
        let call = running.submit_for("never", json!({"path": path}), Some(SHORT));
        shown(&path).await;
        drop(call);
    }
    running
        .until("another worker has its place", |running| {
            let workers = running.pool.workers();
            workers.len() == 1 && workers[0].info.id != old.info.id
        })
        .await;
    assert!(running.call::<u32>("pid", json!({})).await > 0);
    running.shutdown().await;
}

#[tokio::test]
async fn a_coroutine_that_is_cancelled_lets_go_and_the_others_go_on() {
    let running = impatient().await;
    let old = running.worker();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("waiting");
    let waiting = running.submit_for("wait_on_the_loop", json!({"path": path}), None);
    shown(&path).await;
    let meeting = json!({"name": "beside", "count": 1});
    running.call::<String>("meet_on_the_loop", meeting).await;
    drop(waiting);
    running.until("its slot is free", |running| running.pool.stats().busy == 0).await;
    assert_eq!(running.worker().info.id, old.info.id, "nobody had to be replaced");
    running.shutdown().await;
}
