//! How a [`Value`] meets serde. In MessagePack wide integers and markers are extension types, for
//! which `rmp-serde` has a newtype struct of a reserved name; text formats get the form of `json.rs`.

use std::collections::BTreeMap;
use std::fmt;

use rmp_serde::MSGPACK_EXT_STRUCT_NAME;
use serde::de::{self, Deserialize, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

use super::shared::{self, EXT_ARRAY, EXT_ARROW, EXT_SHARED};
use super::{BigInt, Value, json, target};

/// Extension code of integers beyond 64 bits.
const EXT_BIG_INT: i8 = 1;
/// Extension code of markers.
const EXT_MARKER: i8 = 2;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serializer.is_human_readable();
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::UInt(number) => serializer.serialize_u64(*number),
            Self::String(string) => serializer.serialize_str(string),
            Self::Array(items) => serializer.collect_seq(items),
            Self::NdArray(array) => array.serialize(serializer),
            Self::Arrow(stream) => shared::stream(stream, serializer),
            Self::Float(number) if text && !number.is_finite() => {
                serializer.serialize_str(json::float_text(*number))
            }
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Bytes(bytes) if text => serializer.serialize_str(&json::base64(bytes)),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Map(entries) if text => {
                serializer.collect_map(entries.iter().map(|(key, value)| (json::key(key), value)))
            }
            Self::Map(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
            Self::BigInt(number) if text => json::big_int(number, serializer),
            Self::BigInt(number) => extension(EXT_BIG_INT, number.as_bytes(), serializer),
            Self::Marker { type_name, repr } if text => {
                serializer.collect_map([(json::MARKER_TYPE, type_name), ("repr", repr)])
            }
            Self::Marker { type_name, repr } => {
                extension(EXT_MARKER, &marker_body(type_name, repr), serializer)
            }
        }
    }
}

/// The extension type of a value that has one: its code and body.
pub(super) fn extension_of(value: &Value) -> Option<(i8, Vec<u8>)> {
    match value {
        Value::BigInt(number) => Some((EXT_BIG_INT, number.as_bytes().to_vec())),
        Value::Marker { type_name, repr } => Some((EXT_MARKER, marker_body(type_name, repr))),
        // Only who reads from the value sees this, and finds the part where it was put.
        Value::NdArray(array) => Some((EXT_SHARED, shared::handed_over(array))),
        Value::Arrow(stream) => Some((EXT_SHARED, shared::handed_over_stream(stream))),
        _ => None,
    }
}

fn marker_body(type_name: &str, repr: &str) -> Vec<u8> {
    // Two texts always have a form.
    rmp_serde::to_vec_named(&BTreeMap::from([("type", type_name), ("repr", repr)]))
        .unwrap_or_default()
}

pub(super) fn extension<S: Serializer>(
    code: i8,
    body: &[u8],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_newtype_struct(MSGPACK_EXT_STRUCT_NAME, &(code, Bytes::new(body)))
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if target::is_reading() {
            return deserializer.deserialize_newtype_struct(target::VALUE, WholeVisitor);
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Takes a part as it is from a source that is a `Value` itself.
struct WholeVisitor;

impl<'de> Visitor<'de> for WholeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::with_capacity(bounded(items.size_hint()));
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::with_capacity(bounded(entries.size_hint()));
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(de::Error::custom("an enum outside its type has no value"))
    }

    /// Only an extension type arrives like this.
    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value, D::Error> {
        let (code, body) = <(i8, ByteBuf)>::deserialize(deserializer)?;
        match code {
            EXT_BIG_INT => Ok(Value::from(BigInt::from_bytes(&body))),
            EXT_MARKER => {
                #[derive(serde::Deserialize)]
                struct Marker {
                    #[serde(rename = "type")]
                    type_name: String,
                    repr: String,
                }
                let Marker { type_name, repr } =
                    rmp_serde::from_slice(&body).map_err(de::Error::custom)?;
                Ok(Value::Marker { type_name, repr })
            }
            EXT_SHARED | EXT_ARRAY | EXT_ARROW => {
                shared::value(code, &body).map_err(de::Error::custom)
            }
            other => Err(de::Error::custom(format!("unknown extension type {other}"))),
        }
    }
}

/// What to reserve at once for a size that the other side claims: a wrong claim costs this much.
fn bounded(claimed: Option<usize>) -> usize {
    claimed.unwrap_or(0).min(4096)
}
