//! Workers are replaced although they are well, and no call notices. A test for each setting.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value as Json;
use snakepit::config::{PoolBuilder, PoolConfig};
use snakepit::{ErrorKind, PoolReport, Recycles, Snakepit, WorkerId, WorkerReport, WorkerState};

use crate::support::{adapter, builder, python, stop, until, wait};

/// A pool that recycles only as far as `set` says.
fn start(adapter: &str, set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Snakepit {
    wait(builder(adapter).default_pool(|pool| set(pool.jitter(0.0))).start()).unwrap()
}

fn report(snakepit: &Snakepit, pool: &str) -> (Vec<WorkerReport>, usize, Recycles) {
    let reports = snakepit.stats().pools.into_iter();
    let report = reports.into_iter().find(|report| report.pool() == pool).unwrap();
    let PoolReport::Running { workers, starting, recycles, exits, .. } = report else {
        panic!("the pool runs")
    };
    assert_eq!(exits.died, 0);
    (workers, starting, recycles)
}

fn recycles(snakepit: &Snakepit) -> Recycles {
    report(snakepit, "default").2
}

fn pids(snakepit: &Snakepit) -> BTreeSet<u32> {
    let workers = report(snakepit, "default").0;
    workers.into_iter().map(|worker| worker.info.pid.unwrap()).collect()
}

#[test]
fn max_requests_changes_processes_and_no_call_notices() {
    let snakepit = start("plain.py", |pool| pool.workers(2).max_requests(20));
    let before = pids(&snakepit);
    // Half of them take a while, so that replacements have the time to start.
    let calls = (0..200_u32).map(|n| match n % 2 {
        0 => snakepit.call("echo").args([n]),
        _ => snakepit.call("nap").args([f64::from(n) / 8000.0]),
    });
    let results = wait(snakepit.execute_batch::<f64>(calls));
    for (n, result) in (0..200_u32).zip(results) {
        let expected = if n % 2 == 0 { f64::from(n) } else { f64::from(n) / 8000.0 };
        assert_eq!(result.unwrap(), expected);
    }
    until("recycled", || recycles(&snakepit).max_requests >= 2);
    until("both places have other processes", || {
        let now = pids(&snakepit);
        now.len() == 2 && now.is_disjoint(&before)
    });
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    let pool = &stats["pools"][0];
    assert_eq!((&pool["completed"], &pool["failed"]), (&Json::from(200), &Json::from(0)));
    assert_eq!(pool["recycles"]["max_requests"], pool["exits"]["recycled"]);
    let worker = &pool["workers"][0];
    assert!(worker["age_seconds"].is_number() && worker["served"].is_number(), "{worker}");
    assert!(["ready", "due"].contains(&worker["state"].as_str().unwrap()), "{worker}");
    stop(snakepit);
}

#[test]
fn ttl_replaces_a_worker_that_does_nothing() {
    let snakepit = start("plain.py", |pool| pool.ttl(Duration::from_secs(1)));
    let before = pids(&snakepit);
    assert_eq!(recycles(&snakepit).total(), 0);
    until("old enough", || recycles(&snakepit).ttl_expired >= 1);
    assert!(pids(&snakepit).is_disjoint(&before));
    stop(snakepit);
}

#[test]
fn idle_replaces_a_worker_that_has_served_and_not_one_that_has_not() {
    let snakepit = start("plain.py", |pool| pool.workers(2).idle(Duration::from_millis(400)));
    let before = pids(&snakepit);
    let who: Json = wait(snakepit.execute("who", ())).unwrap();
    until("unused for long enough", || recycles(&snakepit).idle == 1);
    let after = pids(&snakepit);
    assert!(!after.contains(&(who["pid"].as_u64().unwrap() as u32)));
    assert_eq!(after.intersection(&before).count(), 1, "the other one had nothing to leave");
    stop(snakepit);
}

#[test]
fn max_memory_replaces_a_worker_that_hoards_as_often_as_it_is_measured() {
    let limit = |pool: PoolBuilder| pool.max_memory(96 << 20).jitter(0.0);
    let rarely = PoolConfig::builder("rarely").adapter(adapter("misbehaving.py")).python(python());
    let rarely = limit(rarely.workers(1).memory_interval(Duration::from_secs(3600)));
    let often = |pool| limit(pool).memory_interval(Duration::from_millis(50));
    let builder = builder("misbehaving.py").default_pool(often).pool(rarely.build().unwrap());
    let snakepit = wait(builder.start()).unwrap();
    let hoard = |pool: &str, mebibytes: u32| {
        let call = snakepit.call("hoard").args([mebibytes]).pool(pool);
        wait(call.execute::<usize>()).unwrap()
    };
    assert_eq!(hoard("default", 8), 1);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(recycles(&snakepit).total(), 0, "well below the limit at several readings");
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    assert!(stats["pools"][0]["workers"][0]["memory_bytes"].as_u64() > Some(8 << 20));
    assert!(stats["pools"][1]["workers"][0]["memory_bytes"].is_null());
    assert_eq!((hoard("rarely", 128), hoard("default", 128)), (1, 2));
    until("measured", || recycles(&snakepit).memory_threshold == 1);
    assert_eq!(hoard("default", 1), 1, "a process that has hoarded nothing");
    assert_eq!(report(&snakepit, "rarely").2.total(), 0);
    let total = snakepit.stats().total;
    assert_eq!((total.pools, total.workers, total.recycles.memory_threshold), (2, 2, 1));
    assert_eq!((total.counters.completed, total.capacity, total.busy), (4, 2, 0));
    stop(snakepit);
}

#[test]
fn jitter_ends_some_workers_before_the_others() {
    for (jitter, early) in [(0.0, false), (0.5, true)] {
        let set = |pool: PoolBuilder| pool.workers(4).max_requests(100).jitter(jitter);
        let snakepit = start("plain.py", set);
        let workers = report(&snakepit, "default").0;
        // Two short of the 80 at which the replacement of the full limit starts.
        for worker in workers {
            for _ in 0..78 {
                let call = snakepit.call("echo").worker(worker.info.id.clone());
                match wait(call.execute::<Json>()) {
                    // It waits for its replacement, or has been replaced.
                    Err(error)
                        if early
                            && matches!(
                                error.kind(),
                                ErrorKind::WorkerBusy | ErrorKind::WorkerNotFound
                            ) =>
                    {
                        break;
                    }
                    result => drop(result.unwrap()),
                }
            }
        }
        if early {
            // Each worker misses with a chance of one in twenty.
            until("due early", || recycles(&snakepit).max_requests >= 1);
        } else {
            let workers = report(&snakepit, "default").0;
            assert!(workers.iter().all(|w| (w.state, w.served) == (WorkerState::Ready, 78)));
        }
        stop(snakepit);
    }
}

#[test]
fn max_surge_is_how_many_start_at_a_time() {
    for surge in [1, 3] {
        let snakepit = start("plain.py", |pool| pool.workers(3).max_surge(surge));
        let before = pids(&snakepit);
        let mut most = 0;
        std::thread::scope(|scope| {
            let recycling = scope.spawn(|| wait(snakepit.recycle("default", None)));
            until("all are replaced", || {
                let (workers, starting, _) = report(&snakepit, "default");
                assert!(workers.len() <= 3 + surge);
                most = most.max(starting);
                recycling.is_finished()
            });
            recycling.join().unwrap().unwrap();
        });
        assert_eq!(most, surge);
        let after = pids(&snakepit);
        assert!(after.len() == 3 && after.is_disjoint(&before));
        assert_eq!(recycles(&snakepit).manual, 3);
        stop(snakepit);
    }
}

#[test]
fn one_worker_is_recycled_by_hand_while_it_runs_a_call() {
    let snakepit = start("plain.py", |pool| pool);
    let worker = report(&snakepit, "default").0[0].info.id.clone();
    let long = snakepit.call("nap").args([1.5]).worker(worker.clone());
    std::thread::scope(|scope| {
        let long = scope.spawn(|| wait(long.execute::<f64>()));
        until("the call runs", || report(&snakepit, "default").0[0].in_flight == 1);
        let recycling = scope.spawn(|| wait(snakepit.recycle("default", Some(&worker))));
        until("the old one drains", || {
            let workers = report(&snakepit, "default").0;
            workers.iter().any(|w| w.info.id == worker && w.state == WorkerState::Draining)
        });
        let who: Json = wait(snakepit.execute("who", ())).unwrap();
        assert!(who["pid"].is_number(), "served by the new one while the old one is busy");
        assert!(!long.is_finished());
        let refused = wait(snakepit.call("echo").worker(worker.clone()).execute::<Json>());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::WorkerNotFound);
        assert_eq!(long.join().unwrap().unwrap(), 1.5);
        recycling.join().unwrap().unwrap();
    });
    let refused = wait(snakepit.recycle("default", Some(&worker))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WorkerNotFound);
    let refused = wait(snakepit.recycle("other", None)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PoolNotFound);
    let other = snakepit.clone();
    stop(snakepit);
    let refused = wait(other.recycle("default", Some(&WorkerId::from("x")))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PoolClosed);
}
