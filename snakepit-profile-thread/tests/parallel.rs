//! Calls of one worker run at the same time, and know nothing of each other.

mod support;

use std::collections::BTreeSet;

use serde_json::json;
use snakepit_core::ErrorKind;
use support::{LONG, request, side_by_side, start, start_with, value, with_gil};
use tokio::time::timeout;

const THREADS: usize = 4;

#[tokio::test]
async fn a_worker_runs_as_many_calls_at_a_time_as_it_has_threads() {
    let running = start(side_by_side(THREADS), 1).await.unwrap();
    let worker = running.worker();
    assert_eq!(worker.capacity, THREADS);
    let said = |name: &str| worker.info.metadata[name].as_str();
    assert_eq!(worker.info.profile, "thread");
    assert_eq!((said("threads"), said("python.gil"), said("gil")), ("4", "false", "warn"));
    for round in 0..20 {
        let meeting = json!({"name": format!("round {round}"), "count": THREADS});
        let calls: Vec<_> = (0..THREADS).map(|_| running.submit("meet", meeting.clone())).collect();
        let mut threads = BTreeSet::new();
        for call in calls {
            threads.insert(value::<String>(call).await);
        }
        assert_eq!(threads.len(), THREADS, "each call has a thread of its own: {threads:?}");
    }
    running.shutdown().await;
}

#[tokio::test]
async fn a_worker_on_an_interpreter_with_a_gil_does_so_too() {
    let mut options = side_by_side(THREADS);
    options.worker.python = with_gil();
    let running = start(options, 1).await.unwrap();
    let meeting = json!({"name": "gil", "count": THREADS});
    let calls: Vec<_> = (0..THREADS).map(|_| running.submit("meet", meeting.clone())).collect();
    for call in calls {
        value::<String>(call).await;
    }
    running.shutdown().await;
}

#[tokio::test]
async fn coroutines_of_all_slots_share_one_loop_and_run_at_the_same_time() {
    let running = start(side_by_side(THREADS), 1).await.unwrap();
    for round in 0..5 {
        let meeting = json!({"name": format!("round {round}"), "count": THREADS});
        let call = || running.submit("meet_on_the_loop", meeting.clone());
        let calls: Vec<_> = (0..THREADS).map(|_| call()).collect();
        for call in calls {
            assert_eq!(value::<String>(call).await, "snakepit-loop");
        }
    }
    running.shutdown().await;
}

#[tokio::test]
async fn a_named_worker_whose_slots_are_all_taken_is_at_capacity() {
    let running = start(side_by_side(THREADS), 1).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (entered, gate) = (directory.path().join("entered"), directory.path().join("gate"));
    let holding = json!({"path": entered, "gate": gate});
    let calls: Vec<_> = (0..THREADS).map(|_| running.submit("until", holding.clone())).collect();
    let id = running.worker().info.id;
    let bound = || {
        let mut request = request("pid", json!({}));
        request.worker = Some(id.clone());
        request
    };
    let error = running.pool.submit(bound()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::WorkerAtCapacity);
    assert_eq!(error.kind().code(), "worker_at_capacity");
    std::fs::write(&gate, "").unwrap();
    for call in calls {
        value::<u32>(call).await;
    }
    assert!(value::<u32>(running.pool.submit(bound()).unwrap()).await > 0);
    running.shutdown().await;
}

#[tokio::test]
async fn calls_go_to_the_least_busy_of_several_workers() {
    let running = start(side_by_side(2), 2).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (entered, gate) = (directory.path().join("entered"), directory.path().join("gate"));
    let holding = json!({"path": entered, "gate": gate});
    let calls: Vec<_> = (0..4).map(|_| running.submit("until", holding.clone())).collect();
    let loads: Vec<_> = running.pool.workers().iter().map(|worker| worker.in_flight).collect();
    assert_eq!(loads, [2, 2]);
    std::fs::write(&gate, "").unwrap();
    for call in calls {
        value::<u32>(call).await;
    }
    running.shutdown().await;
}

#[tokio::test]
async fn each_call_has_its_own_context_and_its_own_variables() {
    let running = start(side_by_side(THREADS), 1).await.unwrap();
    let marks: Vec<_> =
        (0..40).map(|n| running.submit("mark", json!({"value": n.to_string()}))).collect();
    for mark in marks {
        assert_eq!(value::<String>(mark).await, "", "it was set by another call");
    }
    let calls: Vec<_> = (0..100).map(|_| running.submit("who", json!({}))).collect();
    for call in calls {
        let id = call.id().get();
        assert_eq!(value::<u64>(call).await, id, "it saw another call's context");
    }
    running.shutdown().await;
}

#[tokio::test]
async fn native_libraries_share_the_cores_and_the_pool_has_the_last_word() {
    let mut options = side_by_side(2);
    options.worker.env.push(("MKL_NUM_THREADS".to_owned(), "7".to_owned()));
    let running = start(options, 1).await.unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    let share = (cores / 2).max(1).to_string();
    for (name, expected) in [("OMP_NUM_THREADS", share.as_str()), ("MKL_NUM_THREADS", "7")] {
        let found: String = running.call("variable", json!({"name": name})).await;
        assert_eq!(found, expected, "{name}");
    }
    running.shutdown().await;
}

#[tokio::test]
async fn streams_of_both_kinds_run_side_by_side_and_wait_for_their_readers() {
    // Less credit than items: each stream has to wait, and to be woken for its own.
    let running = start_with(side_by_side(THREADS), 1, |pool| pool.stream_credit = 3).await;
    let running = running.unwrap();
    let commands = ["count", "count_on_the_loop", "count", "count_on_the_loop"];
    let mut streams: Vec<_> = commands
        .iter()
        .map(|command| running.pool.submit_stream(request(command, json!({"to": 200}))).unwrap())
        .collect();
    for expected in 0..200_u32 {
        for stream in &mut streams {
            let item = timeout(LONG, stream.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(item.decode::<u32>().unwrap(), expected);
        }
    }
    for stream in &mut streams {
        assert!(timeout(LONG, stream.next()).await.unwrap().is_none());
    }
    running.shutdown().await;
}

#[tokio::test]
async fn short_and_long_calls_by_the_thousand_are_each_answered_once() {
    let running = start(side_by_side(THREADS), 1).await.unwrap();
    // From far below to far above the millisecond after which somebody else drives the link.
    let rounds = [0, 100, 0, 40_000, 0, 0, 7_000, 0, 1_000, 90_000, 0, 0, 300, 20_000];
    let calls: Vec<_> = rounds
        .iter()
        .cycle()
        .take(1_000)
        .map(|rounds| (rounds, running.submit("burn", json!({"rounds": rounds}))))
        .collect();
    for (rounds, call) in calls {
        let expected = (0..*rounds).fold(0_u64, |sum, i| (sum * 31 + i) & 0xFFFF);
        assert_eq!(value::<u64>(call).await, expected);
    }
    // One at a time, each by whichever thread happens to drive.
    for _ in 0..300 {
        assert_eq!(running.call::<u64>("burn", json!({"rounds": 0})).await, 0);
    }
    let stats = running.pool.stats();
    assert_eq!((stats.counters.completed, stats.busy, stats.in_flight), (1_300, 0, 0));
    running.shutdown().await;
}
