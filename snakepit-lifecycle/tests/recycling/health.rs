//! Workers that say themselves how they are.

use std::time::Duration;

use snakepit_lifecycle::WorkerState;
use tokio::time::{Instant, sleep};

use crate::fake::*;

const MINUTE: Duration = Duration::from_secs(60);

async fn checked(workers: usize) -> World {
    world(workers, |o| o.health_interval = Some(5 * MINUTE)).await
}

fn checks(world: &World) -> usize {
    world.script.log().iter().filter(|line| line.starts_with("check ")).count()
}

#[tokio::test(start_paused = true)]
async fn every_worker_is_asked_every_five_minutes_and_well_ones_stay() {
    let world = checked(3).await;
    for round in 1..=20 {
        sleep(5 * MINUTE + SECOND / 10).await;
        assert_eq!(checks(&world), 3 * round);
    }
    let status = world.supervisor.status();
    assert_eq!((status.recycles.total(), status.failed_checks), (0, 0));
    assert_eq!(world.pool.stats().counters.submitted, 0, "a check is no call");
    assert!(world.pool.loads().iter().all(|load| load.served == 0));
}

#[tokio::test(start_paused = true)]
async fn three_failed_checks_in_a_row_replace_a_worker() {
    let world = checked(1).await;
    let say = |health| world.script.set_health(Duration::ZERO, health);
    // Two in a row, then a good one.
    say(Some("no database"));
    sleep(5 * MINUTE + MINUTE / 2 + SECOND).await;
    say(None);
    sleep(MINUTE).await;
    let status = world.supervisor.status();
    assert_eq!((checks(&world), status.failed_checks), (3, 2));
    assert_eq!(status.workers[0].state, WorkerState::Ready);
    say(Some("no database"));
    // Asked after five minutes, then twice after half a minute.
    sleep(6 * MINUTE - MINUTE / 2 - SECOND / 2).await;
    assert_eq!(world.supervisor.status().workers[0].state, WorkerState::Due);
    say(None);
    sleep(2 * SECOND).await;
    let status = world.supervisor.status();
    assert_eq!((status.recycles.unhealthy, status.recycles.total()), (1, 1));
    assert_eq!((status.exits.recycled, status.exits.died), (1, 0));
    sleep(30 * MINUTE).await;
    assert_eq!(world.supervisor.status().recycles.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_check_waits_for_the_call_and_calls_go_elsewhere_meanwhile() {
    let world = checked(2).await;
    world.script.set_health(MINUTE, None);
    sleep(MINUTE).await;
    let long = [(); 2].map(|()| tokio::spawn(call(&world.pool, 250_000)));
    sleep(4 * MINUTE + SECOND).await;
    assert_eq!(checks(&world), 0, "both run calls");
    for call in long {
        call.await.unwrap().unwrap();
    }
    sleep(SECOND).await;
    assert_eq!(checks(&world), 2);
    let before = Instant::now();
    call(&world.pool, 1).await.unwrap();
    assert!(before.elapsed() > 50 * SECOND, "a slow check is busy, not dead");
    assert_eq!(world.supervisor.status().recycles.total(), 0);
    assert!(!world.script.log().iter().any(|line| line.starts_with("check busy")));
}

#[tokio::test(start_paused = true)]
async fn few_workers_are_asked_at_a_time() {
    let world = checked(8).await;
    world.script.set_health(MINUTE, None);
    sleep(5 * MINUTE + SECOND).await;
    assert_eq!(checks(&world), 2);
    for _ in 0..6 {
        call(&world.pool, 1).await.unwrap();
    }
    sleep(3 * MINUTE).await;
    assert_eq!(checks(&world), 8);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_costs_its_worker_and_no_call() {
    let world = checked(1).await;
    world.script.set_health(1000 * MINUTE, None);
    sleep(8 * MINUTE).await;
    let waiting = tokio::spawn(call(&world.pool, 1));
    // As long as a call may take: five minutes.
    sleep(2 * MINUTE - SECOND).await;
    assert_eq!(world.supervisor.status().workers[0].state, WorkerState::Ready);
    waiting.await.unwrap().unwrap();
    sleep(SECOND).await;
    let status = world.supervisor.status();
    assert_eq!((status.recycles.unhealthy, status.failed_checks), (1, 1));
    assert_eq!(world.pool.stats().counters.failed, 0);
}
