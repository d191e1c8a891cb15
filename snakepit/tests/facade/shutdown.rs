//! The end: orderly, within a deadline, and by drop.

use std::time::{Duration, Instant};

use serde_json::Value as Json;
use snakepit::{ErrorKind, Phase, Snakepit};

use crate::support::{PATIENCE, start, stop, wait};

fn worker_pid(snakepit: &Snakepit) -> u64 {
    let who: Json = wait(snakepit.execute("who", ())).unwrap();
    who["pid"].as_u64().unwrap()
}

fn is_alive(pid: u64) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn running_calls_finish_and_later_ones_are_refused() {
    let snakepit = start("plain.py");
    let pid = worker_pid(&snakepit);
    let mut running = Box::pin(snakepit.call("nap").args([0.3]).execute::<f64>());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(running.as_mut().poll(&mut context).is_pending());
    // Begun for certain: a call that only waits in the worker would be given back.
    std::thread::sleep(Duration::from_millis(100));
    let other = snakepit.clone();
    stop(snakepit);
    assert_eq!(wait(running).unwrap(), 0.3);
    assert!(!is_alive(pid));
    let error = wait(other.execute::<Json>("echo", ())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PoolClosed);
    wait(other.shutdown(PATIENCE)).expect("a second shutdown has nothing to do");
}

#[test]
fn deadline_cuts_off_what_still_runs() {
    let snakepit = start("plain.py");
    let pid = worker_pid(&snakepit);
    let mut running = Box::pin(snakepit.call("nap").args([60.0]).execute::<f64>());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(running.as_mut().poll(&mut context).is_pending());
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    let error = wait(snakepit.shutdown(Duration::from_secs(2))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Drain));
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    assert!(wait(running).is_err(), "a call that is cut off still ends");
    assert!(!is_alive(pid));
}

#[test]
fn dropping_the_last_handle_ends_the_workers_without_waiting() {
    let snakepit = start("plain.py");
    let pid = worker_pid(&snakepit);
    let clone = snakepit.clone();
    drop(snakepit);
    assert_eq!(worker_pid(&clone), pid, "a clone keeps everything alive");
    let begun = Instant::now();
    drop(clone);
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "drop waited {:?}",
        begun.elapsed()
    );
    while is_alive(pid) {
        assert!(begun.elapsed() < PATIENCE, "the worker outlives its host");
        std::thread::yield_now();
    }
}
