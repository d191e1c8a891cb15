//! Encoded values: arguments, results, chunks. Owns the mapping between serde and bytes; knows
//! nothing of frames.

use std::sync::Arc;

use bytes::Bytes;
use rmp_serde::config::BytesMode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};
use crate::value::{Blob, Parts, Store, Value, Wide, inlined, read};
use crate::warm::Warm;

/// A small call's arguments fit without growing.
const INITIAL_BYTES: usize = 128;

/// Taken from the system before the first piece of a payload is here; the rest follows as it comes,
/// so that an announcement alone takes no memory.
const MAX_RESERVED_BYTES: usize = 16 * 1024 * 1024;

/// How payload bytes are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// MessagePack with Snakepit's extension types.
    #[default]
    MsgPack,
    /// JSON text. NaN, infinities and bytes have no form in it.
    Json,
    /// Opaque bytes; one `bytes` object in Python.
    Raw,
}

/// An encoded value.
#[derive(Clone, Debug)]
pub struct Payload {
    codec: Codec,
    bytes: Bytes,
    /// None at all nearly always.
    parts: Option<Arc<[Blob]>>,
}

impl Payload {
    /// Encodes a value.
    ///
    /// A byte slice or `Vec<u8>` becomes `bytes`; structs become maps.
    ///
    /// # Errors
    /// `EncodeFailed` when the value's `Serialize` fails, or a JSON payload is asked of something
    /// JSON cannot hold.
    pub fn encode<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Self, Error> {
        Self::encode_with(codec, value, None)
    }

    /// Encodes a value; arrays and bytes from the store's threshold on are placed there.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and what the store refuses with.
    pub fn encode_with<T: Serialize + ?Sized>(
        codec: Codec,
        value: &T,
        store: Option<&Arc<dyn Store>>,
    ) -> Result<Self, Error> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::new(ErrorKind::EncodeFailed, format!("cannot encode the value: {e}"))
        };
        let mut out = Warm::with_capacity(INITIAL_BYTES);
        let parts = Parts::encoding(store);
        match codec {
            Codec::MsgPack => {
                let mut serializer = rmp_serde::Serializer::new(&mut out)
                    .with_struct_map()
                    .with_bytes(BytesMode::ForceIterables);
                value.serialize(Wide(&mut serializer)).map_err(|e| failed(&e))?;
            }
            Codec::Json => serde_json::to_writer(&mut out, value).map_err(|e| failed(&e))?,
            Codec::Raw => {
                return Err(Error::new(
                    ErrorKind::EncodeFailed,
                    "raw payloads are made from bytes, not encoded",
                )
                .with_help("use `Payload::from_bytes(Codec::Raw, bytes)`"));
            }
        }
        Ok(Self::with_parts(codec, out.freeze(), parts.finish()?))
    }

    /// Takes bytes that are already encoded.
    pub fn from_bytes(codec: Codec, bytes: impl Into<Bytes>) -> Self {
        Self { codec, bytes: bytes.into(), parts: None }
    }

    /// Takes bytes that are already encoded, and the parts that they refer to.
    pub fn with_parts(codec: Codec, bytes: impl Into<Bytes>, parts: Vec<Blob>) -> Self {
        let parts = (!parts.is_empty()).then(|| parts.into());
        Self { codec, bytes: bytes.into(), parts }
    }

    /// The parts that lie beside the bytes.
    pub fn parts(&self) -> &[Blob] {
        self.parts.as_deref().unwrap_or_default()
    }

    /// The same value without parts, for those who cannot be given them.
    ///
    /// # Errors
    /// `DecodeFailed` when the bytes are malformed or refer to parts that are not there.
    pub fn inlined(&self) -> Result<Self, Error> {
        if self.parts.is_none() {
            return Ok(self.clone());
        }
        self.inlined_with(self.parts().to_vec())
    }

    /// As [`inlined`](Self::inlined), with other parts in place of those that are beside it.
    ///
    /// # Errors
    /// As [`inlined`](Self::inlined).
    pub fn inlined_with(&self, parts: Vec<Blob>) -> Result<Self, Error> {
        let whole = Self { parts: Some(parts.into()), ..self.clone() };
        let value: Value = whole.decode()?;
        let bytes = inlined(&value).map_err(|e| decode_failed::<Value>(&e))?;
        Ok(Self::from_bytes(self.codec, bytes))
    }

    /// How the bytes are to be read.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Size of the encoded value in bytes, its parts among them.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.parts().iter().map(|part| part.len()).sum::<usize>()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// `DecodeFailed` when the bytes are malformed or do not fit `T`, and for raw payloads, whose
    /// bytes [`into_bytes`](Self::into_bytes) gives.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let bytes = &self.bytes;
        match self.codec {
            Codec::MsgPack => {
                let _parts = self.parts.as_deref().map(Parts::decoding);
                rmp_serde::from_slice(bytes).or_else(|e| decode_by_value(self, &e))
            }
            Codec::Json => match wide_json(bytes).map(read::<T>) {
                Some(Ok(value)) => Ok(value),
                // A target that has no room for wide integers may still round them.
                _ => serde_json::from_slice(bytes).map_err(|e| decode_failed::<T>(&e)),
            },
            Codec::Raw => Err(Error::new(
                ErrorKind::DecodeFailed,
                "the payload is raw bytes, which have no type to decode to",
            )
            .with_help("take the bytes with `Payload::into_bytes`")),
        }
    }

    /// The bytes, without the parts.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// A payload that comes in pieces, in memory that is used again when the payload is gone.
#[derive(Debug)]
pub struct PayloadBuilder {
    codec: Codec,
    bytes: Warm,
}

impl PayloadBuilder {
    /// A payload of about `total` bytes, of which none is here yet.
    pub fn new(codec: Codec, total: usize) -> Self {
        Self { codec, bytes: Warm::with_capacity(total.min(MAX_RESERVED_BYTES)) }
    }

    /// Appends a copy of a piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.push(piece);
    }

    /// Size of what is here in bytes.
    pub fn len(&self) -> usize {
        self.bytes.as_ref().len()
    }

    /// Whether nothing is here yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload, with the parts that it refers to.
    pub fn finish(self, parts: Vec<Blob>) -> Payload {
        Payload::with_parts(self.codec, self.bytes.freeze(), parts)
    }
}

/// Decodes what holds an extension type and therefore failed to decode directly, so that wide
/// integers and markers reach targets that know nothing of them.
fn decode_by_value<T: DeserializeOwned>(
    payload: &Payload,
    failure: &rmp_serde::decode::Error,
) -> Result<T, Error> {
    let value = rmp_serde::from_slice::<Value>(&payload.bytes).ok();
    match value.filter(|value| payload.parts.is_some() || value.holds_extension()) {
        Some(value) => read::<T>(value).map_err(|e| decode_failed::<T>(&e)),
        None => Err(decode_failed::<T>(failure)),
    }
}

/// The value of JSON text that holds what the plain parser would round: integers beyond 64 bits.
fn wide_json(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    Value::is_wide_json(text).then(|| Value::from_json_text(text).ok()).flatten()
}

pub(crate) fn decode_failed<T>(error: &dyn std::fmt::Display) -> Error {
    let wanted = std::any::type_name::<T>();
    Error::new(ErrorKind::DecodeFailed, format!("cannot read the value as `{wanted}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_vectors_travel_as_bytes_and_come_back() {
        let payload = Payload::encode(Codec::MsgPack, &vec![1_u8, 2, 255]).unwrap();
        assert_eq!(payload.bytes()[0], 0xc4, "bin 8 marker");
        assert_eq!(payload.decode::<serde_bytes::ByteBuf>().unwrap().as_ref(), [1, 2, 255]);
        assert_eq!(payload.decode::<Vec<u8>>().unwrap(), [1, 2, 255]);
    }

    #[test]
    fn integers_of_128_bits_are_integers_on_the_wire() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Wide {
            small: i128,
            far: Option<i128>,
            all: Vec<u128>,
            by_key: std::collections::BTreeMap<u128, [i128; 2]>,
        }
        let wide = || Wide {
            small: -7,
            far: Some(i128::MIN),
            all: vec![0, u128::MAX, 1 << 64],
            by_key: [(1 << 100, [1, -1 << 90])].into(),
        };
        for codec in [Codec::MsgPack, Codec::Json] {
            let payload = Payload::encode(codec, &wide()).unwrap();
            assert_eq!(payload.decode::<Wide>().unwrap(), wide(), "{codec:?}");
            let value: Value = payload.decode().unwrap();
            assert_eq!(value.get("small"), Some(&Value::Int(-7)));
            assert_eq!(value.get("far"), Some(&Value::from(i128::MIN)), "{codec:?}");
        }
    }

    #[test]
    fn json_keeps_integers_of_any_width_where_the_target_has_room() {
        let text = format!("[1{}, {{\"a\": -1{}}}, 1.5]", "0".repeat(60), "0".repeat(19));
        let payload = Payload::from_bytes(Codec::Json, text.clone());
        let value: Value = payload.decode().unwrap();
        assert_eq!(value, Value::from_json_text(&text).unwrap());
        assert!(matches!(value.as_array().unwrap()[0], Value::BigInt(_)), "{value:?}");
        let far = Payload::from_bytes(Codec::Json, "12345678901234567890123");
        assert_eq!(far.decode::<f64>().unwrap(), 12345678901234567890123.0);
        assert_eq!(far.decode::<i128>().unwrap(), 12345678901234567890123);
    }

    #[test]
    fn a_value_of_another_type_says_which_was_wanted() {
        let payload = Payload::encode(Codec::MsgPack, &"text").unwrap();
        let error = payload.decode::<i64>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DecodeFailed);
        assert!(error.to_string().contains("i64"), "{error}");
    }
}
