//! MessagePack from Python objects.
//!
//! Owns writing of the format; what is written is decided by the walk. Invariant: every number
//! and length takes its shortest form.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use snakepit_proto::ext;
use snakepit_shm::{ArrayBody, Content, SharedBody, write_arrow_head};

use super::walk::{Sink, WriteResult};
use super::{EncodeError, Marker};
use crate::shm::{Parcel, Piece, Refused};

/// A small call's result fits without growing.
const INITIAL_BYTES: usize = 256;

pub(super) struct Msgpack<'a, 'b> {
    out: Vec<u8>,
    /// Takes large values; none in a value within an extension.
    parcel: Option<&'a mut Parcel<'b>>,
    limit: usize,
}

impl<'a, 'b> Msgpack<'a, 'b> {
    pub(super) fn new(parcel: &'a mut Parcel<'b>, limit: usize) -> Self {
        Self { out: Vec::with_capacity(INITIAL_BYTES), parcel: Some(parcel), limit }
    }

    /// For what is within an extension.
    fn inner(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), parcel: None, limit: usize::MAX }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Writes a length with the marker bytes for lengths of up to 8 (if there is one), 16 and 32
    /// bits.
    fn len_prefix(&mut self, len: usize, bits8: Option<u8>, bits16: u8, bits32: u8) -> WriteResult {
        match (bits8, u8::try_from(len), u16::try_from(len), u32::try_from(len)) {
            (Some(marker), Ok(len), ..) => self.out.extend_from_slice(&[marker, len]),
            (_, _, Ok(len), _) => self.tagged(bits16, len.to_be_bytes()),
            (.., Ok(len)) => self.tagged(bits32, len.to_be_bytes()),
            _ => {
                return Err(EncodeError::new("longer than the 4 GiB MessagePack can express"));
            }
        }
        Ok(())
    }

    fn ext(&mut self, code: i8, data: &[u8]) -> WriteResult {
        self.ext_head(code, data.len())?;
        self.out.extend_from_slice(data);
        Ok(())
    }

    fn ext_head(&mut self, code: i8, len: usize) -> WriteResult {
        match len {
            1 | 2 | 4 | 8 | 16 => self.out.push(0xd4 + len.trailing_zeros() as u8),
            len => self.len_prefix(len, Some(0xc7), 0xc8, 0xc9)?,
        }
        self.out.push(code.cast_unsigned());
        Ok(())
    }

    /// A reference to what was put aside.
    fn shared(&mut self, index: usize, content: Content) -> WriteResult {
        self.ext(ext::SHARED, &SharedBody { index, content }.to_bytes())
    }

    /// The same with the bytes in it.
    fn whole(&mut self, py: Python<'_>, source: &dyn Piece) -> WriteResult {
        let mut head = Vec::with_capacity(64);
        let code = match source.content() {
            Content::Array(layout) => {
                ArrayBody::write_head(&layout, &mut head);
                Some(ext::ARRAY)
            }
            Content::Arrow => {
                // One too long for this is refused with its length below.
                write_arrow_head(u32::try_from(source.len()).unwrap_or(u32::MAX), &mut head);
                Some(ext::ARROW)
            }
            _ => None,
        };
        match code {
            Some(code) => self.ext_head(code, head.len() + source.len())?,
            None => self.len_prefix(source.len(), Some(0xc4), 0xc5, 0xc6)?,
        }
        self.out.extend_from_slice(&head);
        source.append_to(py, &mut self.out).map_err(|error| EncodeError::new(error.to_string()))
    }

    fn tagged<const N: usize>(&mut self, marker: u8, bytes: [u8; N]) {
        self.out.push(marker);
        self.out.extend_from_slice(&bytes);
    }
}

impl Sink for Msgpack<'_, '_> {
    /// What was put aside counts, too.
    fn len(&self) -> usize {
        self.out.len() + self.parcel.as_ref().map_or(0, |parcel| parcel.bytes())
    }

    fn nil(&mut self) {
        self.out.push(0xc0);
    }

    fn bool(&mut self, value: bool) {
        self.out.push(if value { 0xc3 } else { 0xc2 });
    }

    fn int(&mut self, value: i64) {
        if let Ok(value) = u64::try_from(value) {
            self.uint(value);
        } else if value >= -32 {
            self.out.push((value as i8).cast_unsigned());
        } else if let Ok(value) = i8::try_from(value) {
            self.tagged(0xd0, value.to_be_bytes());
        } else if let Ok(value) = i16::try_from(value) {
            self.tagged(0xd1, value.to_be_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.tagged(0xd2, value.to_be_bytes());
        } else {
            self.tagged(0xd3, value.to_be_bytes());
        }
    }

    fn uint(&mut self, value: u64) {
        if value < 0x80 {
            self.out.push(value as u8);
        } else if let Ok(value) = u8::try_from(value) {
            self.tagged(0xcc, value.to_be_bytes());
        } else if let Ok(value) = u16::try_from(value) {
            self.tagged(0xcd, value.to_be_bytes());
        } else if let Ok(value) = u32::try_from(value) {
            self.tagged(0xce, value.to_be_bytes());
        } else {
            self.tagged(0xcf, value.to_be_bytes());
        }
    }

    fn big_int(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        let py = value.py();
        let bytes = (|| {
            // Two's complement needs one bit for the sign; `~value` has the same width as a
            // negative `value` without that bit.
            let magnitude = if value.lt(0)? { value.bitnot()? } else { value.clone() };
            let bits: usize = magnitude.call_method0(intern!(py, "bit_length"))?.extract()?;
            let kwargs = PyDict::new(py);
            kwargs.set_item(intern!(py, "signed"), true)?;
            value.call_method(intern!(py, "to_bytes"), (bits / 8 + 1, "big"), Some(&kwargs))
        })()
        .map_err(|error: PyErr| EncodeError::new(error.to_string()))?;
        let bytes = bytes.cast::<PyBytes>().map_err(|error| EncodeError::new(error.to_string()))?;
        self.ext(ext::BIG_INT, bytes.as_bytes())
    }

    fn float(&mut self, value: f64) -> WriteResult {
        self.tagged(0xcb, value.to_be_bytes());
        Ok(())
    }

    fn text(&mut self, value: &str) -> WriteResult {
        match value.len() {
            len @ 0..=31 => self.out.push(0xa0 | len as u8),
            len => self.len_prefix(len, Some(0xd9), 0xda, 0xdb)?,
        }
        self.out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn bytes(&mut self, value: &[u8]) -> WriteResult {
        self.len_prefix(value.len(), Some(0xc4), 0xc5, 0xc6)?;
        self.out.extend_from_slice(value);
        Ok(())
    }

    fn large(&self) -> usize {
        self.parcel.as_ref().map_or(usize::MAX, |parcel| parcel.threshold())
    }

    fn memory(&mut self, value: &Bound<'_, PyAny>, source: &dyn Piece) -> WriteResult {
        if self.len().saturating_add(source.len()) > self.limit {
            return Err(EncodeError::too_large(self.limit));
        }
        let placed = match &mut self.parcel {
            Some(parcel) if source.len() >= parcel.threshold() => parcel.put(value, source),
            _ => Ok(None),
        };
        match placed {
            Ok(Some(index)) => self.shared(index, source.content()),
            Ok(None) => self.whole(value.py(), source),
            Err(Refused::Unavailable(bytes)) => Err(EncodeError::unshared(bytes)),
            Err(Refused::Raised(error)) => Err(EncodeError::new(error.to_string())),
        }
    }

    fn begin_list(&mut self, len: usize) -> WriteResult {
        if len < 16 {
            self.out.push(0x90 | len as u8);
            return Ok(());
        }
        self.len_prefix(len, None, 0xdc, 0xdd)
    }

    fn begin_map(&mut self, len: usize) -> WriteResult {
        if len < 16 {
            self.out.push(0x80 | len as u8);
            return Ok(());
        }
        self.len_prefix(len, None, 0xde, 0xdf)
    }

    fn marker(&mut self, marker: &Marker) -> WriteResult {
        let mut inner = Self::inner(marker.repr.len() + 64);
        inner.begin_map(2)?;
        for (name, text) in [("type", &marker.type_name), ("repr", &marker.repr)] {
            inner.text(name)?;
            inner.text(text)?;
        }
        self.ext(ext::MARKER, &inner.out)
    }
}
