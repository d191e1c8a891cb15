//! Pool, supervisor and real workers together.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use snakepit_core::{Clock, Codec, ErrorKind, Payload, Pool, PoolOptions, Request};
use snakepit_lifecycle::{SeatState, Supervisor, SupervisorOptions};
use support::{LONG, Sign, kill, profile, rough};
use tokio::runtime::Handle;
use tokio::time::timeout;

async fn start(workers: usize) -> (Pool, Supervisor) {
    let runtime = Handle::current();
    let mut options = PoolOptions::new("pool");
    options.prefetch = 4;
    let pool = Pool::new(options, Clock::system(), &runtime);
    let profile = Arc::new(profile(rough()));
    let options = SupervisorOptions::new(workers);
    let supervisor = Supervisor::start(pool.clone(), profile, options, &runtime);
    (pool, timeout(LONG, supervisor).await.unwrap().unwrap())
}

fn request(command: &str, arguments: serde_json::Value) -> Request {
    Request::new(command, Payload::encode(Codec::MsgPack, &arguments).unwrap())
}

#[tokio::test]
async fn a_killed_worker_is_replaced_and_only_the_call_it_ran_is_lost() {
    let (pool, supervisor) = start(1).await;
    let sign = Sign::new();
    let arguments = json!({"path": sign.path(), "seconds": 1000});
    let running = pool.submit(request("touch_and_nap", arguments)).unwrap();
    let waiting: Vec<_> =
        (0..20).map(|_| pool.submit(request("greet", json!({}))).unwrap()).collect();
    sign.opened().await;
    kill(pool.workers()[0].info.pid.unwrap(), "-KILL");

    let error = timeout(LONG, running).await.unwrap().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    for call in waiting {
        let done = timeout(LONG, call).await.unwrap().unwrap();
        assert_eq!(done.payload.decode::<String>().unwrap(), "hello");
    }
    let status = supervisor.status();
    assert_eq!(status.seats[0].crashes, 1);
    assert_eq!(status.seats[0].worker.as_str(), "pool.0.1");
    assert_eq!(status.seats[0].state, SeatState::Ready);
    timeout(LONG, supervisor.shutdown(Duration::from_secs(20))).await.unwrap().unwrap();
}

#[tokio::test]
async fn many_calls_over_two_workers_all_come_back_and_shutdown_leaves_no_process() {
    let (pool, supervisor) = start(2).await;
    let calls: Vec<_> =
        (0..500).map(|_| pool.submit(request("greet", json!({}))).unwrap()).collect();
    for call in calls {
        timeout(LONG, call).await.unwrap().unwrap();
    }
    let workers = pool.workers();
    assert!(workers.iter().all(|worker| worker.served > 0), "one of them did nothing");
    pool.close();
    timeout(LONG, supervisor.shutdown(Duration::from_secs(20))).await.unwrap().unwrap();
    for worker in workers {
        let pid = worker.info.pid.unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
