//! The end: orderly, within a deadline, and by drop.

use std::pin::Pin;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use snakepit::{Error, ErrorKind, Phase, Snakepit};

use crate::support::{PATIENCE, start, stop, wait};

fn worker_pid(snakepit: &Snakepit) -> u64 {
    let who: Json = wait(snakepit.execute("who", ())).unwrap();
    who["pid"].as_u64().unwrap()
}

/// A call that runs for certain: one that only waits in the worker would be given back.
fn begun(
    snakepit: &Snakepit,
    steps: u64,
) -> Pin<Box<impl Future<Output = Result<u64, Error>> + use<>>> {
    let (tell, told) = std::sync::mpsc::channel();
    let call = snakepit.call("steps").args([steps]).on_progress(move |_| {
        // Only the first report is waited for.
        let _ = tell.send(());
    });
    let mut running = Box::pin(call.execute());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(running.as_mut().poll(&mut context).is_pending());
    told.recv_timeout(PATIENCE).unwrap();
    running
}

fn is_alive(pid: u64) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn running_calls_finish_and_later_ones_are_refused() {
    let snakepit = start("plain.py");
    let pid = worker_pid(&snakepit);
    let running = begun(&snakepit, 20);
    let other = snakepit.clone();
    stop(snakepit);
    assert_eq!(wait(running).unwrap(), 20);
    assert!(!is_alive(pid));
    let error = wait(other.execute::<Json>("echo", ())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PoolClosed);
    wait(other.shutdown(PATIENCE)).expect("a second shutdown has nothing to do");
}

#[test]
fn deadline_cuts_off_what_still_runs() {
    let snakepit = start("plain.py");
    let pid = worker_pid(&snakepit);
    // It asks nobody whether to stop, so only force ends it.
    let running = begun(&snakepit, 1_000_000);
    let before = Instant::now();
    let error = wait(snakepit.shutdown(Duration::from_secs(2))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Drain));
    assert!(before.elapsed() < Duration::from_secs(6), "{:?}", before.elapsed());
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
    assert!(begun.elapsed() < Duration::from_millis(500), "drop waited {:?}", begun.elapsed());
    while is_alive(pid) {
        assert!(begun.elapsed() < PATIENCE, "the worker outlives its host");
        std::thread::yield_now();
    }
}
