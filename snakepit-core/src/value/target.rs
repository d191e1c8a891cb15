//! A [`Value`] as the source of any other type, for results that hold what a plain target has no
//! room for: wide integers arrive as `i128` or decimal text, markers as a map; a `Value` in the target
//! gets either as it is.

use std::cell::Cell;

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{BigInt, Value, json, wire};

/// The name under which a `Value` asks for a part as it is.
pub(super) const VALUE: &str = "$snakepit::Value";

thread_local! {
    /// Whether the source on this thread is a `Value`, so that asking under [`VALUE`] makes sense.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Reads any type from a value.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            READING.set(self.0);
        }
    }
    let _before = Before(READING.replace(true));
    let _parts = super::Parts::decoding(&[]);
    T::deserialize(value)
}

pub(super) fn is_reading() -> bool {
    READING.get()
}

impl Value {
    /// Whether something in here exists only in MessagePack's extension types.
    pub(crate) fn holds_extension(&self) -> bool {
        match self {
            Self::BigInt(_) | Self::NdArray(_) | Self::Arrow(_) | Self::Marker { .. } => true,
            Self::Array(items) => items.iter().any(Self::holds_extension),
            Self::Map(entries) => {
                entries.iter().any(|(key, value)| key.holds_extension() || value.holds_extension())
            }
            _ => false,
        }
    }
}

impl IntoDeserializer<'_, Error> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Nil => visitor.visit_unit(),
            Self::Bool(flag) => visitor.visit_bool(flag),
            Self::Int(number) => visitor.visit_i64(number),
            Self::UInt(number) => visitor.visit_u64(number),
            Self::BigInt(number) => visitor.visit_string(number.to_string()),
            Self::Float(number) => visitor.visit_f64(number),
            Self::String(text) => visitor.visit_string(text),
            Self::Bytes(bytes) => visitor.visit_byte_buf(bytes),
            Self::Arrow(stream) => visitor.visit_bytes(&stream),
            Self::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
            Self::NdArray(array) => match array.shape().first() {
                Some(&len) => {
                    let items = (0..len).map(|position| array.item(position));
                    visitor.visit_seq(SeqDeserializer::new(items))
                }
                None => array.to_value().deserialize_any(visitor),
            },
            Self::Map(entries) => visitor.visit_map(MapDeserializer::new(entries.into_iter())),
            Self::Marker { type_name, repr } => visitor.visit_map(MapDeserializer::new(
                [(json::MARKER_TYPE, type_name), ("repr", repr)].into_iter(),
            )),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::NdArray(array) => visitor.visit_bytes(array.data()),
            other => other.deserialize_any(visitor),
        }
    }

    /// Lists of bytes, as of any number.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.into_iter())),
            Self::Arrow(stream) => visitor.visit_seq(SeqDeserializer::new(stream.iter().copied())),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.wide(visitor, |visitor, number| Some(visitor.visit_i128(number.to_i128()?)))
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.wide(visitor, |visitor, number| Some(visitor.visit_u128(number.to_u128()?)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_nil() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == VALUE {
            return visitor.visit_newtype_struct(Whole(self));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Self::String(variant) => {
                let variant: serde::de::value::StringDeserializer<Error> =
                    variant.into_deserializer();
                variant.deserialize_enum(name, variants, visitor)
            }
            Self::Map(entries) => {
                let entries = MapDeserializer::new(entries.into_iter());
                visitor.visit_enum(serde::de::value::MapAccessDeserializer::new(entries))
            }
            other => other.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string unit unit_struct
        tuple tuple_struct map struct identifier ignored_any
    }
}

impl Value {
    fn wide<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        visit: impl FnOnce(V, &BigInt) -> Option<Result<V::Value, Error>>,
    ) -> Result<V::Value, Error> {
        match self {
            Self::BigInt(number) => visit(visitor, &number).unwrap_or_else(|| {
                Err(serde::de::Error::custom(format!("the integer {number} is out of range")))
            }),
            other => other.deserialize_any(visitor),
        }
    }
}

/// A value for a target that is a `Value`: what has an extension type arrives in its form.
struct Whole(Value);

impl<'de> Deserializer<'de> for Whole {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match wire::extension_of(&self.0) {
            Some((code, body)) => {
                let form = vec![Value::from(code), Value::Bytes(body)];
                visitor.visit_newtype_struct(Value::Array(form))
            }
            None => self.0.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
