//! Record batches as Arrow has them. Owns the way from them to an IPC stream and back; how that
//! crosses is `shared`'s; feature `arrow`.
//!
//! Invariant: what is read from a stream is validated and lies over the stream's own memory, which it
//! keeps in use.

use std::panic;
use std::slice;
use std::vec;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamEncoder;
use arrow_schema::{ArrowError, SchemaRef};
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Blob, Value, shared};
use crate::error::{Error, ErrorKind};

/// Record batches of one schema: `pyarrow.Table` in Python.
///
/// They cross as one Arrow IPC stream, which is written once, into shared memory where they are large.
/// What was received lies over that memory without a copy: its columns, and every clone and slice of
/// them, keep the memory in use. Only columns whose elements do not lie where Rust needs them are
/// copied, such as decimals that Python has written at a multiple of 8.
///
/// Batches that were received, or read from a [`Blob`], go out again as the stream they came as.
///
/// Everything is validated when it is read, and relied on then. A worker that is not trusted could
/// change it later: take its result as `Vec<u8>` and read that with [`from_stream`](Self::from_stream).
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
/// use snakepit_core::{Codec, Payload, RecordBatches};
///
/// let names: ArrayRef = Arc::new(StringArray::from(vec![Some("ada"), None]));
/// let ages: ArrayRef = Arc::new(Int64Array::from(vec![36, 7]));
/// let people = RecordBatch::try_from_iter([("name", names), ("age", ages)]).unwrap();
///
/// let sent = Payload::encode(Codec::MsgPack, &RecordBatches::from(people.clone()))?;
/// let received: RecordBatches = sent.decode()?;
/// assert_eq!(received.batches(), [people]);
/// # Ok::<(), snakepit_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RecordBatches {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// What they were read from.
    stream: Option<Blob>,
}

impl RecordBatches {
    /// Batches of one schema; there may be none.
    ///
    /// # Errors
    /// `InvalidArguments` when a batch has other columns.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self, Error> {
        let other = batches.iter().position(|batch| batch.schema_ref().fields() != schema.fields());
        match other {
            None => Ok(Self { schema, batches, stream: None }),
            Some(index) => {
                let found = batches[index].schema();
                let message = format!(
                    "batch {index} has the columns {:?}, and the schema says {:?}",
                    found.fields(),
                    schema.fields()
                );
                Err(Error::new(ErrorKind::InvalidArguments, message)
                    .with_help("give all batches the names, types and nullability of the schema"))
            }
        }
    }

    /// Reads an Arrow IPC stream, in place. Everything in it is validated.
    ///
    /// Arrow's reader panics on some malformed streams. That is caught here and becomes the error,
    /// after the program's panic hook has run; a program that aborts on panics ends by it.
    ///
    /// # Errors
    /// `DecodeFailed` when it is malformed or compressed.
    pub fn from_stream(stream: impl Into<Blob>) -> Result<Self, Error> {
        let stream = stream.into();
        match read(&stream) {
            Ok((schema, batches)) => Ok(Self { schema, batches, stream: Some(stream) }),
            Err(error) => {
                let message = format!("not a stream of Arrow record batches: {error}");
                Err(Error::new(ErrorKind::DecodeFailed, message))
            }
        }
    }

    /// The batches as an Arrow IPC stream: the one they were read from, or a new one.
    ///
    /// # Errors
    /// `EncodeFailed` for columns that Arrow's IPC format has no place for.
    pub fn to_stream(&self) -> Result<Blob, Error> {
        if let Some(stream) = &self.stream {
            return Ok(stream.clone());
        }
        let pieces = self.pieces().map_err(|e| encode_failed(&e))?;
        Ok(Blob::from(slices(&pieces).concat()))
    }

    /// The same batches in memory that `place` gives for so many bytes and has the function fill.
    ///
    /// # Errors
    /// As [`to_stream`](Self::to_stream), and what `place` fails with.
    pub fn placed(
        &self,
        place: impl FnOnce(usize, &mut dyn FnMut(&mut [u8])) -> Result<Blob, Error>,
    ) -> Result<Self, Error> {
        let pieces = self.pieces().map_err(|e| encode_failed(&e))?;
        let pieces = slices(&pieces);
        let len = pieces.iter().map(|piece| piece.len()).sum();
        Self::from_stream(place(len, &mut |room| shared::join(&pieces, room))?)
    }

    /// Names and types of the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches, in order.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The batches, in order.
    pub fn into_batches(self) -> Vec<RecordBatch> {
        self.batches
    }

    /// Number of rows, of all batches together.
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether they lie in shared memory.
    pub fn is_shared(&self) -> bool {
        self.stream.as_ref().is_some_and(Blob::is_shared)
    }

    /// The stream's messages and the columns' own memory, in the order in which they are written.
    fn pieces(&self) -> Result<Vec<Buffer>, ArrowError> {
        let mut encoder = StreamEncoder::try_new(&self.schema)?;
        let mut pieces = Vec::new();
        for batch in &self.batches {
            pieces.extend(encoder.encode(batch)?);
        }
        pieces.extend(encoder.finish()?);
        Ok(pieces)
    }
}

impl From<RecordBatch> for RecordBatches {
    fn from(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), batches: vec![batch], stream: None }
    }
}

impl IntoIterator for RecordBatches {
    type Item = RecordBatch;
    type IntoIter = vec::IntoIter<RecordBatch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.into_iter()
    }
}

impl<'a> IntoIterator for &'a RecordBatches {
    type Item = &'a RecordBatch;
    type IntoIter = slice::Iter<'a, RecordBatch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.iter()
    }
}

/// Wherever they lie.
impl PartialEq for RecordBatches {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema && self.batches == other.batches
    }
}

impl Serialize for RecordBatches {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(stream) = &self.stream {
            return shared::stream(stream, serializer);
        }
        let pieces = self.pieces().map_err(S::Error::custom)?;
        shared::stream_of(&slices(&pieces), serializer)
    }
}

/// Takes the bytes of an IPC stream too.
impl<'de> Deserialize<'de> for RecordBatches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stream = match Value::deserialize(deserializer)? {
            Value::Arrow(stream) => stream,
            Value::Bytes(bytes) => Blob::from(bytes),
            _ => return Err(de::Error::custom("record batches were expected")),
        };
        Self::from_stream(stream).map_err(|error| de::Error::custom(error.message()))
    }
}

fn read(stream: &Blob) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let bytes = stream.as_bytes().clone();
    // Arrow's reader panics on buffers that are longer than their message or no whole number of
    // elements. Nothing is left half done by that: all it has made is dropped.
    panic::catch_unwind(|| read_all(Buffer::from(bytes))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref().copied()).unwrap_or("it is malformed");
        Err(ArrowError::IpcError(said.to_owned()))
    })
}

fn read_all(mut rest: Buffer) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut rest)? {
        batches.push(batch);
    }
    decoder.finish()?;
    let schema = decoder.schema();
    let schema = schema.ok_or_else(|| ArrowError::IpcError("it has no schema".to_owned()))?;
    Ok((schema, batches))
}

fn slices(pieces: &[Buffer]) -> Vec<&[u8]> {
    pieces.iter().map(Buffer::as_slice).collect()
}

fn encode_failed(error: &ArrowError) -> Error {
    Error::new(ErrorKind::EncodeFailed, format!("cannot write the record batches: {error}"))
}
