//! A serializer over MessagePack's that knows integers of 128 bits: `rmp-serde` writes them as 16
//! bytes, which Python would take for `bytes`. Owns nothing else; everything passes through.

use rmp_serde::MSGPACK_EXT_STRUCT_NAME;
use rmp_serde::config::BytesMode;
use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::Value;
use super::shared::{bytes_at, place, wants};

/// The serializer, and what it gives out for the parts of a value.
pub(crate) struct Wide<S>(pub(crate) S);

/// A part of a value, on its way into the serializer below.
struct Part<T>(T);

impl<T: Serialize> Serialize for Part<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Wide(serializer))
    }
}

macro_rules! pass {
    ($($name:ident($type:ty)),*) => {$(
        fn $name(self, value: $type) -> Result<S::Ok, S::Error> {
            self.0.$name(value)
        }
    )*};
}

impl<S: Serializer> Serializer for Wide<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Wide<S::SerializeSeq>;
    type SerializeTuple = Wide<S::SerializeTuple>;
    type SerializeTupleStruct = Wide<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Wide<S::SerializeTupleVariant>;
    type SerializeMap = Wide<S::SerializeMap>;
    type SerializeStruct = Wide<S::SerializeStruct>;
    type SerializeStructVariant = Wide<S::SerializeStructVariant>;

    pass!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_str(&str),
        serialize_unit_struct(&'static str)
    );

    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        if wants(value.len())
            && let Some(index) = place(value.len(), &mut |room| room.copy_from_slice(value))
        {
            return bytes_at(index, self.0);
        }
        self.0.serialize_bytes(value)
    }

    fn serialize_i128(self, value: i128) -> Result<S::Ok, S::Error> {
        Value::from(value).serialize(self.0)
    }

    fn serialize_u128(self, value: u128) -> Result<S::Ok, S::Error> {
        Value::from(value).serialize(self.0)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Part(value))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        if name == MSGPACK_EXT_STRUCT_NAME {
            // Its body has its form already.
            return self.0.serialize_newtype_struct(name, value);
        }
        self.0.serialize_newtype_struct(name, &Part(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_variant(name, index, variant, &Part(value))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.0.serialize_seq(len).map(Wide)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.0.serialize_tuple(len).map(Wide)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.0.serialize_tuple_struct(name, len).map(Wide)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.0.serialize_tuple_variant(name, index, variant, len).map(Wide)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.0.serialize_map(len).map(Wide)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.0.serialize_struct(name, len).map(Wide)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.0.serialize_struct_variant(name, index, variant, len).map(Wide)
    }

    /// The one below recognises bytes by the size of the items, which a part does not change.
    fn collect_seq<I>(self, items: I) -> Result<S::Ok, S::Error>
    where
        I: IntoIterator<Item: Serialize>,
    {
        let items = items.into_iter();
        if is_byte::<I::Item>() && wants(items.size_hint().0) {
            return self.collect_bytes(items);
        }
        self.0.collect_seq(items.map(Part))
    }

    fn collect_map<K, V, I>(self, entries: I) -> Result<S::Ok, S::Error>
    where
        K: Serialize,
        V: Serialize,
        I: IntoIterator<Item = (K, V)>,
    {
        self.0.collect_map(entries.into_iter().map(|(key, value)| (Part(key), Part(value))))
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! pass_elements {
    ($($trait:ident: $method:ident),*) => {$(
        impl<S: $trait> $trait for Wide<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.0.$method(&Part(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

pass_elements!(
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

macro_rules! pass_fields {
    ($($trait:ident),*) => {$(
        impl<S: $trait> $trait for Wide<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                self.0.serialize_field(name, &Part(value))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.0.skip_field(name)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

pass_fields!(SerializeStruct, SerializeStructVariant);

impl<S: SerializeMap> SerializeMap for Wide<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(&Part(key))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Part(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// Whether a sequence of these is one of bytes. A name decides it, which is right for the two types
/// that `Vec<u8>` and its slices are collected from, and where it is wrong they only go inline.
fn is_byte<T>() -> bool {
    ["u8", "&u8"].contains(&std::any::type_name::<T>())
}

impl<S: Serializer> Wide<S> {
    /// Makes a part of a sequence of bytes.
    fn collect_bytes<T: Serialize>(
        self,
        items: impl Iterator<Item = T>,
    ) -> Result<S::Ok, S::Error> {
        let mut bin = Vec::with_capacity(items.size_hint().0 + 5);
        rmp_serde::Serializer::new(&mut bin)
            .with_bytes(BytesMode::ForceIterables)
            .collect_seq(items)
            .map_err(S::Error::custom)?;
        // MessagePack's marker of bytes tells how long their length is.
        let head = match bin.first() {
            Some(0xc4) => 2,
            Some(0xc5) => 3,
            Some(0xc6) => 5,
            _ => return Err(S::Error::custom("a sequence of bytes is none")),
        };
        self.serialize_bytes(&bin[head..])
    }
}
