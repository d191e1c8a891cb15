//! How a [`Value`] looks in JSON, and JSON text read without losing wide integers. Bytes and the IPC
//! stream of record batches become base64 text, NaN and the infinities their names as text, a marker an
//! object of `__snakepit_marker__` and `repr`, keys that are no text their JSON text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{BigInt, Value};

/// The entry that tells a marker from other objects.
pub(super) const MARKER_TYPE: &str = "__snakepit_marker__";

/// The shortest run of digits that may be beyond what the plain parser keeps exact.
const WIDE_DIGITS: usize = 19;

impl Value {
    /// The value as [`serde_json::Value`]. An integer beyond 64 bits becomes its decimal text.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Nil => serde_json::Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Int(number) => (*number).into(),
            Self::UInt(number) => (*number).into(),
            Self::BigInt(number) => number.to_string().into(),
            Self::Float(number) if number.is_finite() => (*number).into(),
            Self::Float(number) => float_text(*number).into(),
            Self::String(text) => text.as_str().into(),
            Self::Bytes(bytes) => base64(bytes).into(),
            Self::Arrow(stream) => base64(stream).into(),
            Self::Array(items) => items.iter().map(Self::to_json).collect(),
            Self::NdArray(array) => array.to_value().to_json(),
            Self::Map(entries) => {
                entries.iter().map(|(k, value)| (key(k).into_owned(), value.to_json())).collect()
            }
            Self::Marker { type_name, repr } => {
                serde_json::json!({ MARKER_TYPE: type_name, "repr": repr })
            }
        }
    }

    /// Reads JSON text. Integers of any width stay exact, which `serde_json::Value` cannot promise.
    ///
    /// # Errors
    /// When the text is not JSON.
    pub fn from_json_text(text: &str) -> Result<Self, serde_json::Error> {
        // Reading it plainly first also bounds how deep it nests.
        let plain = serde_json::from_str(text)?;
        let wide = Self::is_wide_json(text);
        if wide { serde_json::from_str(text).map(|Exact(value)| value) } else { Ok(plain) }
    }

    /// Whether JSON text may hold integers that the plain parser would round.
    pub(crate) fn is_wide_json(text: &str) -> bool {
        let runs = text.as_bytes().split(|byte| !byte.is_ascii_digit());
        runs.into_iter().any(|run| run.len() >= WIDE_DIGITS)
    }
}

impl From<Value> for serde_json::Value {
    /// As [`Value::to_json`].
    fn from(value: Value) -> Self {
        value.to_json()
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(flag) => Self::Bool(flag),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Int(number),
                (None, Some(number)) => Self::UInt(number),
                (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => {
                Self::Array(items.into_iter().map(Self::from).collect())
            }
            serde_json::Value::Object(entries) => Self::Map(
                entries.into_iter().map(|(key, value)| (Self::String(key), value.into())).collect(),
            ),
        }
    }
}

/// A value as JSON text: compact, or on several lines with `{:#}`. Integers of any width are
/// numbers.
///
/// # Examples
/// ```
/// use snakepit_core::{JsonText, Value};
///
/// let wide = Value::from(1_i128 << 100);
/// assert_eq!(JsonText(&wide).to_string(), "1267650600228229401496703205376");
/// assert_eq!(Value::from_json_text("1267650600228229401496703205376")?, wide);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct JsonText<'a>(pub &'a Value);

impl fmt::Display for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if f.alternate() {
            serde_json::to_string_pretty(self.0)
        } else {
            serde_json::to_string(self.0)
        };
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

pub(super) fn float_text(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// A key as JSON has them: text as it is, anything else as its JSON text.
pub(super) fn key(key: &Value) -> Cow<'_, str> {
    match key {
        Value::String(text) => Cow::Borrowed(text),
        Value::Bytes(bytes) => Cow::Owned(base64(bytes)),
        Value::Float(number) if !number.is_finite() => Cow::Borrowed(float_text(*number)),
        other => Cow::Owned(JsonText(other).to_string()),
    }
}

/// A number in JSON text. Formats without wide integers refuse it or round it, as they document.
pub(super) fn big_int<S: Serializer>(number: &BigInt, serializer: S) -> Result<S::Ok, S::Error> {
    match number.to_i128() {
        Some(number) => serializer.serialize_i128(number),
        None => RawValue::from_string(number.to_string())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer),
    }
}

/// Standard base64 with padding (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for position in 0..4 {
            if position <= chunk.len() {
                out.push(char::from(ALPHABET[(bits >> (18 - 6 * position)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Reads numbers from their text, for documents that hold wide integers.
struct Exact(Value);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let read = match raw.as_bytes().first() {
            Some(b'[' | b'{') => {
                let mut deserializer = serde_json::Deserializer::from_str(raw);
                serde::Deserializer::deserialize_any(&mut deserializer, ExactVisitor)
            }
            Some(b'-' | b'0'..=b'9') => match raw.parse::<BigInt>() {
                Ok(number) => Ok(Value::from(number)),
                Err(_) => serde_json::from_str(raw),
            },
            _ => serde_json::from_str(raw),
        };
        read.map(Self).map_err(serde::de::Error::custom)
    }
}

struct ExactVisitor;

impl<'de> Visitor<'de> for ExactVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Exact(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, Exact(value))) = entries.next_entry::<String, Exact>()? {
            map.push((Value::String(key), value));
        }
        Ok(Value::Map(map))
    }
}
