//! Pools get larger and smaller, and no call notices.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value as Json;
use snakepit::{ErrorKind, PoolReport, Snakepit};

use crate::support::{builder, start, stop, until, wait};

fn pids(snakepit: &Snakepit) -> BTreeSet<u32> {
    let PoolReport::Running { workers, .. } = snakepit.stats().pools.remove(0) else {
        panic!("the pool runs")
    };
    workers.into_iter().map(|worker| worker.info.pid.unwrap()).collect()
}

#[test]
fn the_number_of_workers_changes_by_hand_and_no_call_notices() {
    let snakepit = wait(builder("plain.py").workers(2).start()).unwrap();
    let before = pids(&snakepit);
    std::thread::scope(|scope| {
        let calls = (0..400_u32).map(|n| snakepit.call("nap").args([f64::from(n % 8) / 200.0]));
        let batch = scope.spawn(|| wait(snakepit.execute_batch::<f64>(calls)));
        for workers in [4, 1, 3] {
            wait(snakepit.scale("default", workers)).unwrap();
            assert_eq!(pids(&snakepit).len(), workers);
        }
        for (n, result) in (0..400_u32).zip(batch.join().unwrap()) {
            assert_eq!(result.unwrap(), f64::from(n % 8) / 200.0);
        }
    });
    let after = pids(&snakepit);
    assert!(after.len() == 3 && after.intersection(&before).count() <= 1);
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    let pool = &stats["pools"][0];
    assert_eq!((&pool["completed"], &pool["failed"]), (&Json::from(400), &Json::from(0)));
    assert_eq!(pool["exits"]["surplus"], 3);
    for nonsense in [0, 1_000_000] {
        let refused = wait(snakepit.scale("default", nonsense)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    }
    let refused = wait(snakepit.scale("other", 1)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PoolNotFound);
    stop(snakepit);
}

#[test]
fn a_surplus_worker_ends_its_call_and_then_its_process() {
    let snakepit = wait(builder("plain.py").workers(2).start()).unwrap();
    let both = pids(&snakepit);
    std::thread::scope(|scope| {
        let nap = |seconds: f64| {
            let call = snakepit.call("nap").args([seconds]);
            scope.spawn(|| wait(call.execute::<f64>()))
        };
        let naps = [nap(1.0), nap(1.0)];
        until("both run", || {
            let stats = serde_json::to_value(snakepit.stats()).unwrap();
            stats["pools"][0]["busy"] == 2
        });
        wait(snakepit.scale("default", 1)).unwrap();
        for nap in naps {
            assert_eq!(nap.join().unwrap().unwrap(), 1.0);
        }
    });
    let left = pids(&snakepit);
    let gone = both.difference(&left).copied().collect::<Vec<_>>();
    assert_eq!((left.len(), gone.len()), (1, 1));
    assert!(!std::path::Path::new(&format!("/proc/{}", gone[0])).exists());
    stop(snakepit);
}

#[test]
fn a_pool_that_is_shut_down_refuses_and_the_blocking_form_is_the_same() {
    let snakepit = start("plain.py");
    let other = snakepit.clone();
    stop(snakepit);
    assert_eq!(wait(other.scale("default", 2)).unwrap_err().kind(), ErrorKind::PoolClosed);
    let blocking = snakepit::blocking::Snakepit::from(other);
    assert_eq!(blocking.scale("default", 2).unwrap_err().kind(), ErrorKind::PoolClosed);
}

#[test]
fn a_pool_grows_while_calls_wait_and_shrinks_when_none_come() {
    let elastic = builder("plain.py").default_pool(|pool| {
        pool.min_workers(1).max_workers(3).idle_timeout(Duration::from_millis(400))
    });
    let snakepit = wait(elastic.start()).unwrap();
    let first = pids(&snakepit);
    assert_eq!(first.len(), 1);
    let mut most = 0;
    std::thread::scope(|scope| {
        let calls = (0..60).map(|_| snakepit.call("nap").args([0.1]));
        let batch = scope.spawn(|| wait(snakepit.execute_batch::<f64>(calls)));
        until("the batch ends", || {
            most = most.max(pids(&snakepit).len());
            assert!(most <= 3);
            batch.is_finished()
        });
        assert!(batch.join().unwrap().into_iter().all(|result| result.is_ok()));
    });
    assert_eq!(most, 3);
    until("two have gone", || pids(&snakepit).len() == 1);
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    let pool = &stats["pools"][0];
    assert_eq!((&pool["exits"]["surplus"], &pool["failed"]), (&Json::from(2), &Json::from(0)));
    assert_eq!(wait(snakepit.scale("default", 4)).unwrap_err().kind(), ErrorKind::InvalidConfig);
    stop(snakepit);
}
