//! A worker that gives no sign of life is ended; one that is busy, however badly, is not.

use std::process::Command;
use std::time::Duration;

use snakepit::{PoolReport, Snakepit, WorkerReport};

use crate::support::{PATIENCE, assert_serves, builder, stop, wait};

/// Three missed beats are three times five of these.
const BEAT: Duration = Duration::from_millis(100);

fn worker(snakepit: &Snakepit) -> (Option<WorkerReport>, u64) {
    match snakepit.stats().pools.remove(0) {
        PoolReport::Running { workers, exits, .. } => (workers.into_iter().next(), exits.silent),
        failed => panic!("{failed:?}"),
    }
}

#[test]
fn handler_that_holds_the_gil_is_busy_and_not_dead() {
    let snakepit = wait(builder("misbehaving.py").default_pool(|p| p.heartbeat(BEAT)).start());
    let snakepit = snakepit.unwrap();
    let before = worker(&snakepit).0.unwrap().info.pid;
    // As long as issue 3 says, and more than ten times what ends a worker that is silent.
    let call = snakepit.call("clutch").args([20]).timeout(PATIENCE);
    assert_eq!(wait(call.execute::<u32>()).unwrap(), 20);
    assert_eq!((worker(&snakepit).0.unwrap().info.pid, worker(&snakepit).1), (before, 0));
    stop(snakepit);
}

#[test]
fn frozen_worker_is_ended_and_replaced() {
    let snakepit = wait(builder("misbehaving.py").default_pool(|p| p.heartbeat(BEAT)).start());
    let snakepit = snakepit.unwrap();
    let pid = worker(&snakepit).0.unwrap().info.pid.unwrap();
    let frozen = Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
    assert!(frozen.success());
    // The frozen worker is given the call and never starts it, so it runs elsewhere.
    assert_serves(&snakepit);
    let (now, died) = worker(&snakepit);
    assert_ne!(now.unwrap().info.pid, Some(pid));
    assert_eq!(died, 1);
    stop(snakepit);
}
