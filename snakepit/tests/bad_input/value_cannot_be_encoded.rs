//! Values without a form on the wire, on both sides.

use serde::Serialize;
use serde::ser::Error as _;
use serde_json::{Value as Json, json};
use snakepit::{Codec, ErrorKind, Value};

use crate::support::{assert_serves, start, stop, wait};

struct Unwilling;

impl Serialize for Unwilling {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("I will not"))
    }
}

#[test]
fn arguments_that_fail_to_encode_come_out_of_the_result() {
    let snakepit = start("misbehaving.py");
    let error = wait(snakepit.execute::<Json>("echo", Unwilling)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EncodeFailed);
    assert!(error.message().contains("I will not"), "{error}");
    assert_serves(&snakepit);
    stop(snakepit);
}

#[test]
fn results_that_fail_to_encode_are_told_as_such() {
    let snakepit = start("misbehaving.py");
    for command in ["surrogate", "cycle"] {
        let error = wait(snakepit.execute::<Json>(command, ())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EncodeFailed, "{command}: {error:?}");
    }
    let nan = snakepit.call("echo").args(json!([1])).codec(Codec::Json);
    assert_eq!(wait(nan.execute::<Vec<Json>>()).unwrap_err().kind(), ErrorKind::DecodeFailed);
    assert_serves(&snakepit);
    stop(snakepit);
}

#[test]
fn result_of_another_type_says_which_was_wanted() {
    let snakepit = start("misbehaving.py");
    let error = wait(snakepit.execute::<i64>("echo", ["text"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DecodeFailed);
    assert!(error.message().contains("i64"), "{error}");
    assert_serves(&snakepit);
    stop(snakepit);
}

#[test]
fn object_without_a_form_becomes_a_marker() {
    let snakepit = start("misbehaving.py");
    let value: Value = wait(snakepit.execute("opaque", ())).unwrap();
    let Value::Marker { type_name, repr } = &value else { panic!("{value:?}") };
    assert!(type_name.contains("lock") && repr.contains("lock"), "{value:?}");
    let json: Json = wait(snakepit.execute("opaque", ())).unwrap();
    assert!(json["__snakepit_marker__"].as_str().unwrap().contains("lock"), "{json}");
    stop(snakepit);
}
