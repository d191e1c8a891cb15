//! A pool changes its size by itself: with the calls that wait, and with those that do not come.

use std::time::Duration;

use snakepit_core::{ErrorKind, WorkerId};
use snakepit_lifecycle::Elastic;
use tokio::time::sleep;

use crate::fake::*;

const MS: Duration = Duration::from_millis(1);

async fn elastic(min: usize, max: usize) -> World {
    world(min, |o| {
        o.elastic = Some(Elastic { min_workers: min, max_workers: max, idle_timeout: 60 * SECOND });
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_bring_workers_up_to_the_most_there_may_be() {
    let world = elastic(1, 6).await;
    let calls: Vec<_> = (0..60).map(|_| tokio::spawn(call(&world.pool, 2000))).collect();
    sleep(150 * MS).await;
    assert_eq!(world.script.alive(), 2, "twice as many, and no more before these are ready");
    sleep(900 * MS).await;
    assert_eq!(world.script.alive(), 2);
    sleep(10 * SECOND).await;
    assert_eq!((world.pool.stats().workers, world.script.most()), (6, 6));
    world.supervisor.recycle_all().await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.script.most(), 7, "and one extra while workers are replaced");
    assert_eq!(world.pool.stats().counters.completed, 60);
}

#[tokio::test(start_paused = true)]
async fn calls_that_hardly_wait_bring_no_worker() {
    let world = elastic(1, 6).await;
    for _ in 0..200 {
        // Five at once: the last one waits for 80 ms.
        let burst: Vec<_> = (0..5).map(|_| tokio::spawn(call(&world.pool, 20))).collect();
        for call in burst {
            call.await.unwrap().unwrap();
        }
        sleep(100 * MS).await;
    }
    assert_eq!(world.script.most(), 1);
    // Ten callers that leave the worker no pause: none waits for a tenth of a second.
    let callers: Vec<_> = (0..10)
        .map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move {
                for _ in 0..500 {
                    call(&pool, 5).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(world.script.most() > 1);
}

#[tokio::test(start_paused = true)]
async fn workers_without_a_call_go_down_to_the_least_there_must_be() {
    let world = elastic(2, 5).await;
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(call(&world.pool, 2000))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.pool.stats().workers, 5);
    // One worker has a call now and then: it counts as used.
    for _ in 0..3 {
        sleep(19 * SECOND).await;
        assert_eq!(world.pool.stats().workers, 5);
        call(&world.pool, 1).await.unwrap();
    }
    sleep(10 * SECOND).await;
    assert_eq!((world.pool.stats().workers, world.script.alive()), (2, 2));
    sleep(1000 * SECOND).await;
    assert_eq!((world.pool.stats().workers, world.script.alive()), (2, 2));
    let status = world.supervisor.status();
    assert_eq!((status.exits.surplus, status.recycles.total()), (3, 0));
    assert_eq!(world.pool.stats().counters.failed, 0);
}

#[tokio::test(start_paused = true)]
async fn starts_that_fail_are_not_answered_with_more_of_them() {
    let world = elastic(1, 6).await;
    (0..100).for_each(|_| world.script.next(Start::Fails));
    let _waiting: Vec<_> = (0..60).map(|_| tokio::spawn(call(&world.pool, 60_000))).collect();
    sleep(30 * SECOND).await;
    assert_eq!(world.supervisor.status().seats.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_number_by_hand_holds_until_calls_wait_and_stays_in_bounds() {
    let world = elastic(1, 4).await;
    for nonsense in [0, 5] {
        let refused = world.supervisor.scale(nonsense).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    }
    world.supervisor.scale(3).unwrap().await.unwrap();
    sleep(50 * SECOND).await;
    assert_eq!(world.pool.stats().workers, 3);
    sleep(20 * SECOND).await;
    assert_eq!(world.pool.stats().workers, 1);
}

#[tokio::test(start_paused = true)]
async fn workers_on_their_way_out_count_toward_the_most_there_may_be() {
    let world = elastic(1, 3).await;
    world.supervisor.scale(3).unwrap().await.unwrap();
    let long: Vec<_> = (0..3).map(|_| tokio::spawn(call(&world.pool, 30_000))).collect();
    sleep(SECOND).await;
    let _shrinks = world.supervisor.scale(1).unwrap();
    let more: Vec<_> = (0..20).map(|_| tokio::spawn(call(&world.pool, 3000))).collect();
    for call in long.into_iter().chain(more) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.script.most(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_has_nothing_to_do_any_more_is_replaced_once() {
    let World { pool, script, supervisor } = world(2, |o| o.limits.idle = Some(80 * SECOND)).await;
    sleep(1000 * SECOND).await;
    assert_eq!(script.log(), [""; 0], "they have served nothing that could be left behind");
    let served = call(&pool, 1).await.unwrap().worker;
    for _ in 0..10 {
        sleep(60 * SECOND).await;
        assert_eq!(call(&pool, 1).await.unwrap().worker, served);
    }
    let long = tokio::spawn(call(&pool, 200_000));
    sleep(190 * SECOND).await;
    assert_eq!(supervisor.status().recycles.total(), 0, "a long call is no rest");
    long.await.unwrap().unwrap();
    sleep(100 * SECOND).await;
    assert_eq!(supervisor.status().recycles.idle, 1);
    assert!(!pool.workers().iter().any(|worker| worker.info.id == served));
    assert!(pool.workers().iter().any(|worker| worker.info.id == WorkerId::from("p.1.0")));
    sleep(1000 * SECOND).await;
    assert_eq!(supervisor.status().recycles.total(), 1);
}
