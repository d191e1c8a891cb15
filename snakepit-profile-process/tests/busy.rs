//! The link is looked after whatever the tool does.

mod support;

use std::io::Read as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use snakepit_core::{CallEvent, CancelReason, ErrorKind, Worker};
use snakepit_profile_process::ProcessOptions;
use support::host::{host, nobody_holds};
use support::{InFlight, LONG, Sign, adapter, call, kill, python, start};
use tokio::time::{Instant, timeout};

fn busy() -> ProcessOptions {
    ProcessOptions::new(python(), adapter("busy.py"))
}

/// A call that has been entered and does not return by itself.
async fn endless(worker: &Arc<dyn Worker>, command: &str) -> InFlight {
    let sign = Sign::new();
    let running = call(worker, command, json!({"path": sign.path()}));
    sign.opened().await;
    running
}

#[tokio::test]
async fn a_cancel_reaches_a_tool_that_never_waits_and_one_that_only_sleeps() {
    let worker = start(busy()).await.unwrap();
    for command in ["spin", "doze", "doze_on_the_loop"] {
        let running = endless(&worker, command).await;
        worker.cancel(running.id(), CancelReason::Dropped);
        worker.flush();
        assert_eq!(running.error().await.kind(), ErrorKind::Cancelled, "{command}");
    }
}

#[tokio::test]
async fn calls_are_given_back_and_others_taken_while_a_tool_runs_that_holds_the_gil() {
    let worker = start(busy()).await.unwrap();
    let _running = endless(&worker, "hold_gil").await;
    // Each is answered before the next is sent, so the answers do not come with one another.
    for _ in 0..20 {
        let mut waiting = call(&worker, "burn", json!({"us": 0}));
        worker.revoke(&[waiting.id()]);
        worker.flush();
        let event = waiting.last_event().await;
        assert!(matches!(event, CallEvent::Returned), "{event:?}");
    }
}

#[tokio::test]
async fn a_worker_whose_tool_holds_the_gil_ends_with_its_host() {
    let sign = Sign::new();
    let mut host = host("host_of_a_held_gil");
    host.env("SNAKEPIT_TEST_SIGN", sign.path()).stdout(Stdio::null());
    let mut host = host.spawn().unwrap();
    let held = sign.opened().await;
    host.kill().unwrap();
    host.wait().unwrap();
    // The worker holds the other end for as long as it lives.
    nobody_holds(held).await;
}

/// No test: the host that the test above kills.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn host_of_a_held_gil() {
    let sign = std::env::var("SNAKEPIT_TEST_SIGN").unwrap();
    let worker = start(busy()).await.unwrap();
    let arguments = json!({"path": sign, "outlive_host": true});
    call(&worker, "hold_gil", arguments).error().await;
}

#[tokio::test]
async fn signal_handlers_of_the_adapter_run_soon_while_there_is_no_call() {
    // The second has taken the descriptor that wakes the worker.
    for env in [vec![], vec![("OWN_WAKE_UPS".to_owned(), String::new())]] {
        let mut options = busy();
        options.worker.env = env;
        let worker = start(options).await.unwrap();
        let sign = Sign::new();
        let showing = call(&worker, "show_signals", json!({"path": sign.path()}));
        let shown = sign.opened().await;
        showing.value::<()>().await;
        let before = Instant::now();
        for _ in 0..20 {
            kill(worker.info().pid.unwrap(), "-USR1");
            let mut one = shown.try_clone().unwrap();
            let seen = tokio::task::spawn_blocking(move || one.read_exact(&mut [0]));
            timeout(LONG, seen).await.unwrap().unwrap().unwrap();
        }
        // One that is not woken looks every other second, one that knows it five times a second.
        assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
        call(&worker, "burn", json!({"us": 0})).value::<u64>().await;
    }
}

#[tokio::test]
async fn short_and_long_calls_in_turns_lose_nothing() {
    let worker = start(busy()).await.unwrap();
    // Around the time after which another thread looks after the link, and far from it.
    let lengths_us = [0, 2_500, 0, 0, 900, 1_000, 1_100, 0, 1_500, 2_000, 2_100, 50, 0];
    let lengths_us = lengths_us.iter().cycle().take(400);
    for us in lengths_us.clone() {
        let burnt: u64 = call(&worker, "burn", json!({"us": us})).value().await;
        assert_eq!(burnt, *us);
    }
    let waiting: Vec<_> =
        lengths_us.map(|us| (us, call(&worker, "burn", json!({"us": us})))).collect();
    for (us, waiting) in waiting {
        let burnt: u64 = waiting.value().await;
        assert_eq!(burnt, *us);
    }
}

#[tokio::test]
async fn a_forked_child_that_returns_from_its_tool_leaves_the_link_alone() {
    let worker = start(busy()).await.unwrap();
    let child: u32 = call(&worker, "fork_and_return", json!({})).value().await;
    assert_ne!(child, 0);
    let code: i32 = call(&worker, "reap", json!({"pid": child})).value().await;
    assert_eq!(code, 1);
}
