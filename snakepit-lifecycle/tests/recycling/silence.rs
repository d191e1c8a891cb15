//! Workers that give no sign of life.

use snakepit_core::{ErrorKind, WorkerId};
use tokio::time::sleep;

use crate::fake::*;

#[tokio::test(start_paused = true)]
async fn three_missed_signs_of_life_end_a_worker_and_another_takes_its_seat() {
    let World { pool, script, supervisor } = world(1, |o| o.heartbeat = Some(2 * SECOND)).await;
    sleep(1000 * SECOND).await;
    assert_eq!(script.log(), [""; 0], "as long as it is heard of nothing happens");
    let old = script.worker("p.0.0");
    for _ in 0..3 {
        old.freeze();
        sleep(25 * SECOND).await;
        old.thaw();
        sleep(10 * SECOND).await;
    }
    assert_eq!(script.log(), [""; 0], "two in a row are not three");
    let running = tokio::spawn(call(&pool, 3_600_000));
    sleep(SECOND).await;
    old.freeze();
    sleep(42 * SECOND).await;
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    assert_eq!(script.log(), ["stop busy p.0.0", "start p.0.1", "ready p.0.1"]);
    let status = supervisor.status();
    assert_eq!((status.exits.silent, status.seats[0].crashes), (1, 1));
    assert_eq!(status.seats[0].last_failure.as_deref(), Some("it missed 3 heartbeats"));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_worker_that_falls_silent_does_not_keep_the_room() {
    let World { pool, script, supervisor } = world(1, |o| o.heartbeat = Some(2 * SECOND)).await;
    let running = tokio::spawn(call(&pool, 3_600_000));
    sleep(SECOND).await;
    let gone = supervisor.recycle(&WorkerId::from("p.0.0")).unwrap();
    sleep(2 * SECOND).await;
    script.worker("p.0.0").freeze();
    gone.await;
    assert!(running.await.unwrap().is_err());
    supervisor.recycle_all().await;
    assert_eq!(supervisor.status().recycles.manual, 2);
    assert_eq!(script.most(), 2);
}
