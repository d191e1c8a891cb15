//! What goes wrong while a worker is being replaced.

use std::time::Duration;

use snakepit_core::{ErrorKind, WorkerId};
use snakepit_lifecycle::{SeatState, WorkerState};
use tokio::time::{Instant, sleep};

use crate::fake::*;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_replacement_that_does_not_start_leaves_the_old_worker_serving() {
    let World { pool, script, supervisor } = world(1, |_| {}).await;
    (0..3).for_each(|_| script.next(Start::Fails));
    let before = Instant::now();
    let gone = supervisor.recycle(&WorkerId::from("p.0.0")).unwrap();
    sleep(50 * MS).await;
    let status = supervisor.status();
    assert_eq!(status.seats[0].state, SeatState::Ready);
    assert_eq!(status.seats[0].last_failure.as_deref(), Some("no adapter"));
    assert_eq!(call(&pool, 1).await.unwrap().worker.as_str(), "p.0.0");
    gone.await;
    // Pauses of 100, 200 and 400 ms, then a second to start.
    assert_eq!(before.elapsed(), 1700 * MS);
    assert_eq!(call(&pool, 1).await.unwrap().worker.as_str(), "p.1.3");
    assert_eq!(supervisor.status().seats[0].crashes, 0);
    assert_eq!(script.most(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failing_replacement_does_not_keep_the_room_from_others() {
    let World { pool: _pool, script, supervisor } = world(2, |_| {}).await;
    script.next(Start::Fails);
    supervisor.recycle_all().await;
    assert_eq!(supervisor.status().recycles.manual, 2);
    assert_eq!(script.most(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_while_its_replacement_starts_is_followed_by_it() {
    let World { pool, script, supervisor } = world(1, |_| {}).await;
    let running = tokio::spawn(call(&pool, 10_000));
    sleep(MS).await;
    let gone = tokio::spawn(supervisor.recycle(&WorkerId::from("p.0.0")).unwrap());
    sleep(SECOND / 2).await;
    script.worker("p.0.0").die();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    gone.await.unwrap();
    let waiting = call(&pool, 1).await.unwrap();
    assert_eq!(waiting.worker.as_str(), "p.1.0");
    assert_eq!(script.log(), ["start p.1.0", "ready p.1.0"]);
    let status = supervisor.status();
    assert_eq!((status.exits.died, status.recycles.total()), (1, 0));
    assert_eq!((status.seats[0].crashes, script.alive()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_while_it_waits_for_room_is_replaced_at_once() {
    let World { pool, script, supervisor } = world(2, |_| {}).await;
    script.next(Start::Hangs);
    let _never = supervisor.recycle(&WorkerId::from("p.0.0")).unwrap();
    sleep(SECOND).await;
    let _waits = supervisor.recycle(&WorkerId::from("p.1.0")).unwrap();
    sleep(SECOND).await;
    script.worker("p.1.0").die();
    sleep(2 * SECOND).await;
    assert_eq!(pool.stats().workers, 2);
    assert_eq!(script.most(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_while_it_drains_is_not_replaced_twice() {
    let World { pool, script, supervisor } = world(1, |_| {}).await;
    let running = tokio::spawn(call(&pool, 10_000));
    sleep(MS).await;
    let gone = supervisor.recycle(&WorkerId::from("p.0.0")).unwrap();
    sleep(2 * SECOND).await;
    script.worker("p.0.0").die();
    gone.await;
    assert!(running.await.unwrap().is_err());
    sleep(10 * SECOND).await;
    assert_eq!(script.log(), ["start p.1.0", "ready p.1.0"]);
    let status = supervisor.status();
    assert_eq!((status.exits.died, status.exits.recycled, status.recycles.manual), (1, 0, 1));
    assert_eq!((pool.stats().workers, script.alive()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_a_recycle_wherever_it_is() {
    // While it waits for room, while the replacement starts, while the old worker drains.
    for (wait, state) in [
        (Duration::ZERO, WorkerState::Ready),
        (500 * MS, WorkerState::Due),
        (1500 * MS, WorkerState::Draining),
    ] {
        let World { pool, script, supervisor } = world(2, |_| {}).await;
        let running = tokio::spawn(call(&pool, 3_600_000));
        sleep(MS).await;
        let gone = tokio::spawn(supervisor.recycle_all());
        sleep(wait).await;
        assert_eq!(supervisor.status().workers[0].state, state);
        pool.close();
        let before = Instant::now();
        let observer = supervisor.observer();
        supervisor.shutdown(10 * SECOND).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        let status = observer.status();
        assert!(status.workers.is_empty(), "{status:?}");
        assert!(status.seats.iter().all(|seat| seat.state == SeatState::Stopped));
        // A recycle that shutdown cut short is none.
        assert_eq!(
            (status.exits.shutdown, status.exits.recycled),
            (2 + u64::from(wait > SECOND), 0)
        );
        gone.await.unwrap();
        assert!(running.await.unwrap().is_err());
        assert_eq!((pool.stats().workers, script.alive()), (0, 0), "{state}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_supervisor_leaves_no_worker_of_a_recycle() {
    for wait in [500, 1500] {
        let World { pool, script, supervisor } = world(2, |_| {}).await;
        let running = tokio::spawn(call(&pool, 3_600_000));
        sleep(MS).await;
        let gone = tokio::spawn(supervisor.recycle_all());
        sleep(wait * MS).await;
        drop(supervisor);
        gone.await.unwrap();
        assert!(running.await.unwrap().is_err());
        script.forget_workers();
        sleep(SECOND).await;
        assert_eq!((pool.stats().workers, script.alive()), (0, 0));
    }
}
