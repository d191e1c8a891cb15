//! A tool that the adapter does not have.

use serde_json::{Value, json};
use snakepit::ErrorKind;

use crate::support::{assert_serves, start, stop, wait};

#[test]
fn nearest_name_is_suggested_and_the_pool_serves_on() {
    let snakepit = start("misbehaving.py");
    let error = wait(snakepit.execute::<Value>("ehco", json!({"value": 1}))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownCommand);
    assert!(error.message().contains("ehco"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("`echo`")), "{error:?}");
    assert_serves(&snakepit);
    stop(snakepit);
}

#[test]
fn stream_of_a_plain_tool_and_value_of_a_stream_are_told_apart() {
    let snakepit = start("plain.py");
    let mut stream = wait(snakepit.execute_stream::<Value>("add", json!({"a": 1})))
        .expect("known at the worker");
    let error = wait(stream.next()).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StreamingNotSupported);
    assert!(wait(stream.next()).is_none(), "an error is the last item");

    let error = wait(snakepit.execute::<Value>("count", json!({"to": 1}))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StreamingRequired);
    assert_serves(&snakepit);
    stop(snakepit);
}
