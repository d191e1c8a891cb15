//! Pool and supervisor take a third profile's workers as they take their own.

mod support;

use std::time::Duration;

use serde_json::json;
use snakepit_core::testkit::LONG;
use snakepit_core::{Clock, Codec, ErrorKind, Payload, Pool, PoolOptions, Profile, Request};
use snakepit_lifecycle::{Supervisor, SupervisorOptions};
use support::Closed;
use tokio::runtime::Handle;

fn request(command: &str, arguments: serde_json::Value) -> Request {
    let arguments = Payload::encode(Codec::MsgPack, &arguments).expect("arguments can be encoded");
    Request::new(command, arguments)
}

#[tokio::test]
async fn a_worker_that_dies_is_replaced_and_recycling_loses_nothing() {
    let runtime = Handle::current();
    let pool = Pool::new(PoolOptions::new("closures"), Clock::system(), &runtime);
    let closed = Closed::new(3);
    let options = SupervisorOptions::new(2);
    let supervisor = Supervisor::start(pool.clone(), closed.profile.clone(), options, &runtime);
    let supervisor = supervisor.await.expect("workers of closures start");

    let lost = pool.submit(request("die", json!({}))).expect("room").await.err();
    let lost = lost.expect("its worker is gone");
    assert_eq!(lost.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    let calls: Vec<_> = (0..500_u64)
        .map(|n| (n, pool.submit(request("echo", json!({"value": n}))).expect("room in line")))
        .collect();
    supervisor.recycle_all().await;
    for (n, call) in calls {
        let done = call.await.expect("an answer");
        assert_eq!(done.payload.decode::<u64>().expect("a number"), n);
    }
    let status = supervisor.status();
    assert_eq!(status.exits.died, 1);
    assert!(status.recycles.manual > 0);
    assert!(pool.workers().iter().all(|worker| worker.info.profile == "closures"));

    pool.close();
    supervisor.shutdown(Duration::from_secs(20)).await.expect("workers stop");
    tokio::time::timeout(LONG, closed.profile.all_gone()).await.expect("every thread has ended");
}
