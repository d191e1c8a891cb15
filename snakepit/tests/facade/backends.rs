//! The serial owner (V1) and the concurrent pool (V2) behind one interface.

use futures_util::FutureExt;
use futures_util::future::join_all;
use snakepit::backend::{self, PoolVersion};
use snakepit::{ErrorKind, Snakepit};
use tempfile::TempDir;

use crate::support::{PATIENCE, builder, stop, wait};

fn start() -> Snakepit {
    wait(builder("together.py").default_pool(|pool| pool.workers(2).prefetch(0)).start()).unwrap()
}

#[test]
fn serial_owner_runs_one_call_at_a_time_through_a_pool_of_two() {
    let (snakepit, place) = (start(), TempDir::new().unwrap());
    let serial = backend::open(PoolVersion::V1);
    assert_eq!(serial.version(), PoolVersion::V1);
    let call = || snakepit.call("alone").args([place.path().to_str().unwrap()]);
    for done in wait(join_all((0..20).map(|_| serial.run(call())))) {
        assert!(done.unwrap().payload.decode::<bool>().unwrap(), "two calls ran at once");
    }
    stop(snakepit);
}

#[test]
fn concurrent_pool_runs_as_many_as_it_has_workers() {
    let (snakepit, place) = (start(), TempDir::new().unwrap());
    let concurrent = backend::open(PoolVersion::V2);
    let path = place.path().to_str().unwrap();
    // Neither of them ends before both run.
    let call = |own, other| snakepit.call("rendezvous").args((path, own, other)).timeout(PATIENCE);
    let both = [call("a", "b"), call("b", "a")].map(|call| concurrent.run(call));
    for done in wait(join_all(both)) {
        done.unwrap();
    }
    stop(snakepit);
}

#[test]
fn dropped_call_gives_the_serial_owner_to_the_next() {
    let (snakepit, place) = (start(), TempDir::new().unwrap());
    let serial = backend::open(PoolVersion::V1);
    let path = place.path().to_str().unwrap();
    // Waits for somebody who never comes.
    let mut held = serial.run(snakepit.call("rendezvous").args((path, "a", "nobody")));
    assert!((&mut held).now_or_never().is_none());
    drop(held);
    let next = serial.run(snakepit.call("alone").args([path]).queue_timeout(PATIENCE));
    assert!(wait(next).unwrap().payload.decode::<bool>().unwrap());
    // The dropped one is cancelled, and its worker is replaced when it does not let go.
    drop(snakepit);
}

#[test]
fn line_before_the_serial_owner_is_bounded() {
    let snakepit = start();
    let serial = backend::open(PoolVersion::V1);
    let mut waiting: Vec<_> =
        (0..1025).map(|_| serial.run(snakepit.call("alone").args(["/nowhere"]))).collect();
    let refused = wait(serial.run(snakepit.call("alone").args(["/nowhere"]))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PoolSaturated);
    waiting.clear();
    let place = TempDir::new().unwrap();
    let call = snakepit.call("alone").args([place.path().to_str().unwrap()]);
    wait(serial.run(call)).unwrap();
    stop(snakepit);
}

#[test]
fn versions_are_named_as_the_original_names_them() {
    assert_eq!("v1".parse::<PoolVersion>().unwrap(), PoolVersion::V1);
    assert_eq!(PoolVersion::default().to_string(), "v2");
    let error = "v3".parse::<PoolVersion>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}
