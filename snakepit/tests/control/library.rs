//! A control socket in a program of one's own, which also runs calls.

use std::pin::Pin;
use std::time::Duration;

use serde_json::{Value, json};
use snakepit::config::{CircuitPer, HostConfig, PoolConfig};
use snakepit::{Builder, Error, ErrorKind, Snakepit};

use crate::support::{PATIENCE, adapter, builder, python, wait};
use crate::{Place, until};

/// A program with the pools `default` and `other`, and its socket.
fn program(place: &Place) -> (Snakepit, String) {
    let socket = place.path().join("own.sock");
    let other =
        PoolConfig::builder("other").adapter(adapter("plain.py")).python(python()).workers(1);
    let builder = builder("plain.py").pool(other.build().unwrap()).control_socket(&socket);
    (wait(builder.start()).unwrap(), socket.to_str().unwrap().to_owned())
}

/// A call that runs for certain.
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

#[test]
fn calls_are_counted_and_a_drain_lets_them_end() {
    let place = Place::new();
    let (snakepit, socket) = program(&place);
    let sum: i64 = wait(snakepit.execute("add", json!({"a": 1, "b": 2}))).unwrap();
    assert_eq!(sum, 3);
    wait(snakepit.execute::<Value>("fail", json!({"message": "as asked"}))).unwrap_err();
    let running = begun(&snakepit, 50);
    let workers = place.json(&["workers", "default", "--socket", &socket]);
    assert_eq!((&workers[0]["in_flight"], &workers[0]["served"]), (&json!(1), &json!(2)));
    let stats = place.json(&["stats", "--socket", &socket]);
    let pool = &stats["pools"][0];
    let counted = ["submitted", "completed", "failed", "busy", "available"].map(|key| &pool[key]);
    assert_eq!(counted, [&json!(3), &json!(1), &json!(1), &json!(1), &json!(0)], "{pool}");

    std::thread::scope(|scope| {
        let draining = scope.spawn(|| place.prints(&["drain", "default", "--socket", &socket]));
        until("it takes no more calls", || {
            let refused = wait(snakepit.execute::<Value>("echo", ()));
            refused.is_err_and(|error| error.kind() == ErrorKind::PoolClosed)
        });
        assert_eq!(wait(running).unwrap(), 50, "a call is not cut off");
        assert_eq!(draining.join().unwrap(), "drained default\n");
    });
    let echo = snakepit.call("echo").args(["still here"]).pool("other");
    assert_eq!(wait(echo.execute::<String>()).unwrap(), "still here");
    wait(snakepit.shutdown(PATIENCE)).unwrap();
    assert!(!std::path::Path::new(&socket).exists());
}

#[test]
fn a_drain_cuts_off_what_takes_too_long_and_says_so() {
    let place = Place::new();
    let (snakepit, socket) = program(&place);
    let running = begun(&snakepit, 1_000_000);
    let line = ["drain", "default", "--timeout", "1s", "--socket", &socket];
    let error = place.error(1, &line);
    assert_eq!(error["kind"], "drain_timeout");
    assert!(wait(running).is_err(), "a call that is cut off still ends");
    wait(snakepit.shutdown(PATIENCE)).unwrap();
}

#[test]
fn a_program_learns_that_it_was_drained() {
    let place = Place::new();
    let (snakepit, socket) = program(&place);
    assert_eq!(
        place.json(&["drain", "--socket", &socket]),
        json!({"drained": ["default", "other"]})
    );
    wait(snakepit.ended());
    wait(snakepit.shutdown(PATIENCE)).unwrap();
}

#[test]
fn a_shutdown_waits_for_a_drain_that_is_under_way() {
    let place = Place::new();
    let (snakepit, socket) = program(&place);
    let running = begun(&snakepit, 50);
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| place.output(&["drain", "default", "--socket", &socket]));
        until("the drain has begun", || {
            let stats = place.json(&["stats", "default", "--socket", &socket]);
            stats["pools"][0]["state"] == "draining"
        });
        wait(snakepit.shutdown(PATIENCE)).unwrap();
        let drained = draining.join().unwrap();
        assert!(drained.status.success(), "its answer has come before the end: {drained:?}");
    });
    assert_eq!(wait(running).unwrap(), 50);
}

#[test]
fn an_operator_who_waits_keeps_no_host_alive() {
    let place = Place::new();
    let (snakepit, socket) = program(&place);
    // Keeps the old worker, and so the operator, waiting.
    let running = begun(&snakepit, 1_000_000);
    std::thread::scope(|scope| {
        let recycling = scope.spawn(|| place.output(&["recycle", "default", "--socket", &socket]));
        until("the operator waits", || {
            let shown = place.prints(&["workers", "default", "--socket", &socket]);
            shown.contains("draining (manual)")
        });
        drop(running);
        drop(snakepit);
        assert!(!std::path::Path::new(&socket).exists());
        let output = recycling.join().unwrap();
        assert!(!output.stderr.is_empty() || output.status.success(), "{output:?}");
    });
}

#[test]
fn a_second_program_at_the_same_path_is_refused() {
    let place = Place::new();
    let (snakepit, socket) = program(&place);
    let second = builder("plain.py").control_socket(&socket);
    let refused = wait(second.start()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::System);
    assert!(refused.message().contains(&std::process::id().to_string()), "{refused}");
    wait(snakepit.shutdown(PATIENCE)).unwrap();
}

#[test]
fn one_pool_is_drained_by_the_program_itself() {
    let place = Place::new();
    let (snakepit, socket) = program(&place);
    let snakepit = snakepit::blocking::Snakepit::from(snakepit);
    snakepit.drain("other", Duration::from_secs(30)).unwrap();
    let stats = place.json(&["stats", "--socket", &socket]);
    let states = [&stats["pools"][0]["state"], &stats["pools"][1]["state"]];
    assert_eq!(states, [&json!("running"), &json!("stopped")]);
    let missing = snakepit.drain("otehr", Duration::from_secs(30)).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::PoolNotFound);
    snakepit.shutdown(PATIENCE).unwrap();
    snakepit.ended();
}

#[test]
fn circuits_are_shown_and_can_be_closed() {
    let place = Place::new();
    let socket = place.path().join("own.sock");
    let fragile = builder("fragile.py").default_pool(|pool| {
        pool.breaker(|breaker| breaker.failures(1).per(CircuitPer::Command))
            .retry(|retry| retry.attempts(2).base(Duration::from_millis(1)))
    });
    let snakepit = wait(fragile.control_socket(&socket).start()).unwrap();
    let socket = socket.to_str().unwrap();
    let here = place.path().to_str().unwrap();
    let fail = || wait(snakepit.execute::<Value>("depends", [here])).unwrap_err().kind();
    assert_eq!(fail(), ErrorKind::Python);
    assert_eq!(fail(), ErrorKind::CircuitOpen);
    let stats = place.json(&["stats", "--socket", socket]);
    let (pool, total) = (&stats["pools"][0], &stats["total"]["layers"]);
    let circuit = &pool["circuits"][0];
    assert_eq!((&circuit["command"], &circuit["state"]), (&json!("depends"), &json!("open")));
    assert!(circuit["retry_in_seconds"].as_f64().is_some_and(|time| time <= 30.0), "{circuit}");
    assert_eq!(pool["layers"]["breaker"], json!({"opened": 1, "closed": 0, "refused": 1}));
    assert_eq!((&total["breaker"]["refused"], &total["retry"]["retries"]), (&json!(1), &json!(0)));
    // The same form as the library's.
    let own = serde_json::to_value(snakepit.stats()).unwrap();
    assert_eq!(own["pools"][0]["layers"], pool["layers"]);
    let shown = place.prints(&["stats", "--socket", socket]);
    assert!(shown.contains("the circuit of depends is open"), "{shown}");
    assert!(shown.contains("breaker opened"), "{shown}");

    let closed = place.json(&["reset", "default", "depends", "--socket", socket]);
    assert_eq!(closed, json!({"pool": "default", "command": "depends", "changed": true}));
    assert_eq!(place.prints(&["reset", "default", "--socket", socket]), "was closed already\n");
    assert_eq!(fail(), ErrorKind::Python, "calls pass again");
    let error = place.error(2, &["reset", "defualt", "--socket", socket]);
    assert_eq!(error["kind"], "pool_not_found");
    wait(snakepit.shutdown(PATIENCE)).unwrap();
}

#[test]
fn a_program_has_the_socket_that_its_settings_name_unless_it_says_otherwise() {
    let place = Place::new();
    let host = || HostConfig::builder().instance("shop").socket_dir(place.path()).build().unwrap();
    let start = |builder: Builder| wait(builder.start()).unwrap();
    let file = place.path().join("shop.sock");
    let named = start(builder("plain.py").host(host()));
    assert_eq!(place.json(&["workers", "--socket", file.to_str().unwrap()])[0]["pool"], "default");
    assert_eq!(named.host_config().instance(), Some("shop"));
    // A second one of that name would be refused.
    let silent = start(builder("plain.py").host(host()).no_control_socket());
    drop(named);
    until("it has gone with its host", || !file.exists());
    let elsewhere = place.path().join("else.sock");
    let other = start(builder("plain.py").host(host()).control_socket(&elsewhere));
    assert!(elsewhere.exists() && !file.exists());
    drop((silent, other));
}
