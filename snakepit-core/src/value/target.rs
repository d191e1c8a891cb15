//! A [`Value`] as the source of any other type, for results that hold what a plain target has no
//! room for: wide integers arrive as `i128` or decimal text, markers as a map.

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{BigInt, Value, json};

impl Value {
    /// Whether something in here exists only in MessagePack's extension types.
    pub(crate) fn holds_extension(&self) -> bool {
        match self {
            Self::BigInt(_) | Self::Marker { .. } => true,
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
            Self::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
            Self::Map(entries) => visitor.visit_map(MapDeserializer::new(entries.into_iter())),
            Self::Marker { type_name, repr } => visitor.visit_map(MapDeserializer::new(
                [(json::MARKER_TYPE, type_name), ("repr", repr)].into_iter(),
            )),
        }
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
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
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
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
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
