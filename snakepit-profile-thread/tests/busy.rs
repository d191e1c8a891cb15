//! The link is looked after whatever the dispatch threads do.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{Running, free_threaded, shown, side_by_side, start, value, with_gil};

const BEAT: Duration = Duration::from_millis(50);

/// When the worker was heard of last.
fn seen(running: &Running) -> Option<Instant> {
    running.worker().last_seen.and_then(|ago| Instant::now().checked_sub(ago))
}

/// Waits for some signs of life that are new.
async fn beats(running: &Running) {
    for _ in 0..5 {
        let before = seen(running);
        running.until("it beats", |running| seen(running) > before.map(|at| at + BEAT / 2)).await;
    }
}

#[tokio::test]
async fn heartbeats_go_on_while_one_thread_holds_the_gil_and_another_waits_for_it() {
    let mut options = side_by_side(2);
    options.worker.python = with_gil();
    options.worker.heartbeat = BEAT;
    let running = start(options, 1).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("held");
    let _holding = running.submit("hold_gil", json!({"path": path}));
    shown(&path).await;
    // Its thread has read it, and drives no more: it cannot go on without the GIL.
    let _waiting = running.submit("pid", json!({}));
    beats(&running).await;
    // Dropping the pool ends the worker by force.
}

#[tokio::test]
async fn without_a_gil_the_other_threads_serve_on_beside_a_tool_that_never_lets_go() {
    let mut options = side_by_side(2);
    options.worker.python = free_threaded();
    options.worker.heartbeat = BEAT;
    let running = start(options, 1).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("held");
    let _holding = running.submit("hold_gil", json!({"path": path}));
    shown(&path).await;
    for _ in 0..200 {
        assert!(value::<u32>(running.submit("pid", json!({}))).await > 0);
    }
    beats(&running).await;
}
