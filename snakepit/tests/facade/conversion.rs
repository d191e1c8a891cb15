//! Values of every type of the mapping table, there and back through a real worker, in both codecs.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::Serialize;
use snakepit::{BigInt, Codec, Error, Snakepit, Value};

use crate::support::{start, stop, wait};

const CODECS: [Codec; 2] = [Codec::MsgPack, Codec::Json];

/// Random values are many to a call, so that the worker is asked some dozens of times only.
const CASES: u32 = 48;

fn proptest(
    check: impl Fn(Value) -> Result<(), TestCaseError>,
    values: impl Strategy<Value = Value>,
) {
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..Default::default() };
    TestRunner::new(config).run(&values, check).unwrap();
}

fn call<T: Serialize>(
    snakepit: &Snakepit,
    tool: &str,
    codec: Codec,
    argument: T,
) -> Result<Value, Error> {
    wait(snakepit.call(tool).codec(codec).args([argument]).execute())
}

fn scalar(codec: Codec) -> BoxedStrategy<Value> {
    let text = prop_oneof![".{0,40}", "[\\PC\\x00-\\x1f\"\\\\]{0,12}"].prop_map(Value::String);
    let integer = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i128>().prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|bytes| Value::from(BigInt::from_bytes(&bytes))),
    ];
    let plain = prop_oneof![Just(Value::Nil), any::<bool>().prop_map(Value::Bool), integer, text];
    match codec {
        Codec::Json => {
            let finite = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
            prop_oneof![plain, finite.prop_map(Value::Float)].boxed()
        }
        _ => {
            let bytes = prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes);
            let marker = (".{0,8}", ".{0,8}")
                .prop_map(|(type_name, repr)| Value::Marker { type_name, repr });
            prop_oneof![plain, any::<f64>().prop_map(Value::Float), bytes, marker].boxed()
        }
    }
}

fn value(codec: Codec) -> impl Strategy<Value = Value> {
    let key = match codec {
        Codec::Json => ".{0,40}".prop_map(Value::String).boxed(),
        // A marker stands for an object, which is no key.
        _ => scalar(codec)
            .prop_filter("a marker is no key", |key| !matches!(key, Value::Marker { .. }))
            .boxed(),
    };
    scalar(codec).prop_recursive(5, 64, 6, move |inner| {
        let entries = prop::collection::vec((key.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..20).prop_map(Value::Array),
            entries.prop_map(|entries| Value::Map(distinct(entries))),
        ]
    })
}

/// Entries whose keys Python tells apart: there, `True` and `1.0` are `1`, and -0.0 is 0.0.
fn distinct(entries: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    let name = |key: &Value| match key {
        Value::Bool(flag) => f64::from(u8::from(*flag)).to_string(),
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => {
            (key.as_f64().unwrap() + 0.0).to_string()
        }
        Value::BigInt(number) => number.to_string().parse::<f64>().unwrap().to_string(),
        other => format!("{other:?}"),
    };
    let mut seen = std::collections::HashSet::new();
    entries.into_iter().filter(|(key, _)| seen.insert(name(key))).collect()
}

/// Equality that takes NaN for itself and tells -0.0 from 0.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => {
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let pairs = || a.iter().zip(b);
            a.len() == b.len() && pairs().all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
        }
        _ => a == b,
    }
}

#[test]
fn random_values_of_rusts_come_back_from_python_as_they_were() {
    let snakepit = start("conversion.py");
    for codec in CODECS {
        proptest(
            |value| {
                let back = call(&snakepit, "echo", codec, &value).unwrap();
                prop_assert!(same(&back, &value), "{codec:?}: {value:?} came back as {back:?}");
                Ok(())
            },
            value(codec),
        );
    }
    stop(snakepit);
}

#[test]
fn random_values_of_pythons_come_back_from_rust_in_their_plain_form() {
    let snakepit = start("conversion.py");
    for (codec, name) in [(Codec::MsgPack, "msgpack"), (Codec::Json, "json")] {
        for seed in 0..300 {
            let made = snakepit.call("make").codec(codec).args((seed, name));
            let value: Value =
                wait(made.execute()).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            let judged = snakepit.call("judge").codec(codec).args((seed, name, value));
            if let Err(error) = wait(judged.execute::<()>()) {
                panic!("{codec:?}, seed {seed}: {error:?}");
            }
        }
    }
    stop(snakepit);
}

/// A tool, its parameter's type, and values for it.
type Hinted = (&'static str, &'static str, BoxedStrategy<Value>);

fn date() -> BoxedStrategy<String> {
    (1..10_000_u32, 1..13_u32, 1..29_u32)
        .prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"))
        .boxed()
}

fn time() -> BoxedStrategy<String> {
    let zone = prop_oneof![Just(""), Just("+00:00"), Just("-03:30")];
    let fraction =
        prop_oneof![Just(String::new()), (1..1_000_000_u32).prop_map(|us| format!(".{us:06}"))];
    (0..24_u32, 0..60_u32, 0..60_u32, fraction, zone)
        .prop_map(|(h, m, s, fraction, zone)| format!("{h:02}:{m:02}:{s:02}{fraction}{zone}"))
        .boxed()
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn hinted() -> Vec<Hinted> {
    let uuid = || {
        any::<u128>().prop_map(|bits| {
            let hex = format!("{bits:032x}");
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
        })
    };
    let integers = || prop::collection::vec(any::<i64>().prop_map(Value::from), 0..5);
    // The order of more is the set's own.
    let one = || prop::collection::vec(any::<i64>().prop_map(Value::from), 0..2);
    let finite = || prop::num::f64::NORMAL.prop_map(Value::Float);
    let text = |text: BoxedStrategy<String>| text.prop_map(Value::String).boxed();
    vec![
        ("take_none", "NoneType", Just(Value::Nil).boxed()),
        ("take_bool", "bool", any::<bool>().prop_map(Value::Bool).boxed()),
        ("take_int", "int", any::<i128>().prop_map(Value::from).boxed()),
        ("take_float", "float", finite().boxed()),
        ("take_str", "str", text(".{0,40}".boxed())),
        ("take_list", "list", integers().prop_map(Value::Array).boxed()),
        (
            "take_tuple",
            "tuple",
            (any::<i64>(), ".{0,9}")
                .prop_map(|(a, b)| Value::Array(vec![a.into(), b.into()]))
                .boxed(),
        ),
        ("take_set", "set", one().prop_map(Value::Array).boxed()),
        ("take_frozenset", "frozenset", one().prop_map(Value::Array).boxed()),
        (
            "take_dict",
            "dict",
            prop::collection::btree_map(uuid(), any::<i64>(), 0..5)
                .prop_map(|map| {
                    Value::Map(map.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
                })
                .boxed(),
        ),
        (
            "take_datetime",
            "datetime",
            text((date(), time()).prop_map(|(d, t)| format!("{d}T{t}")).boxed()),
        ),
        ("take_date", "date", text(date())),
        ("take_time", "time", text(time())),
        (
            "take_timedelta",
            "timedelta",
            (-(1_i64 << 50)..1 << 50).prop_map(|us| Value::Float(us as f64 / 1e6)).boxed(),
        ),
        ("take_decimal", "Decimal", text("-?[1-9][0-9]{0,30}\\.[0-9]{1,20}".boxed())),
        ("take_uuid", "UUID", text(uuid().boxed())),
        ("take_path", "PurePosixPath", text("(/[a-zé]{1,8}){1,4}".boxed())),
        (
            "take_enum",
            "Colour",
            prop_oneof![Just("red"), Just("blue")].prop_map(Value::from).boxed(),
        ),
        ("take_int_enum", "Level", (1..3_i64).prop_map(Value::from).boxed()),
        (
            "take_dataclass",
            "Address",
            ("[a-zé]{0,9}", date(), prop::collection::vec("[a-z]{1,4}", 0..2))
                .prop_map(|(street, since, tags)| {
                    let tags = tags.into_iter().map(Value::from).collect();
                    let length = Value::from(street.chars().count() as u64);
                    map(vec![
                        ("street", street.into()),
                        ("since", since.into()),
                        ("tags", Value::Array(tags)),
                        ("length", length),
                    ])
                })
                .boxed(),
        ),
        (
            "take_named_tuple",
            "Place",
            (".{0,9}", finite(), finite())
                .prop_map(|(name, x, y)| {
                    map(vec![("name", name.into()), ("at", Value::Array(vec![x, y]))])
                })
                .boxed(),
        ),
    ]
}

/// The tools check that what they get is of the very type; what comes back is the same again.
#[test]
fn random_arguments_arrive_as_the_type_of_their_hint() {
    let snakepit = start("conversion.py");
    for codec in CODECS {
        for (tool, kind, values) in hinted() {
            let check = |value: Value| {
                let told = call(&snakepit, tool, codec, &value);
                let told = told.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
                let expected = Value::Array(vec![kind.into(), value]);
                prop_assert!(same(&told, &expected), "{tool}: {told:?} is not {expected:?}");
                Ok(())
            };
            proptest(check, values);
        }
    }
    let bytes = Value::Bytes(vec![0, 255]);
    for (tool, kind) in [("take_bytes", "bytes"), ("take_bytearray", "bytearray")] {
        let told = call(&snakepit, tool, Codec::MsgPack, &bytes).unwrap();
        assert_eq!(told, Value::Array(vec![kind.into(), bytes.clone()]));
    }
    stop(snakepit);
}
