//! Arguments that are not what a tool takes.

use serde_json::{Value, json};
use snakepit::ErrorKind;

use crate::support::{assert_serves, start, stop, wait};

#[test]
fn each_misfit_names_its_parameter() {
    let snakepit = start("misbehaving.py");
    for (arguments, parameter) in [
        (json!({"a": "five", "b": 3}), "a"),
        (json!({"a": 5}), "b"),
        (json!({"a": 5, "b": 3, "c": 1}), "c"),
        (json!({"a": 5, "b": 3.5}), "b"),
    ] {
        let error = wait(snakepit.execute::<Value>("add", &arguments)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArguments, "{arguments}");
        let named = error.details().get("parameter").map(String::as_str);
        assert_eq!(named, Some(parameter), "{arguments}: {error:?}");
        assert!(error.message().contains(parameter), "{error}");
    }
    let error = wait(snakepit.execute::<Value>("add", [1, 2, 3])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);
    assert_serves(&snakepit);
    stop(snakepit);
}
