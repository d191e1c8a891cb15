//! Workers are replaced under load: none of the calls is lost, none runs twice, none fails.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use snakepit::{Snakepit, Value};

use crate::support::{stop, until, wait};
use crate::{alive, alone, full_size, report, start};

/// Arguments of one batch, in bytes.
const BATCH_BYTES: usize = 256 << 20;

/// Calls a tool that writes its number down, and compares what was written with what came back.
fn count_calls(snakepit: &Snakepit, ledger: &Path, calls: u32, bytes: usize) {
    let _ = std::fs::remove_file(ledger);
    let path = ledger.to_str().unwrap();
    let call = |number: u32| {
        let data = Value::Bytes(vec![7; bytes]);
        let arguments = vec![Value::from(path), Value::from(i64::from(number)), data];
        snakepit.call("note").args(arguments)
    };
    // A batch holds the arguments of all its calls.
    let most = (BATCH_BYTES / bytes) as u32;
    for first in (0..calls).step_by(most as usize) {
        let numbers = first..calls.min(first + most);
        let batch = numbers.clone().map(call);
        let results = wait(snakepit.execute_batch::<(u32, usize)>(batch));
        for (number, result) in numbers.zip(results) {
            assert_eq!(result.unwrap(), (number, bytes), "its own answer");
        }
    }
    let written = std::fs::read_to_string(ledger).unwrap();
    let written: Vec<u32> = written.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(written.len(), calls as usize, "none ran twice");
    assert_eq!(written.into_iter().collect::<BTreeSet<_>>().len(), calls as usize);
}

#[test]
fn a_worker_for_every_call_loses_none_and_repeats_none() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger");
    let snakepit = start(|pool| pool.workers(2).max_requests(1));
    let (small, large) = if full_size() { (200_000, 3000) } else { (5000, 300) };
    count_calls(&snakepit, &ledger, small, 1 << 10);
    count_calls(&snakepit, &ledger, large, 8 << 20);
    until("the last ones are gone", || alive(&report(&snakepit)) == 2);
    let report = report(&snakepit);
    assert_eq!((&report["failed"], &report["exits"]["died"]), (&json!(0), &json!(0)));
    let recycles = report["recycles"]["max_requests"].as_u64().unwrap();
    assert!(recycles >= 10, "{recycles} recycles");
    assert_eq!(report["exits"]["recycled"], recycles);
    stop(snakepit);
}

#[test]
fn workers_that_reach_their_age_together_go_one_by_one_under_load() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger");
    let (workers, surge) = (4, 1);
    let ttl = Duration::from_secs(1);
    let snakepit = start(|pool| pool.workers(workers).max_surge(surge).ttl(ttl));
    let rounds = if full_size() { 40 } else { 8 };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while report(&snakepit)["recycles"]["ttl_expired"].as_u64().unwrap() < rounds {
                count_calls(&snakepit, &ledger, 2000, 1 << 10);
            }
            over.store(true, Ordering::Relaxed);
        });
        until("every worker was replaced", || {
            let now = report(&snakepit);
            assert!(alive(&now) <= workers + surge, "{now}");
            over.load(Ordering::Relaxed)
        });
    });
    assert_eq!(report(&snakepit)["failed"], 0);
    stop(snakepit);
}

#[test]
fn a_call_that_takes_too_much_memory_ends_before_its_worker_does() {
    let _alone = alone();
    let limit = |pool: snakepit::config::PoolBuilder| {
        pool.max_memory(96 << 20).memory_interval(Duration::from_millis(50))
    };
    let snakepit = start(limit);
    // Over the limit for some thirty readings.
    let hoard = snakepit.call("hoard").args(json!({"mebibytes": 128, "seconds": 1.5}));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| wait(hoard.execute::<u32>()));
        until("it drains", || {
            let now = report(&snakepit);
            let workers = now["workers"].as_array().unwrap();
            workers.iter().any(|worker| worker["state"] == "draining")
        });
        assert!(!call.is_finished(), "its replacement takes the calls, and it goes on");
        let pid = call.join().unwrap().unwrap();
        until("it is gone", || report(&snakepit)["recycles"]["memory_threshold"] == 1);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    });
    assert_eq!(report(&snakepit)["failed"], 0);
    stop(snakepit);
}
