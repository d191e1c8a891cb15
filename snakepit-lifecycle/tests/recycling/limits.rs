//! What makes a worker due.

use std::collections::BTreeMap;
use std::time::Duration;

use snakepit_core::{Pool, WorkerId};
use snakepit_lifecycle::WorkerState;
use tokio::time::{Instant, sleep};

use crate::fake::*;

fn measured(log: &[String]) -> usize {
    log.iter().filter(|line| line.starts_with("measure")).count()
}

/// How many of so many calls, one after the other, each worker has served.
async fn served_by_each(pool: &Pool, calls: usize) -> BTreeMap<WorkerId, u32> {
    let mut served = BTreeMap::new();
    for _ in 0..calls {
        *served.entry(call(pool, 1).await.unwrap().worker).or_default() += 1;
    }
    served
}

#[tokio::test(start_paused = true)]
async fn without_limits_nothing_is_replaced_and_nothing_measured() {
    let World { pool, script, supervisor } = world(2, |_| {}).await;
    for _ in 0..1000 {
        call(&pool, 1).await.unwrap();
    }
    sleep(1_000_000 * SECOND).await;
    assert_eq!(script.log(), [""; 0]);
    assert_eq!(supervisor.status().recycles.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_replacement_starts_at_four_fifths_of_the_calls() {
    let World { pool, script, supervisor } = world(1, |o| o.limits.max_requests = Some(10)).await;
    for _ in 0..7 {
        call(&pool, 1).await.unwrap();
    }
    sleep(SECOND).await;
    assert_eq!(script.log(), [""; 0]);
    call(&pool, 1).await.unwrap();
    sleep(SECOND / 2).await;
    assert_eq!(script.log(), ["start p.1.0"]);
    for _ in 0..5 {
        let done = call(&pool, 1).await.unwrap();
        assert_eq!(done.worker.as_str(), "p.0.0", "over its limit it serves on until then");
    }
    sleep(SECOND).await;
    assert_eq!(supervisor.status().recycles.max_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_at_its_limit_waits_for_a_replacement_that_comes_quickly() {
    let World { pool, script, supervisor } = world(1, |o| o.limits.max_requests = Some(10)).await;
    for _ in 0..30 {
        script.next(Start::ReadyAfter(Duration::from_millis(15)));
    }
    let served = served_by_each(&pool, 200).await;
    assert_eq!(served.len(), 20, "{served:?}");
    assert!(served.values().all(|calls| *calls == 10), "{served:?}");
    sleep(SECOND).await;
    let status = supervisor.status();
    assert_eq!((status.recycles.max_requests, status.nominal_recycles), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn a_worker_at_its_limit_waits_no_longer_than_a_moment() {
    let World { pool, script: _script, supervisor: _supervisor } =
        world(1, |o| o.limits.max_requests = Some(10)).await;
    for _ in 0..10 {
        call(&pool, 1).await.unwrap();
    }
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(call(&pool, 1).await.unwrap().worker.as_str(), "p.0.0");
    }
    let taken = start.elapsed();
    assert!(taken >= Duration::from_millis(20 + 5), "{taken:?}");
    assert!(taken <= Duration::from_millis(20 + 5 + 6), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_is_ready_early_waits_for_the_last_calls() {
    let World { pool, script, supervisor } = world(1, |o| o.limits.max_requests = Some(10)).await;
    for _ in 0..30 {
        script.next(Start::ReadyAfter(Duration::from_millis(1)));
    }
    let served = served_by_each(&pool, 200).await;
    assert_eq!(served.len(), 20, "{served:?}");
    assert!(served.values().all(|calls| *calls == 10), "{served:?}");
    assert_eq!(script.most(), 2);
    for _ in 0..8 {
        call(&pool, 1).await.unwrap();
    }
    let before = supervisor.status().recycles.max_requests;
    sleep(Duration::from_millis(20)).await;
    assert_eq!(supervisor.status().recycles.max_requests, before, "there is time for two more");
    sleep(Duration::from_millis(2)).await;
    assert_eq!(supervisor.status().recycles.max_requests, before + 1, "it waits no longer");
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_dies_while_it_waits_is_replaced_and_costs_no_call() {
    let World { pool, script, supervisor } = world(1, |o| o.limits.max_requests = Some(10)).await;
    script.next(Start::ReadyAfter(Duration::from_millis(1)));
    for _ in 0..8 {
        call(&pool, 1).await.unwrap();
    }
    sleep(Duration::from_millis(5)).await;
    script.worker("p.1.0").die();
    for _ in 0..20 {
        call(&pool, 1).await.unwrap();
    }
    sleep(3 * SECOND).await;
    let status = supervisor.status();
    assert_eq!((status.exits.died, pool.stats().workers), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_while_its_replacement_waits_is_followed_by_it_at_once() {
    let World { pool, script, supervisor } = world(1, |o| o.limits.max_requests = Some(10)).await;
    script.next(Start::ReadyAfter(Duration::from_millis(1)));
    for _ in 0..8 {
        call(&pool, 1).await.unwrap();
    }
    sleep(Duration::from_millis(5)).await;
    script.worker("p.0.0").die();
    let before = Instant::now();
    assert_eq!(call(&pool, 1).await.unwrap().worker.as_str(), "p.1.0");
    assert!(before.elapsed() < Duration::from_millis(5), "{:?}", before.elapsed());
    assert_eq!(supervisor.status().exits.died, 1);
}

#[tokio::test(start_paused = true)]
async fn replacements_start_earlier_where_they_were_late() {
    let World { pool, script, supervisor: _supervisor } =
        world(1, |o| o.limits.max_requests = Some(20)).await;
    for _ in 0..40 {
        script.next(Start::ReadyAfter(Duration::from_millis(15)));
    }
    let taken = async |calls| {
        let before = Instant::now();
        for _ in 0..calls {
            call(&pool, 1).await.unwrap();
        }
        before.elapsed()
    };
    let late = taken(40).await;
    assert!(late >= Duration::from_millis(40 + 10), "{late:?}");
    taken(160).await;
    let in_time = taken(100).await;
    assert!(in_time <= Duration::from_millis(100 + 5), "{in_time:?}");
    // From here on calls are rare: one worker is replaced before its time, and no other.
    let mut served = BTreeMap::<WorkerId, u32>::new();
    for _ in 0..100 {
        sleep(SECOND).await;
        *served.entry(call(&pool, 1).await.unwrap().worker).or_default() += 1;
    }
    let early = served.values().filter(|calls| **calls < 16).count();
    assert!(early <= 3, "the first two and the last: {served:?}");
}

#[tokio::test(start_paused = true)]
async fn status_tells_who_is_near_a_limit_and_how_far_recycling_keeps_up() {
    let World { pool, script, supervisor } = world(1, |o| {
        o.limits.max_requests = Some(10);
        o.limits.max_memory = Some(1000);
    })
    .await;
    script.set_private_bytes(Some(950));
    let near = || {
        let near = supervisor.status().near_limits;
        (near.max_requests, near.max_memory, near.ttl)
    };
    assert_eq!(near(), (0, 0, 0));
    sleep(11 * SECOND).await;
    assert_eq!(near(), (0, 1, 0));
    assert_eq!(supervisor.status().workers[0].memory_bytes, Some(950));
    for _ in 0..7 {
        call(&pool, 1).await.unwrap();
    }
    assert_eq!(near(), (0, 1, 0));
    // The eighth call makes it due; twelve more are served until its replacement is there.
    call(&pool, 1).await.unwrap();
    assert_eq!(near(), (1, 1, 0));
    for _ in 0..12 {
        call(&pool, 1).await.unwrap();
    }
    assert_eq!(
        (supervisor.status().recycles.total(), supervisor.status().nominal_recycles),
        (0, 2)
    );
    sleep(2 * SECOND).await;
    assert_eq!(
        (supervisor.status().recycles.total(), supervisor.status().nominal_recycles),
        (1, 2)
    );
    assert_eq!(near(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn three_readings_in_a_row_over_the_limit_replace_a_worker() {
    let World { pool: _pool, script, supervisor } =
        world(1, |o| o.limits.max_memory = Some(1000)).await;
    let bytes = |n| script.set_private_bytes(Some(n));
    // Looks a little after each reading.
    sleep(Duration::from_millis(10)).await;
    for (n, reading) in [2000, 2000, 1000, 2000, 2000].into_iter().enumerate() {
        bytes(reading);
        sleep(10 * SECOND).await;
        assert_eq!(measured(&script.log()), n + 1, "every ten seconds");
        assert_eq!(supervisor.status().workers[0].state, WorkerState::Ready);
    }
    sleep(10 * SECOND).await;
    assert_eq!(supervisor.status().workers[0].state, WorkerState::Due);
    bytes(0);
    sleep(SECOND).await;
    assert_eq!(supervisor.status().recycles.memory_threshold, 1);
    sleep(100 * SECOND).await;
    assert_eq!(supervisor.status().recycles.total(), 1, "the new one starts with a clean record");
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_the_ends_of_workers_that_started_together_and_only_shortens() {
    let World { pool: _pool, script, supervisor } = world(8, |o| {
        o.limits.ttl = Some(1000 * SECOND);
        o.jitter = 0.1;
        o.seed = 42;
        o.max_surge = 8;
    })
    .await;
    sleep(899 * SECOND).await;
    assert_eq!(supervisor.status().recycles.total(), 0);
    let mut ends = Vec::new();
    for _ in 0..103 {
        sleep(SECOND).await;
        ends.push(supervisor.status().recycles.ttl_expired);
    }
    assert_eq!(ends.last(), Some(&8), "all within the nominal limit");
    ends.dedup();
    assert!(ends.len() > 4, "not all at once: {ends:?}");
    assert!(script.most() < 16);
}
