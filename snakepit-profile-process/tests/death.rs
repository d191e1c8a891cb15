//! How workers die, and what their calls come to.

mod support;

use std::time::Duration;

use serde_json::json;
use snakepit_core::testkit::Told;
use snakepit_core::{CallEvent, CancelReason, ErrorKind, Profile, WorkerExit};
use support::{LONG, Sign, call, kill, profile, rough, seat, start};
use tokio::time::{Instant, timeout};

#[tokio::test]
async fn a_call_that_runs_when_its_worker_is_killed_fails_and_one_that_waits_returns() {
    let sign = Sign::new();
    let worker = start(rough()).await.unwrap();
    let arguments = json!({"path": sign.path(), "seconds": 1000});
    let running = call(&worker, "touch_and_nap", arguments);
    let mut waiting = call(&worker, "greet", json!({}));
    sign.opened().await;

    let killed = Instant::now();
    kill(worker.info().pid.unwrap(), "-KILL");
    let error = running.error().await;
    assert!(killed.elapsed() < Duration::from_secs(1), "took {:?}", killed.elapsed());
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    assert!(error.message().contains("SIGKILL"), "{error}");
    let event = waiting.last_event().await;
    assert!(matches!(event, CallEvent::Returned), "{event:?}");
    let WorkerExit::Died(how) = worker.exited().await else { panic!("not dead") };
    assert!(how.contains("SIGKILL"), "{how}");
}

#[tokio::test]
async fn a_crash_is_told_with_the_last_words() {
    let worker = start(rough()).await.unwrap();
    let error = call(&worker, "crash", json!({})).error().await;
    assert!(error.message().contains("SIGSEGV"), "{error}");
    assert!(error.message().contains("about to crash"), "{error}");
}

#[tokio::test]
async fn a_grandchild_that_holds_the_link_does_not_hold_up_the_caller() {
    let worker = start(rough()).await.unwrap();
    let before = Instant::now();
    let error = call(&worker, "orphan_and_crash", json!({})).error().await;
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    assert!(before.elapsed() < Duration::from_secs(5), "took {:?}", before.elapsed());
}

#[tokio::test]
async fn a_stuck_call_that_ignores_everything_is_shown_and_ended_by_force() {
    for tool in ["deaf", "deaf_and_busy"] {
        let told = Told::default();
        let _listening = told.listen();
        let sign = Sign::new();
        let worker = start(rough()).await.unwrap();
        let deaf = call(&worker, tool, json!({"path": sign.path()}));
        let call = deaf.id();
        sign.opened().await;
        worker.cancel(call, CancelReason::Deadline);
        worker.flush();
        worker.stuck(call);
        worker.stuck(call);
        let error = deaf.error().await;
        assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
        let pid = worker.info().pid.unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "not reaped");
        let WorkerExit::Died(how) = worker.exited().await else { panic!("not dead") };
        assert!(how.contains(&format!("call {call}")) && how.contains("SIGKILL"), "{how}");
        let told = told.text();
        // The innermost frame, and the event's other facts.
        for part in [&*format!(" in {tool}"), "pool.0.0", &*format!("call={call} ")] {
            assert!(told.contains(part), "no `{part}` in: {told}");
        }
    }
}

#[tokio::test]
async fn a_stop_that_is_ignored_keeps_its_time() {
    let sign = Sign::new();
    let worker = start(rough()).await.unwrap();
    let _deaf = call(&worker, "deaf", json!({"path": sign.path()}));
    sign.opened().await;
    let exit = timeout(Duration::from_secs(10), worker.stop(Duration::from_secs(1))).await;
    assert!(matches!(exit, Ok(WorkerExit::Died(_))), "{exit:?}");
}

#[tokio::test]
async fn a_frozen_worker_that_cannot_show_its_stacks_is_ended_all_the_same() {
    let told = Told::default();
    let _listening = told.listen();
    let sign = Sign::new();
    let worker = start(rough()).await.unwrap();
    let napping = call(&worker, "touch_and_nap", json!({"path": sign.path(), "seconds": 1000}));
    sign.opened().await;
    kill(worker.info().pid.unwrap(), "-STOP");
    worker.stuck(napping.id());
    let error = napping.error().await;
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    assert!(told.text().contains("(no more within 1s)"), "{}", told.text());
}

#[tokio::test]
async fn a_dropped_worker_leaves_no_process() {
    let profile = profile(rough());
    let worker = profile.start(seat(0)).await.unwrap();
    let pid = worker.info().pid.unwrap();
    drop(worker);
    timeout(LONG, profile.all_gone()).await.unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}
