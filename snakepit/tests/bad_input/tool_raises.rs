//! A tool that raises an exception.

use serde_json::{Value, json};
use snakepit::ErrorKind;

use crate::support::{assert_serves, start, stop, wait};

#[test]
fn exception_arrives_with_type_frames_and_cause() {
    let snakepit = start("plain.py");
    let error =
        wait(snakepit.execute::<Value>("fail", json!({"message": "as asked"}))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Python);
    let exception = error.python().unwrap();
    assert_eq!(
        (exception.type_name.as_str(), exception.message.as_str()),
        ("ValueError", "as asked")
    );
    assert_eq!(exception.cause.as_ref().unwrap().type_name, "KeyError");
    let traceback = exception.traceback();
    assert!(traceback.contains("plain.py") && traceback.contains("in fail"), "{traceback}");
    assert!(traceback.contains("direct cause"), "{traceback}");
    assert_serves(&snakepit);
    stop(snakepit);
}
