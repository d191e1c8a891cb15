//! The number of workers changes while the pool runs.

use std::time::Duration;

use snakepit_core::{ErrorKind, WorkerId};
use snakepit_lifecycle::{SeatState, WorkerState};
use tokio::time::{Instant, sleep};

use crate::fake::*;

fn workers(world: &World) -> Vec<String> {
    let mut workers: Vec<_> = world.pool.workers().iter().map(|w| w.info.id.to_string()).collect();
    workers.sort();
    workers
}

#[tokio::test(start_paused = true)]
async fn growing_starts_what_is_missing_at_the_same_time() {
    let world = world(1, |_| {}).await;
    let before = Instant::now();
    world.supervisor.scale(4).unwrap().await.unwrap();
    assert_eq!(before.elapsed(), SECOND);
    assert_eq!(workers(&world), ["p.0.0", "p.1.0", "p.2.0", "p.3.0"]);
    world.supervisor.scale(4).unwrap().await.unwrap();
    assert_eq!((before.elapsed(), world.script.alive()), (SECOND, 4));
    assert_eq!(world.supervisor.scale(0).err().unwrap().kind(), ErrorKind::InvalidConfig);
}

#[tokio::test(start_paused = true)]
async fn shrinking_takes_idle_workers_first_and_lets_the_others_end_their_calls() {
    let world = world(4, |_| {}).await;
    let pool = &world.pool;
    // One long call each for the two workers that joined first.
    let long = [5000, 8000].map(|millis| tokio::spawn(call(pool, millis)));
    tokio::task::yield_now().await;
    let busy: Vec<_> = pool.workers().into_iter().filter(|w| w.in_flight > 0).collect();
    let before = Instant::now();
    world.supervisor.scale(2).unwrap().await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO, "two were idle");
    let left: Vec<_> = pool.workers().into_iter().map(|w| w.info.id).collect();
    assert_eq!(left, busy.iter().map(|w| w.info.id.clone()).collect::<Vec<_>>());

    let gone = world.supervisor.scale(1).unwrap();
    sleep(SECOND).await;
    let status = world.supervisor.status();
    let leaving = status.seats.iter().filter(|seat| seat.state == SeatState::Leaving).count();
    let draining = status.workers.iter().filter(|w| w.state == WorkerState::Draining).count();
    assert_eq!((leaving, draining, pool.stats().workers), (1, 1, 1));
    gone.await.unwrap();
    for call in long {
        call.await.unwrap().unwrap();
    }
    let counters = pool.stats().counters;
    assert_eq!((counters.completed, counters.failed), (2, 0));
    assert!(!world.script.log().iter().any(|line| line.starts_with("stop busy")));
    let status = world.supervisor.status();
    assert_eq!((status.exits.surplus, status.recycles.total()), (3, 0));
    assert_eq!((status.seats.len(), world.script.alive()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_grows_again_never_has_more_workers_than_before() {
    let world = world(3, |_| {}).await;
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(call(&world.pool, 10_000))).collect();
    tokio::task::yield_now().await;
    let superseded = world.supervisor.scale(1).unwrap();
    sleep(SECOND).await;
    let grown = world.supervisor.scale(3).unwrap();
    superseded.await.unwrap();
    grown.await.unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((world.script.most(), world.pool.stats().workers), (3, 3));
    assert_eq!(world.supervisor.status().exits.surplus, 2);
}

#[tokio::test(start_paused = true)]
async fn seats_without_a_worker_leave_first_and_their_starts_end() {
    let world = world(1, |_| {}).await;
    world.script.next(Start::Hangs);
    world.script.next(Start::Fails);
    let never = world.supervisor.scale(3).unwrap();
    sleep(SECOND / 20).await;
    world.supervisor.scale(1).unwrap().await.unwrap();
    never.await.unwrap();
    assert_eq!(workers(&world), ["p.0.0"]);
    assert_eq!((world.script.alive(), world.supervisor.status().workers.len()), (1, 1));
    sleep(100 * SECOND).await;
    assert_eq!(world.script.log().iter().filter(|line| line.starts_with("start")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_call_is_lost_while_the_number_goes_up_and_down_and_workers_are_recycled() {
    let world = world(2, |o| o.limits.max_requests = Some(20)).await;
    let calls: Vec<_> = (0..800).map(|n| tokio::spawn(call(&world.pool, 20 + n % 7))).collect();
    for number in [5, 1, 3, 1, 4, 2] {
        world.supervisor.scale(number).unwrap().await.unwrap();
        assert_eq!(world.pool.stats().workers, number);
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let counters = world.pool.stats().counters;
    assert_eq!((counters.completed, counters.failed), (800, 0));
    assert!(world.script.most() <= 6, "{} workers", world.script.most());
    sleep(10 * SECOND).await;
    assert_eq!((world.pool.stats().workers, world.script.alive()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_being_replaced_leaves_and_its_replacement_with_it() {
    for wait in [SECOND / 2, SECOND * 3 / 2] {
        let world = world(1, |_| {}).await;
        let running = tokio::spawn(call(&world.pool, 30_000));
        world.supervisor.scale(2).unwrap().await.unwrap();
        let recycled = world.supervisor.recycle(&WorkerId::from("p.1.0")).unwrap();
        sleep(wait).await;
        world.supervisor.scale(1).unwrap().await.unwrap();
        recycled.await;
        assert_eq!(workers(&world), ["p.0.0"]);
        running.await.unwrap().unwrap();
        assert_eq!(world.script.alive(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_waits_for_the_last_calls_leaves_with_the_worker() {
    let world = world(1, |o| o.limits.max_requests = Some(10)).await;
    let running = tokio::spawn(call(&world.pool, 30_000));
    world.supervisor.scale(2).unwrap().await.unwrap();
    world.script.next(Start::ReadyAfter(Duration::from_millis(1)));
    for _ in 0..8 {
        assert_eq!(call(&world.pool, 1).await.unwrap().worker.as_str(), "p.1.0");
    }
    sleep(Duration::from_millis(5)).await;
    assert_eq!((world.script.alive(), world.pool.stats().workers), (3, 2));
    world.supervisor.scale(1).unwrap().await.unwrap();
    assert_eq!(workers(&world), ["p.0.0"]);
    running.await.unwrap().unwrap();
    world.script.forget_workers();
    assert_eq!(world.script.alive(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_change_and_says_so() {
    let world = world(2, |_| {}).await;
    let running = tokio::spawn(call(&world.pool, 3_600_000));
    sleep(SECOND).await;
    let shrinking = world.supervisor.scale(1).unwrap();
    sleep(SECOND).await;
    let growing = world.supervisor.scale(5).unwrap();
    sleep(SECOND / 2).await;
    shrinking.await.unwrap();
    world.pool.close();
    world.supervisor.shutdown(10 * SECOND).await.unwrap();
    assert_eq!(growing.await.unwrap_err().kind(), ErrorKind::PoolClosed);
    assert!(running.await.unwrap().is_err());
    assert_eq!((world.pool.stats().workers, world.script.alive()), (0, 0));
}
