//! Encoded values: arguments, results, chunks. Owns the mapping between serde and bytes; knows
//! nothing of frames. A payload that came in parts is read across them and never joined.

use std::io;

use bytes::{Buf, Bytes};
use rmp_serde::config::BytesMode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};
use crate::value::Value;

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
    parts: Parts,
}

#[derive(Clone, Debug)]
enum Parts {
    One(Bytes),
    Many(Vec<Bytes>),
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
        let failed = |e: &dyn std::fmt::Display| {
            Error::new(ErrorKind::EncodeFailed, format!("cannot encode the value: {e}"))
        };
        let bytes = match codec {
            Codec::MsgPack => {
                let mut out = Vec::with_capacity(128);
                let mut serializer = rmp_serde::Serializer::new(&mut out)
                    .with_struct_map()
                    .with_bytes(BytesMode::ForceIterables);
                value.serialize(&mut serializer).map_err(|e| failed(&e))?;
                out
            }
            Codec::Json => serde_json::to_vec(value).map_err(|e| failed(&e))?,
            Codec::Raw => {
                return Err(Error::new(
                    ErrorKind::EncodeFailed,
                    "raw payloads are made from bytes, not encoded",
                )
                .with_help("use `Payload::from_bytes(Codec::Raw, bytes)`"));
            }
        };
        Ok(Self::from_bytes(codec, bytes))
    }

    /// Takes bytes that are already encoded.
    pub fn from_bytes(codec: Codec, bytes: impl Into<Bytes>) -> Self {
        Self { codec, parts: Parts::One(bytes.into()) }
    }

    /// Takes the parts of bytes that are already encoded, in order.
    pub fn from_parts(codec: Codec, parts: Vec<Bytes>) -> Self {
        Self { codec, parts: Parts::Many(parts) }
    }

    /// How the bytes are to be read.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The bytes, in order.
    pub fn parts(&self) -> &[Bytes] {
        match &self.parts {
            Parts::One(bytes) => std::slice::from_ref(bytes),
            Parts::Many(parts) => parts,
        }
    }

    /// Size of the encoded value in bytes.
    pub fn len(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// `DecodeFailed` when the bytes are malformed or do not fit `T`, and for raw payloads, whose
    /// bytes [`into_bytes`](Self::into_bytes) gives.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match (self.codec, self.parts()) {
            (Codec::MsgPack, [bytes]) => {
                rmp_serde::from_slice(bytes).or_else(|e| self.decode_by_value(&e))
            }
            (Codec::MsgPack, parts) => {
                rmp_serde::from_read(PartsReader::new(parts)).or_else(|e| self.decode_by_value(&e))
            }
            (Codec::Json, [bytes]) => {
                serde_json::from_slice(bytes).map_err(|e| decode_failed::<T>(&e))
            }
            (Codec::Json, parts) => {
                serde_json::from_reader(PartsReader::new(parts)).map_err(|e| decode_failed::<T>(&e))
            }
            (Codec::Raw, _) => Err(Error::new(
                ErrorKind::DecodeFailed,
                "the payload is raw bytes, which have no type to decode to",
            )
            .with_help("take the bytes with `Payload::into_bytes`")),
        }
    }

    /// Decodes what holds an extension type and therefore failed to decode directly, so that wide
    /// integers and markers reach targets that know nothing of them.
    fn decode_by_value<T: DeserializeOwned>(
        &self,
        failure: &rmp_serde::decode::Error,
    ) -> Result<T, Error> {
        let value = rmp_serde::from_read::<_, Value>(PartsReader::new(self.parts())).ok();
        match value.filter(Value::holds_extension) {
            Some(value) => T::deserialize(value).map_err(|e| decode_failed::<T>(&e)),
            None => Err(decode_failed::<T>(failure)),
        }
    }

    /// The bytes in one piece; copies only when they came in several.
    pub fn into_bytes(self) -> Bytes {
        match self.parts {
            Parts::One(bytes) => bytes,
            Parts::Many(mut parts) if parts.len() == 1 => parts.remove(0),
            Parts::Many(parts) => parts.concat().into(),
        }
    }
}

fn decode_failed<T>(error: &dyn std::fmt::Display) -> Error {
    let wanted = std::any::type_name::<T>();
    Error::new(ErrorKind::DecodeFailed, format!("cannot read the value as `{wanted}`: {error}"))
}

struct PartsReader<'a> {
    parts: &'a [Bytes],
    current: &'a [u8],
}

impl<'a> PartsReader<'a> {
    fn new(parts: &'a [Bytes]) -> Self {
        Self { parts, current: &[] }
    }
}

impl io::Read for PartsReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.parts.split_first() {
                Some((first, rest)) => (self.current, self.parts) = (first, rest),
                None => return Ok(0),
            }
        }
        let n = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_split_at_any_byte_decodes_to_the_same() {
        let value = json!({"text": "grüße", "numbers": [1, -2, 3.5], "none": null});
        for codec in [Codec::MsgPack, Codec::Json] {
            let whole = Payload::encode(codec, &value).unwrap().into_bytes();
            for cut in 0..=whole.len() {
                let parts = vec![whole.slice(..cut), whole.slice(cut..)];
                let split = Payload::from_parts(codec, parts);
                assert_eq!(split.decode::<serde_json::Value>().unwrap(), value);
            }
        }
    }

    #[test]
    fn byte_vectors_travel_as_bytes_and_come_back() {
        let payload = Payload::encode(Codec::MsgPack, &vec![1_u8, 2, 255]).unwrap();
        assert_eq!(payload.parts()[0][0], 0xc4, "bin 8 marker");
        assert_eq!(payload.decode::<serde_bytes::ByteBuf>().unwrap().as_ref(), [1, 2, 255]);
        assert_eq!(payload.decode::<Vec<u8>>().unwrap(), [1, 2, 255]);
    }

    #[test]
    fn a_value_of_another_type_says_which_was_wanted() {
        let payload = Payload::encode(Codec::MsgPack, &"text").unwrap();
        let error = payload.decode::<i64>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DecodeFailed);
        assert!(error.to_string().contains("i64"), "{error}");
    }
}
