//! A worker is asked how it is, and what it says reaches who asked.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use snakepit_core::ErrorKind;
use snakepit_proto::v1;
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::worker_message::Frame;
use support::{FakeWorker, attached, ping, server};

async fn check_id(worker: &mut FakeWorker) -> u64 {
    match worker.next().await {
        Some(HostFrame::HealthCheck(check)) => check.check_id,
        other => panic!("expected a health check, got {other:?}"),
    }
}

fn report(worker: &FakeWorker, check_id: u64, failure: &str) {
    let failure = failure.to_owned();
    worker.send(Frame::HealthReport(v1::HealthReport { check_id, failure }));
}

#[tokio::test]
async fn each_check_gets_its_own_report() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (first, second, forgotten) =
        (link.check_health(), link.check_health(), link.check_health());
    let ids =
        [check_id(&mut worker).await, check_id(&mut worker).await, check_id(&mut worker).await];
    drop(forgotten);
    report(&worker, ids[2], "nobody listens");
    report(&worker, ids[1], "no database");
    report(&worker, ids[0], "");
    assert_eq!(second.await.unwrap(), Err("no database".to_owned()));
    assert_eq!(first.await.unwrap(), Ok(()));
    // One that nobody asked for harms nobody.
    report(&worker, 4711, "");
    ping(&link, &mut worker, 0, 0).await;
}

#[tokio::test]
async fn a_link_that_ends_ends_its_checks() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let waiting = link.check_health();
    check_id(&mut worker).await;
    drop(worker);
    let error = waiting.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: false });
    link.closed().await;
    assert!(link.check_health().await.is_err());
}
