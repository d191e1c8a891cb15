//! Somebody asks for it.

use snakepit_core::{ErrorKind, WorkerId};
use tokio::time::{Instant, sleep};

use crate::fake::*;

#[tokio::test(start_paused = true)]
async fn all_workers_of_a_pool_are_replaced_one_after_the_other() {
    let World { pool, script, supervisor } = world(3, |_| {}).await;
    let before = Instant::now();
    supervisor.recycle_all().await;
    assert_eq!(before.elapsed(), 3 * SECOND);
    assert_eq!(script.most(), 4);
    let mut workers: Vec<_> =
        pool.workers().into_iter().map(|worker| worker.info.id.to_string()).collect();
    workers.sort();
    assert_eq!(workers, ["p.0.1", "p.1.1", "p.3.0"]);
    assert_eq!(supervisor.status().recycles.manual, 3);
}

#[tokio::test(start_paused = true)]
async fn asking_twice_replaces_once_and_both_hear_of_it() {
    let World { pool, script, supervisor } = world(1, |_| {}).await;
    let busy = tokio::spawn(call(&pool, 5000));
    sleep(SECOND / 10).await;
    let old = WorkerId::from("p.0.0");
    let first = tokio::spawn(supervisor.recycle(&old).unwrap());
    sleep(SECOND / 2).await;
    let while_due = tokio::spawn(supervisor.recycle(&old).unwrap());
    sleep(SECOND).await;
    let while_draining = tokio::spawn(supervisor.recycle(&old).unwrap());
    let successor = tokio::spawn(supervisor.recycle(&WorkerId::from("p.1.0")).unwrap());
    for asked in [first, while_due, while_draining, successor] {
        asked.await.unwrap();
    }
    busy.await.unwrap().unwrap();
    assert_eq!(supervisor.status().recycles.manual, 2);
    assert_eq!(script.most(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_not_there_is_refused() {
    let World { pool: _pool, supervisor, .. } = world(1, |_| {}).await;
    for nobody in ["p.0.1", "p.7.0", ""] {
        let refused = supervisor.recycle(&WorkerId::from(nobody)).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::WorkerNotFound);
    }
}
