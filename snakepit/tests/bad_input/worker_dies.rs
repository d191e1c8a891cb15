//! A worker that goes in the middle of a call.

use serde_json::{Value, json};
use snakepit::{ErrorKind, Snakepit};

use crate::support::{assert_serves, start, stop, wait};

fn assert_lost(snakepit: &Snakepit, command: &str, arguments: Value) -> String {
    let error = wait(snakepit.execute::<Value>(command, arguments)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true }, "{error:?}");
    assert!(error.help().is_some(), "{error:?}");
    error.message().to_owned()
}

#[test]
fn exit_is_one_error_that_names_the_code_and_the_worker_is_replaced() {
    let snakepit = start("misbehaving.py");
    let message = assert_lost(&snakepit, "leave", json!({"code": 7}));
    assert!(message.contains('7'), "{message}");
    assert_serves(&snakepit);
    stop(snakepit);
}

#[test]
fn kill_is_one_error_that_names_the_signal_and_the_worker_is_replaced() {
    let snakepit = start("misbehaving.py");
    let message = assert_lost(&snakepit, "die", json!({}));
    assert!(message.contains('9') || message.contains("KILL"), "{message}");
    assert_serves(&snakepit);
    let message = assert_lost(&snakepit, "die", json!({"sig": "SIGSEGV"}));
    assert!(message.contains("11") || message.contains("SEGV"), "{message}");
    assert_serves(&snakepit);
    stop(snakepit);
}
