//! `Value` against the wire format, JSON, and targets that know nothing of extension types.

use proptest::prelude::*;
use snakepit_core::{BigInt, Codec, JsonText, Payload, Value};

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i128>().prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|bytes| Value::from(BigInt::from_bytes(&bytes))),
        any::<f64>().prop_filter("NaN equals nothing", |f| !f.is_nan()).prop_map(Value::Float),
        ".{0,12}".prop_map(Value::String),
        (".{0,8}", ".{0,8}").prop_map(|(type_name, repr)| Value::Marker { type_name, repr }),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let bytes = prop::collection::vec(any::<u8>(), 0..12).prop_map(Value::Bytes);
    prop_oneof![scalar(), bytes].prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((inner.clone(), inner), 0..5).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_comes_back_from_the_wire(value in value()) {
        let payload = Payload::encode(Codec::MsgPack, &value).unwrap();
        prop_assert_eq!(payload.decode::<Value>().unwrap(), value);
    }

    #[test]
    fn any_value_has_json_text_that_reads_back_stable(value in value()) {
        let text = JsonText(&value).to_string();
        let read = Value::from_json_text(&text).unwrap();
        prop_assert_eq!(JsonText(&read).to_string(), text);
    }

    #[test]
    fn any_scalar_reaches_a_plain_json_target(
        scalars in prop::collection::vec(scalar(), 0..5)
    ) {
        prop_assume!(!scalars.iter().any(|s| s.as_f64().is_some_and(|f| !f.is_finite())));
        let value = Value::Array(scalars);
        let payload = Payload::encode(Codec::MsgPack, &value).unwrap();
        prop_assert_eq!(payload.decode::<serde_json::Value>().unwrap(), value.to_json());
    }
}

#[test]
fn the_wire_form_is_the_documented_one() {
    let bytes =
        |value: &Value| Payload::encode(Codec::MsgPack, value).unwrap().into_bytes().to_vec();
    let mut wide = vec![0xc7, 13, 1, 0x10];
    wide.extend([0; 12]);
    assert_eq!(bytes(&Value::from(1_i128 << 100)), wide, "ext 8, 13 bytes, code 1");
    let marker = Value::Marker { type_name: "a.B".into(), repr: "B()".into() };
    let encoded = bytes(&marker);
    assert_eq!(encoded[..3], [0xc7, encoded.len() as u8 - 3, 2], "ext 8, code 2");
    assert_eq!(encoded[3], 0x82, "a map of two entries");
}

#[test]
fn wide_integers_reach_machine_integers_and_structs() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Answer {
        wide: i128,
        any: serde_json::Value,
        kind: Kind,
    }
    #[derive(Debug, PartialEq, serde::Deserialize)]
    enum Kind {
        Plain,
        With { x: u8 },
    }
    let answer = |kind| {
        Value::Map(vec![
            ("wide".into(), (1_i128 << 100).into()),
            ("any".into(), Value::Marker { type_name: "t".into(), repr: "r".into() }),
            ("kind".into(), kind),
        ])
    };
    let with = Value::Map(vec![("With".into(), Value::Map(vec![("x".into(), 1.into())]))]);
    for (kind, expected) in [("Plain".into(), Kind::Plain), (with, Kind::With { x: 1 })] {
        let payload = Payload::encode(Codec::MsgPack, &answer(kind)).unwrap();
        let read: Answer = payload.decode().unwrap();
        assert_eq!((read.wide, read.kind), (1 << 100, expected));
        assert_eq!(read.any, serde_json::json!({"__snakepit_marker__": "t", "repr": "r"}));
    }
    let payload = Payload::encode(Codec::MsgPack, &Value::from(u128::MAX)).unwrap();
    assert_eq!(payload.decode::<u128>().unwrap(), u128::MAX);
    assert!(payload.decode::<i128>().unwrap_err().to_string().contains("out of range"));
}

#[test]
fn json_text_keeps_integers_of_any_width() {
    let text = r#"{"a":[123456789012345678901234567890,-9223372036854775809,1.5],"18446744073709551616":1}"#;
    let value = Value::from_json_text(text).unwrap();
    assert_eq!(JsonText(&value).to_string(), text);
    assert!(Value::from_json_text("{\"a\": 12345678901234567890123").is_err());
    let deep = format!("{}12345678901234567890{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Value::from_json_text(&deep).is_err(), "nesting is bounded");
}

#[test]
fn what_json_lacks_becomes_text() {
    let value = Value::Array(vec![
        Value::Float(f64::NAN),
        Value::Float(f64::NEG_INFINITY),
        Value::Bytes(b"any carnal pleas".to_vec()),
        Value::Map(vec![(Value::Int(1), Value::Nil), (Value::Bool(true), Value::Nil)]),
    ]);
    let text = r#"["NaN","-Infinity","YW55IGNhcm5hbCBwbGVhcw==",{"1":null,"true":null}]"#;
    assert_eq!(JsonText(&value).to_string(), text);
    assert_eq!(value.to_json().to_string(), text);
    assert_eq!(Payload::encode(Codec::Json, &value).unwrap().into_bytes(), text);
}
