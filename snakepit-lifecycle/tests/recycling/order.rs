//! The order of events is the promise.

use std::time::Duration;

use snakepit_core::WorkerId;
use snakepit_lifecycle::WorkerState;
use tokio::time::{Instant, sleep};

use crate::fake::*;

#[tokio::test(start_paused = true)]
async fn the_replacement_is_ready_before_the_old_worker_drains_and_stops() {
    let World { pool, script, supervisor } = world(1, |_| {}).await;
    let long = tokio::spawn(call(&pool, 5000));
    tokio::task::yield_now().await;
    let old = WorkerId::from("p.0.0");
    let gone = tokio::spawn(supervisor.recycle(&old).unwrap());
    let state = |worker: &str| {
        let workers = supervisor.status().workers;
        workers.iter().find(|w| w.worker.as_str() == worker).map(|w| w.state)
    };
    sleep(SECOND / 2).await;
    assert_eq!(state("p.0.0"), Some(WorkerState::Due));
    assert_eq!(state("p.1.0"), Some(WorkerState::Starting));
    assert_eq!(pool.stats().workers, 1, "it takes calls until its replacement is ready");
    sleep(SECOND).await;
    assert_eq!(state("p.0.0"), Some(WorkerState::Draining));
    assert_eq!(state("p.1.0"), Some(WorkerState::Ready));
    let on_new = call(&pool, 1).await.unwrap();
    assert_eq!(on_new.worker.as_str(), "p.1.0");
    assert_eq!(long.await.unwrap().unwrap().worker, old, "the long call ended where it ran");
    gone.await.unwrap();
    assert_eq!(script.log(), ["start p.1.0", "ready p.1.0", "stop p.0.0"]);
    assert_eq!(state("p.0.0"), None);
    let status = supervisor.status();
    assert_eq!((status.recycles.manual, status.recycles.total()), (1, 1));
    assert_eq!((status.exits.recycled, status.exits.died), (1, 0));
    assert_eq!((status.seats[0].worker.as_str(), status.seats[0].crashes), ("p.1.0", 0));
}

#[tokio::test(start_paused = true)]
async fn a_limit_never_interrupts_a_call_however_long_it_takes() {
    let World { pool, script, supervisor } = world(1, |o| {
        o.limits.ttl = Some(SECOND);
        o.drain = SECOND;
    })
    .await;
    let before = Instant::now();
    let long = call(&pool, 200_000).await.unwrap();
    assert_eq!((long.worker.as_str(), before.elapsed()), ("p.0.0", 200 * SECOND));
    assert_eq!(script.most(), 2, "and its successor, itself due long ago, waits for the room");
    sleep(SECOND / 10).await;
    assert_eq!(supervisor.status().recycles.ttl_expired, 1);
    assert!(!script.log().iter().any(|line| line.starts_with("stop busy")));
}

#[tokio::test(start_paused = true)]
async fn workers_that_are_due_at_once_queue_for_the_room_beside_the_pool() {
    for surge in [1, 2] {
        let World { pool, script, supervisor } = world(4, |o| {
            o.limits.ttl = Some(10 * SECOND);
            o.max_surge = surge;
        })
        .await;
        sleep(10 * SECOND + Duration::from_millis(100)).await;
        let due =
            supervisor.status().workers.iter().filter(|w| w.state == WorkerState::Due).count();
        assert_eq!(due, 4);
        // A start takes a second, so four of them take four, or two at a time.
        sleep(SECOND * 4 / surge as u32).await;
        assert_eq!(supervisor.status().recycles.ttl_expired, 4);
        assert_eq!((script.most(), pool.stats().workers), (4 + surge, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_is_lost_failed_or_repeated_while_every_call_costs_a_worker() {
    for (workers, surge) in [(1, 1), (3, 1), (3, 2)] {
        let World { pool, script, supervisor } = world(workers, |o| {
            o.limits.max_requests = Some(1);
            o.max_surge = surge;
        })
        .await;
        let calls: Vec<_> = (0..500).map(|n| tokio::spawn(call(&pool, 20 + n % 7))).collect();
        for (n, call) in calls.into_iter().enumerate() {
            let done = call.await.unwrap().unwrap();
            assert_eq!(done.payload.decode::<u64>().unwrap(), n as u64 + 1, "its own result");
        }
        let counters = pool.stats().counters;
        assert_eq!((counters.completed, counters.failed, counters.returned), (500, 0, 0));
        assert!(script.most() <= workers + surge, "{} workers", script.most());
        sleep(10 * SECOND).await;
        let status = supervisor.status();
        assert!(status.recycles.max_requests > 5, "{status:?}");
        assert_eq!((status.exits.recycled, status.exits.died), (status.recycles.max_requests, 0));
        assert_eq!((pool.stats().workers, script.alive()), (workers, workers));
        assert!(!script.log().iter().any(|line| line.starts_with("stop busy")));
        let mut bearers = std::collections::BTreeSet::new();
        let first = (0..workers).map(|n| format!("start p.{n}.0"));
        for line in first.chain(script.log()) {
            let index = line.split('.').nth(1).unwrap().to_owned();
            assert!(index.parse::<usize>().unwrap() < workers + surge, "{line}");
            match line.split(' ').next().unwrap() {
                "start" => assert!(bearers.insert(index), "{line} while another bears its index"),
                "stop" => assert!(bearers.remove(&index)),
                _ => {}
            }
        }
    }
}
