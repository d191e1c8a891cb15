//! MessagePack to Python objects.
//!
//! Owns reading of the format and its extension types. Invariant: nesting is limited, and a
//! length prefix is believed only as far as there are bytes.

use bytes::Bytes;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString};
use snakepit_proto::ext;
use snakepit_shm::{Content, Dtype, Layout, RegionUse, SharedBody};

use super::keys::KeyCache;
use super::parts::Parts;
use super::{DecodeError, MAX_DEPTH, Marker, fresh};
use crate::shm::{Buffer, Memory, arrow, loaded_numpy};

/// What lies beside a payload.
#[derive(Clone, Copy)]
pub(crate) struct Beside<'a> {
    /// By the index under which the payload names them.
    pub(crate) regions: &'a [RegionUse],
    /// Whether what is to be at this place takes bytes as they lie in memory, and needs no copy.
    pub(crate) takes_memory: &'a dyn Fn(Place<'_>) -> bool,
}

impl Beside<'static> {
    /// Nothing.
    pub(crate) const NOTHING: Self = Self { regions: &[], takes_memory: &|_| false };
}

/// Where in the outermost value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    Key(&'a str),
    /// The first place is also that of a value that is neither a map nor a list.
    Index(usize),
}

/// Reads exactly one value.
pub(super) fn read<'py>(
    py: Python<'py>,
    parts: &[Bytes],
    beside: Beside<'_>,
    keys: &mut KeyCache,
) -> Result<Bound<'py, PyAny>, DecodeError> {
    let (parts, outermost) = (Parts::new(parts), Outermost::Index(0));
    let mut reader = Reader { py, parts, keys, stack: Vec::new(), beside, outermost };
    let value = reader.value(0)?;
    match reader.parts.remaining() {
        0 => Ok(value),
        extra => Err(DecodeError::new(format!("{extra} bytes follow the MessagePack value"))),
    }
}

struct Reader<'a, 'py> {
    py: Python<'py>,
    parts: Parts<'a>,
    keys: &'a mut KeyCache,
    /// Elements of the lists that are being read; each list takes its own off the end.
    stack: Vec<Bound<'py, PyAny>>,
    beside: Beside<'a>,
    /// Where in the outermost value this is.
    outermost: Outermost<'py>,
}

/// A [`Place`] that is kept.
enum Outermost<'py> {
    Key(Bound<'py, PyString>),
    Index(usize),
}

type Value<'py> = Result<Bound<'py, PyAny>, DecodeError>;

impl<'py> Reader<'_, 'py> {
    fn value(&mut self, depth: usize) -> Value<'py> {
        let byte = self.byte()?;
        self.value_of(byte, depth)
    }

    fn value_of(&mut self, byte: u8, depth: usize) -> Value<'py> {
        let py = self.py;
        match byte {
            0x00..=0x7f => Ok(PyInt::new(py, byte).into_any()),
            0x80..=0x8f => self.map(usize::from(byte & 0x0f), depth),
            0x90..=0x9f => self.list(usize::from(byte & 0x0f), depth),
            0xa0..=0xbf => self.text(usize::from(byte & 0x1f)),
            0xc0 => Ok(py.None().into_bound(py)),
            0xc2 | 0xc3 => Ok(PyBool::new(py, byte == 0xc3).to_owned().into_any()),
            0xc4 => self.len_u8().and_then(|len| self.bin(len)),
            0xc5 => self.len_u16().and_then(|len| self.bin(len)),
            0xc6 => self.len_u32().and_then(|len| self.bin(len)),
            0xc7 => self.len_u8().and_then(|len| self.ext(len)),
            0xc8 => self.len_u16().and_then(|len| self.ext(len)),
            0xc9 => self.len_u32().and_then(|len| self.ext(len)),
            0xca => {
                let number = f32::from_be_bytes(self.array()?);
                Ok(PyFloat::new(py, f64::from(number)).into_any())
            }
            0xcb => Ok(PyFloat::new(py, f64::from_be_bytes(self.array()?)).into_any()),
            0xcc => Ok(PyInt::new(py, self.byte()?).into_any()),
            0xcd => Ok(PyInt::new(py, u16::from_be_bytes(self.array()?)).into_any()),
            0xce => Ok(PyInt::new(py, u32::from_be_bytes(self.array()?)).into_any()),
            0xcf => Ok(PyInt::new(py, u64::from_be_bytes(self.array()?)).into_any()),
            0xd0 => Ok(PyInt::new(py, i8::from_be_bytes(self.array()?)).into_any()),
            0xd1 => Ok(PyInt::new(py, i16::from_be_bytes(self.array()?)).into_any()),
            0xd2 => Ok(PyInt::new(py, i32::from_be_bytes(self.array()?)).into_any()),
            0xd3 => Ok(PyInt::new(py, i64::from_be_bytes(self.array()?)).into_any()),
            0xd4..=0xd8 => self.ext(1 << (byte - 0xd4)),
            0xd9 => self.len_u8().and_then(|len| self.text(len)),
            0xda => self.len_u16().and_then(|len| self.text(len)),
            0xdb => self.len_u32().and_then(|len| self.text(len)),
            0xdc => self.len_u16().and_then(|len| self.list(len, depth)),
            0xdd => self.len_u32().and_then(|len| self.list(len, depth)),
            0xde => self.len_u16().and_then(|len| self.map(len, depth)),
            0xdf => self.len_u32().and_then(|len| self.map(len, depth)),
            0xe0..=0xff => Ok(PyInt::new(py, byte.cast_signed()).into_any()),
            0xc1 => Err(DecodeError::new("byte 0xc1 never occurs in MessagePack")),
        }
    }

    fn list(&mut self, len: usize, depth: usize) -> Value<'py> {
        self.check_nested(len, depth)?;
        let start = self.stack.len();
        for index in 0..len {
            if depth == 0 {
                self.outermost = Outermost::Index(index);
            }
            let element = self.value(depth + 1)?;
            self.stack.push(element);
        }
        Ok(PyList::new(self.py, self.stack.drain(start..))?.into_any())
    }

    fn map(&mut self, len: usize, depth: usize) -> Value<'py> {
        // A key and a value are two bytes at least.
        self.check_nested(len.saturating_mul(2), depth)?;
        let map = PyDict::new(self.py);
        for _ in 0..len {
            let key = self.key(depth + 1)?;
            if depth == 0
                && let Ok(name) = key.cast::<PyString>()
            {
                self.outermost = Outermost::Key(name.clone());
            }
            let value = self.value(depth + 1)?;
            map.set_item(key, value)?;
        }
        Ok(map.into_any())
    }

    fn key(&mut self, depth: usize) -> Value<'py> {
        let byte = self.byte()?;
        let len = match byte {
            0xa0..=0xbf => usize::from(byte & 0x1f),
            0xd9 => self.len_u8()?,
            // Lists and maps cannot be keys of a `dict`.
            0x80..=0x9f | 0xdc..=0xdf => {
                return Err(DecodeError::new("a map key must be a scalar, not a list or a map"));
            }
            _ => return self.value_of(byte, depth),
        };
        let text = self.parts.take(len).ok_or_else(truncated)?;
        Ok(self.keys.get(self.py, &text)?.into_any())
    }

    fn text(&mut self, len: usize) -> Value<'py> {
        let bytes = self.parts.take(len).ok_or_else(truncated)?;
        Ok(PyString::from_bytes(self.py, &bytes)?.into_any())
    }

    fn bin(&mut self, len: usize) -> Value<'py> {
        self.check_len(len)?;
        fresh::bytes(self.py, &mut self.parts, len)
    }

    /// Whether what is wanted here takes bytes as they lie in memory.
    fn takes_memory(&self) -> bool {
        match &self.outermost {
            Outermost::Key(name) => (self.beside.takes_memory)(Place::Key(&name.to_string_lossy())),
            Outermost::Index(index) => (self.beside.takes_memory)(Place::Index(*index)),
        }
    }

    fn ext(&mut self, len: usize) -> Value<'py> {
        let code = i8::from_be_bytes(self.array()?);
        match code {
            // Not through `take`, which would copy a large one once more.
            ext::ARRAY | ext::ARROW => return self.whole(code, len),
            _ => {}
        }
        let data = self.parts.take(len).ok_or_else(truncated)?;
        match code {
            ext::BIG_INT => {
                let py = self.py;
                let kwargs = PyDict::new(py);
                kwargs.set_item(intern!(py, "signed"), true)?;
                let bytes = PyBytes::new(py, &data);
                let from_bytes = py.get_type::<PyInt>().getattr(intern!(py, "from_bytes"))?;
                Ok(from_bytes.call((bytes, "big"), Some(&kwargs))?)
            }
            ext::MARKER => self.marker(&data),
            ext::SHARED => self.shared(&data),
            code => Err(DecodeError::new(format!("unknown MessagePack extension type {code}"))),
        }
    }

    /// An array, or an Arrow stream, whose bytes are in the payload.
    fn whole(&mut self, code: i8, len: usize) -> Value<'py> {
        self.check_len(len)?;
        let behind = self.parts.remaining() - len;
        // One level is all it has, but for the list of its sides.
        let fields = self.value(MAX_DEPTH - 2)?;
        if self.parts.remaining() != behind {
            return Err(DecodeError::new("an array that is not as long as it says"));
        }
        let malformed = |_| DecodeError::new("an array that is none");
        let fields =
            fields.cast_into::<PyList>().map_err(|_| DecodeError::new("an array that is none"))?;
        let fields = fields.to_tuple();
        if code == ext::ARROW {
            let (bytes,) = fields.extract::<(Bound<'py, PyBytes>,)>().map_err(malformed)?;
            return self.batches(Memory::Own(bytes.unbind()));
        }
        let (dtype, shape, bytes) =
            fields.extract::<(String, Vec<usize>, Bound<'py, PyBytes>)>().map_err(malformed)?;
        let layout = Dtype::parse(&dtype).and_then(|dtype| Layout::new(dtype, shape));
        self.view(Memory::Own(bytes.unbind()), &layout?)
    }

    /// What lies beside the payload.
    fn shared(&mut self, data: &[u8]) -> Value<'py> {
        let SharedBody { index, content } = SharedBody::parse(data)?;
        let Some(region) = self.beside.regions.get(index) else {
            return Err(DecodeError::new(format!("there is no shared memory of index {index}")));
        };
        let (py, memory) = (self.py, Memory::Sent(region.clone()));
        match content {
            Content::Array(layout) => self.view(memory, &layout),
            // Who knows nothing of memory gets what it gets when there is less of it.
            Content::Bytes if !self.takes_memory() => {
                Ok(Buffer::of_bytes(py, memory).to_bytes(py)?.into_any())
            }
            Content::Arrow => self.batches(memory),
            _ => Ok(Bound::new(py, Buffer::of_bytes(py, memory))?.into_any()),
        }
    }

    /// An array as Python has it: numpy's where that is imported.
    fn view(&self, memory: Memory, layout: &Layout) -> Value<'py> {
        let buffer = Bound::new(self.py, Buffer::of_array(self.py, memory, layout)?)?;
        match loaded_numpy(self.py)? {
            Some(numpy) => Ok(Buffer::to_numpy(&buffer, &numpy)?),
            None => Ok(PyMemoryView::from(&buffer)?.into_any()),
        }
    }

    /// Record batches as Python has them: pyarrow's where that is imported.
    fn batches(&self, memory: Memory) -> Value<'py> {
        let buffer = Bound::new(self.py, Buffer::of_bytes(self.py, memory))?;
        // A parameter that takes memory has a converter, which makes of it what the hint says.
        if self.takes_memory() {
            return Ok(buffer.into_any());
        }
        Ok(arrow::read(&buffer)?)
    }

    fn marker(&mut self, data: &[u8]) -> Value<'py> {
        let mut inner = Reader {
            py: self.py,
            parts: Parts::of_slice(data),
            keys: self.keys,
            stack: Vec::new(),
            beside: Beside::NOTHING,
            outermost: Outermost::Index(0),
        };
        // One level is all a marker has: anything deeper is no marker.
        let fields = inner.value(MAX_DEPTH - 1)?;
        let field = |name: &str| {
            let text = fields.get_item(name).and_then(|text| text.extract::<String>());
            text.map_err(|_| DecodeError::new(format!("a marker without its `{name}` text")))
        };
        let marker = Marker { type_name: field("type")?, repr: field("repr")? };
        Ok(Bound::new(self.py, marker)?.into_any())
    }

    fn check_nested(&self, len: usize, depth: usize) -> Result<(), DecodeError> {
        if depth >= MAX_DEPTH {
            return Err(DecodeError::new(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.check_len(len)
    }

    fn check_len(&self, len: usize) -> Result<(), DecodeError> {
        if len > self.parts.remaining() { Err(truncated()) } else { Ok(()) }
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.parts.byte().ok_or_else(truncated)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.parts.array().ok_or_else(truncated)
    }

    fn len_u8(&mut self) -> Result<usize, DecodeError> {
        Ok(usize::from(self.byte()?))
    }

    fn len_u16(&mut self) -> Result<usize, DecodeError> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn len_u32(&mut self) -> Result<usize, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }
}

fn truncated() -> DecodeError {
    DecodeError::new("the MessagePack value is cut short")
}
