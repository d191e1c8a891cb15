//! What a pool's workers are made by changes while they serve.

use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{ErrorKind, WorkerId};
use snakepit_lifecycle::{Elastic, Limits, SeatState, SupervisorOptions, WorkerState};
use tokio::time::{Instant, sleep};

use crate::fake::*;

fn made_by(then: Start) -> Arc<FakeProfile> {
    Arc::new(FakeProfile::serving(1, then))
}

fn options(workers: usize) -> SupervisorOptions {
    let mut options = SupervisorOptions::new(workers);
    options.jitter = 0.0;
    options
}

#[tokio::test(start_paused = true)]
async fn one_of_the_new_kind_is_ready_before_any_of_the_old_goes() {
    let World { pool, script, supervisor } = world(3, |_| {}).await;
    let running = tokio::spawn(call(&pool, 20_000));
    sleep(SECOND / 10).await;
    let new = made_by(Start::ReadyAfter(2 * SECOND));
    let before = Instant::now();
    supervisor.renew(new.clone(), options(3)).await.unwrap();
    assert_eq!(before.elapsed(), 2 * SECOND, "the first of them is ready");
    assert_eq!((script.alive(), new.alive()), (3, 1), "and nobody has gone for it");
    supervisor.rolled().await;
    assert_eq!((script.alive(), new.alive(), new.most()), (0, 3, 3));
    let on = running.await.unwrap().unwrap().worker;
    assert!(["p.0.0", "p.1.0", "p.2.0"].contains(&on.as_str()), "the call ended where it ran");
    let status = supervisor.status();
    assert_eq!((status.recycles.reload, status.recycles.total()), (3, 3));
    // What comes later is of the new kind, too.
    supervisor.recycle_all().await;
    assert_eq!((script.alive(), new.alive()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_new_kind_that_does_not_start_changes_nothing() {
    let World { pool, script, supervisor } = world(2, |_| {}).await;
    let new = made_by(Start::Fails);
    let error = supervisor.renew(new.clone(), options(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    sleep(60 * SECOND).await;
    assert_eq!(
        (script.alive(), new.log()),
        (2, vec!["start p.2.0".to_owned()]),
        "it was tried once"
    );
    let status = supervisor.status();
    assert!(status.workers.iter().all(|w| w.state == WorkerState::Ready && w.recycled.is_none()));
    assert_eq!((status.seats.len(), status.recycles.total()), (2, 0));
    assert!(call(&pool, 1).await.is_ok());
    // The worker in whose place it was tried is replaced as ever, by the old kind.
    supervisor.recycle_all().await;
    assert_eq!((script.alive(), new.alive()), (2, 0));
    let better = made_by(Start::Ready);
    supervisor.renew(better.clone(), options(2)).await.unwrap();
    supervisor.rolled().await;
    assert_eq!((script.alive(), better.alive()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_was_under_way_is_replaced_in_its_turn() {
    let World { pool: _pool, script, supervisor } = world(2, |_| {}).await;
    let gone = supervisor.recycle(&WorkerId::from("p.1.0")).unwrap();
    sleep(SECOND / 2).await;
    // The one room is taken by the old kind, which is ready first and is then too old already.
    let new = made_by(Start::Ready);
    let renewing = tokio::spawn(supervisor.renew(new.clone(), options(2)));
    gone.await;
    renewing.await.unwrap().unwrap();
    supervisor.rolled().await;
    assert_eq!((script.alive(), new.alive()), (0, 2));
    assert_eq!(supervisor.status().recycles.reload, 2);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_nobody_can_serve_is_mended_by_a_new_kind() {
    let World { pool, script, supervisor } = world(2, |_| {}).await;
    (0..40).for_each(|_| script.next(Start::Fails));
    for worker in ["p.0.0", "p.1.0"] {
        script.worker(worker).die();
    }
    sleep(20 * SECOND).await;
    assert_eq!(pool.stats().workers, 0);
    let worse = made_by(Start::Fails);
    assert!(supervisor.renew(worse.clone(), options(2)).await.is_err());
    let before = Instant::now();
    let new = made_by(Start::ReadyAfter(SECOND));
    supervisor.renew(new.clone(), options(2)).await.unwrap();
    supervisor.rolled().await;
    assert_eq!(before.elapsed(), SECOND, "no pause is waited for");
    assert_eq!((script.alive(), worse.alive(), new.alive()), (0, 0, 2));
    assert!(call(&pool, 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn workers_whose_replacements_do_not_come_are_replaced_by_a_new_kind() {
    let World { pool, script, supervisor } = world(1, |_| {}).await;
    (0..40).for_each(|_| script.next(Start::Fails));
    let gone = tokio::spawn(supervisor.recycle(&WorkerId::from("p.0.0")).unwrap());
    sleep(10 * SECOND).await;
    let new = made_by(Start::Ready);
    supervisor.renew(new.clone(), options(1)).await.unwrap();
    gone.await.unwrap();
    assert_eq!((script.alive(), new.alive(), pool.stats().workers), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn options_change_under_workers_that_stay() {
    let World { pool: _pool, script, supervisor } = world(2, |_| {}).await;
    let before: Vec<_> = supervisor.status().workers.into_iter().map(|w| w.worker).collect();
    let mut now = options(4);
    now.limits = Limits { ttl: Some(100 * SECOND), ..Limits::default() };
    now.max_surge = 3;
    supervisor.adjust(script.clone(), now.clone());
    sleep(2 * SECOND).await;
    let after: Vec<_> = supervisor.status().workers.into_iter().map(|w| w.worker).collect();
    assert!(after.len() == 4 && before.iter().all(|worker| after.contains(worker)));
    // The new limit holds for the old ones too, and three at a time may be replaced.
    sleep(102 * SECOND).await;
    assert_eq!(supervisor.status().recycles.ttl_expired, 4);
    assert!((6..=7).contains(&script.most()), "{}", script.most());
    // Without the limit they stay for ever; and fewer are wanted.
    now.limits = Limits::default();
    now.workers = 1;
    now.max_surge = 1;
    supervisor.adjust(script.clone(), now.clone());
    sleep(1000 * SECOND).await;
    let status = supervisor.status();
    assert_eq!((status.recycles.ttl_expired, status.seats.len()), (4, 1));
    now.elastic = Some(Elastic { min_workers: 3, max_workers: 5, idle_timeout: SECOND });
    now.workers = 3;
    supervisor.adjust(script.clone(), now.clone());
    sleep(2 * SECOND).await;
    assert_eq!(script.alive(), 3);
    assert!(supervisor.scale(6).is_err(), "the bounds have come");
    // One at a time again.
    now.limits = Limits { ttl: Some(100 * SECOND), ..Limits::default() };
    supervisor.adjust(script.clone(), now);
    drop(supervisor.recycle_all());
    sleep(SECOND / 2).await;
    assert_eq!(script.alive(), 4);
    let starting = supervisor.status().seats.iter().filter(|s| s.state == SeatState::Ready).count();
    assert_eq!(starting, 3);
}

#[tokio::test(start_paused = true)]
async fn a_change_ends_with_the_supervisor() {
    let World { pool, supervisor, .. } = world(1, |_| {}).await;
    let renewing = tokio::spawn(supervisor.renew(made_by(Start::Hangs), options(1)));
    sleep(Duration::from_millis(100)).await;
    pool.close();
    supervisor.shutdown(10 * SECOND).await.unwrap();
    assert_eq!(renewing.await.unwrap().unwrap_err().kind(), ErrorKind::PoolClosed);
}
