//! How arrays, bytes and record batches cross: large ones as parts beside a payload's bytes, which refer
//! to them, the others inline.
//!
//! Owns the parts of what is being encoded or decoded on this thread, which serde has no place for,
//! and the bodies of the extension types. Invariant: each encoding sees its own parts and no other's,
//! also where one happens inside another.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use rmp_serde::decode;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::{Array, Blob, Dtype, External, Store, Value, json, wire};
use crate::error::Error;

/// Extension code of what lies beside the payload.
pub(super) const EXT_SHARED: i8 = 3;
/// Extension code of arrays inline.
pub(super) const EXT_ARRAY: i8 = 4;
/// Extension code of Arrow streams inline.
pub(super) const EXT_ARROW: i8 = 5;

/// The kinds of [`EXT_SHARED`].
const KIND_BYTES: u8 = 0;
const KIND_ARRAY: u8 = 1;
const KIND_ARROW: u8 = 2;

/// Below it no threshold makes parts.
const SMALLEST_PART: usize = 1024;

/// Where what lies in shared memory may begin, so that any element and any vector unit finds its place.
const ALIGNMENT: usize = 64;

/// From here on what is shared already stays so where no store says otherwise.
const DEFAULT_THRESHOLD: usize = 64 * 1024;

thread_local! {
    static OPEN: RefCell<Open> = const { RefCell::new(Open::NOTHING) };
}

/// What is being encoded or decoded.
struct Open {
    /// From how many bytes on a part is worth it; the maximum has everything go inline.
    threshold: usize,
    /// Whether somebody takes the parts.
    encoding: bool,
    store: Option<Arc<dyn Store>>,
    parts: Vec<Blob>,
    refused: Option<Error>,
}

impl Open {
    const NOTHING: Self = Self {
        threshold: usize::MAX,
        encoding: false,
        store: None,
        parts: Vec::new(),
        refused: None,
    };
}

/// The parts of one encoding or decoding; those of what goes on around it come back afterwards.
pub(crate) struct Parts {
    around: Open,
}

impl Parts {
    /// Collects the parts of what is encoded from here on.
    pub(crate) fn encoding(store: Option<&Arc<dyn Store>>) -> Self {
        let threshold = store.map_or(DEFAULT_THRESHOLD, |store| store.threshold());
        Self::open(Open { threshold, encoding: true, store: store.cloned(), ..Open::NOTHING })
    }

    /// Has everything that is encoded from here on go inline.
    fn inline() -> Self {
        Self::open(Open::NOTHING)
    }

    /// Has what is decoded from here on find these parts.
    pub(crate) fn decoding(parts: &[Blob]) -> Self {
        Self::open(Open { parts: parts.to_vec(), ..Open::NOTHING })
    }

    fn open(open: Open) -> Self {
        Self { around: OPEN.replace(open) }
    }

    /// What was collected.
    pub(crate) fn finish(self) -> Result<Vec<Blob>, Error> {
        OPEN.with_borrow_mut(|open| match open.refused.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut open.parts)),
        })
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        OPEN.replace(std::mem::replace(&mut self.around, Open::NOTHING));
    }
}

/// The bytes of a payload with its parts inline.
pub(crate) fn inlined(value: &Value) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let _parts = Parts::inline();
    rmp_serde::to_vec_named(value)
}

/// Whether bytes of this length may become a part.
pub(super) fn wants(len: usize) -> bool {
    // As long as bytes are short this comparison is all that parts cost.
    len >= SMALLEST_PART && OPEN.with_borrow(|open| len >= open.threshold && open.store.is_some())
}

/// Makes a part of what is shared already; `None` if it goes another way.
fn keep(blob: &Blob) -> Option<u32> {
    let fits = blob.is_shared() && blob.as_ptr().align_offset(ALIGNMENT) == 0;
    fits.then_some(())?;
    OPEN.with_borrow_mut(|open| {
        (blob.len() >= open.threshold).then(|| push(&mut open.parts, blob.clone()))
    })
}

/// Makes a part of `len` bytes that `fill` writes; `None` if they go inline.
pub(super) fn place(len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Option<u32> {
    // The store is called without the borrow: it may well encode something itself.
    let store = OPEN.with_borrow(|open| {
        (len >= open.threshold && open.refused.is_none()).then(|| open.store.clone()).flatten()
    })?;
    let placed = store.place(len, fill);
    OPEN.with_borrow_mut(|open| match placed {
        Ok(blob) => blob.map(|blob| push(&mut open.parts, blob)),
        Err(error) => {
            open.refused = Some(error);
            None
        }
    })
}

fn push(parts: &mut Vec<Blob>, blob: Blob) -> u32 {
    parts.push(blob);
    parts.len() as u32 - 1
}

/// The extension type of bytes that were made a part.
pub(super) fn bytes_at<S: Serializer>(index: u32, serializer: S) -> Result<S::Ok, S::Error> {
    wire::extension(EXT_SHARED, &plain_body(index, KIND_BYTES), serializer)
}

/// The body of what is all there is to say about its bytes.
fn plain_body(index: u32, kind: u8) -> Vec<u8> {
    // Two numbers always have a form.
    rmp_serde::to_vec(&(index, kind)).unwrap_or_default()
}

fn array_body(index: u32, dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    // Numbers and a text always have a form.
    rmp_serde::to_vec(&(index, KIND_ARRAY, dtype.name(), shape)).unwrap_or_default()
}

/// The extension body by which whoever reads from a value gets an array of it as it is.
pub(super) fn handed_over(array: &Array) -> Vec<u8> {
    let index = OPEN.with_borrow_mut(|open| push(&mut open.parts, array.data().clone()));
    array_body(index, array.dtype(), array.shape())
}

/// The same for an Arrow stream.
pub(super) fn handed_over_stream(stream: &Blob) -> Vec<u8> {
    let index = OPEN.with_borrow_mut(|open| push(&mut open.parts, stream.clone()));
    plain_body(index, KIND_ARROW)
}

/// Writes an Arrow stream.
pub(super) fn stream<S: Serializer>(stream: &Blob, serializer: S) -> Result<S::Ok, S::Error> {
    let kept = if serializer.is_human_readable() { None } else { keep(stream) };
    match kept {
        Some(index) => stream_at(index, serializer),
        None => stream_of(&[stream], serializer),
    }
}

/// Writes an Arrow stream that lies in pieces, each of which is copied once if there is room for a
/// part.
pub(super) fn stream_of<S: Serializer>(pieces: &[&[u8]], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return serializer.serialize_str(&json::base64(&pieces.concat()));
    }
    let len = pieces.iter().map(|piece| piece.len()).sum();
    match place(len, &mut |room| join(pieces, room)) {
        Some(index) => stream_at(index, serializer),
        None => {
            let whole = (serde_bytes::ByteBuf::from(pieces.concat()),);
            let body = rmp_serde::to_vec(&whole).map_err(S::Error::custom)?;
            wire::extension(EXT_ARROW, &body, serializer)
        }
    }
}

fn stream_at<S: Serializer>(index: u32, serializer: S) -> Result<S::Ok, S::Error> {
    wire::extension(EXT_SHARED, &plain_body(index, KIND_ARROW), serializer)
}

/// Writes pieces one after the other to where there is room for all of them.
pub(super) fn join(pieces: &[&[u8]], mut room: &mut [u8]) {
    for piece in pieces {
        let (here, rest) = room.split_at_mut(piece.len());
        here.copy_from_slice(piece);
        room = rest;
    }
}

impl Serialize for Array {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.to_value().serialize(serializer);
        }
        let data = self.data();
        let placed =
            keep(data).or_else(|| place(data.len(), &mut |room| room.copy_from_slice(data)));
        match placed {
            Some(index) => {
                let body = array_body(index, self.dtype(), self.shape());
                wire::extension(EXT_SHARED, &body, serializer)
            }
            None => {
                let parts = (self.dtype().name(), self.shape(), serde_bytes::Bytes::new(data));
                let body = rmp_serde::to_vec(&parts).map_err(S::Error::custom)?;
                wire::extension(EXT_ARRAY, &body, serializer)
            }
        }
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&json::base64(self));
        }
        match keep(self) {
            Some(index) => bytes_at(index, serializer),
            None => serializer.serialize_bytes(self),
        }
    }
}

impl Serialize for External {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = OPEN.with_borrow_mut(|open| {
            // Otherwise nobody takes the parts.
            open.encoding.then(|| push(&mut open.parts, self.part.clone()))
        });
        let index = index
            .filter(|_| !serializer.is_human_readable())
            .ok_or_else(|| S::Error::custom("only the arguments of a call can hold a file"))?;
        match &self.layout {
            None => bytes_at(index, serializer),
            Some((dtype, shape)) => {
                let body = array_body(index, *dtype, shape);
                wire::extension(EXT_SHARED, &body, serializer)
            }
        }
    }
}

/// What an extension type of this module stands for.
enum Part {
    Bytes(Blob),
    Array(Array),
    Arrow(Blob),
}

/// The body of [`EXT_SHARED`].
#[derive(serde::Deserialize)]
struct Reference<'a> {
    index: usize,
    kind: u8,
    #[serde(default, borrow)]
    dtype: Option<&'a str>,
    #[serde(default)]
    shape: Vec<usize>,
}

fn part(code: i8, body: &[u8]) -> Result<Part, decode::Error> {
    let failed = decode::Error::Uncategorized;
    let array = |dtype: &str, shape, data: Blob| {
        let dtype = Dtype::from_name(dtype)
            .ok_or_else(|| failed(format!("an array of the unknown type `{dtype}`")))?;
        Array::from_blob(dtype, shape, data).map_err(|e| failed(e.message().to_owned()))
    };
    if code == EXT_ARRAY {
        let (dtype, shape, data): (&str, Vec<usize>, &serde_bytes::Bytes) =
            rmp_serde::from_slice(body)?;
        return array(dtype, shape, Blob::from(data.to_vec())).map(Part::Array);
    }
    if code == EXT_ARROW {
        let (stream,): (&serde_bytes::Bytes,) = rmp_serde::from_slice(body)?;
        return Ok(Part::Arrow(Blob::from(stream.to_vec())));
    }
    let Reference { index, kind, dtype, shape } = rmp_serde::from_slice(body)?;
    let blob = OPEN.with_borrow(|open| open.parts.get(index).cloned());
    let blob = blob.ok_or_else(|| failed(format!("there is no part {index} in shared memory")))?;
    match (kind, dtype) {
        (KIND_BYTES, _) => Ok(Part::Bytes(blob)),
        (KIND_ARRAY, Some(dtype)) => array(dtype, shape, blob).map(Part::Array),
        (KIND_ARROW, None) => Ok(Part::Arrow(blob)),
        _ => Err(failed(format!("a part of the unknown kind {kind} in shared memory"))),
    }
}

/// The value that an extension type of this module stands for.
pub(super) fn value(code: i8, body: &[u8]) -> Result<Value, decode::Error> {
    Ok(match part(code, body)? {
        Part::Bytes(blob) => Value::Bytes(blob.to_vec()),
        Part::Array(array) => Value::NdArray(array),
        Part::Arrow(stream) => Value::Arrow(stream),
    })
}

/// Takes nested lists of numbers too, which is what small arrays come as.
impl<'de> Deserialize<'de> for Array {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::NdArray(array) => Ok(array),
            Value::Array(items) => Self::from_items(&items).ok_or_else(|| {
                de::Error::custom("the lists are no array: numbers of one kind, of one length each")
            }),
            Value::Bytes(bytes) => {
                let len = bytes.len();
                Self::from_blob(Dtype::U8, [len], bytes).map_err(de::Error::custom)
            }
            other => {
                let found = format!("{other:?}");
                let found = found.split(['(', ' ']).next().unwrap_or_default();
                Err(de::Error::custom(format!("an array was expected and a {found} found")))
            }
        }
    }
}

/// Takes the bytes of an array too, and the IPC stream of record batches.
impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BlobVisitor)
    }
}

struct BlobVisitor;

impl<'de> Visitor<'de> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob::from(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
        Ok(Blob::from(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Blob, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(Blob::from(bytes))
    }

    /// Only an extension type arrives like this.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Blob, D::Error> {
        let (code, body) = <(i8, ByteBuf)>::deserialize(deserializer)?;
        if ![EXT_SHARED, EXT_ARRAY, EXT_ARROW].contains(&code) {
            return Err(de::Error::custom(format!("extension type {code} is no bytes")));
        }
        match part(code, &body).map_err(de::Error::custom)? {
            Part::Bytes(blob) | Part::Arrow(blob) => Ok(blob),
            Part::Array(array) => Ok(array.data().clone()),
        }
    }
}
