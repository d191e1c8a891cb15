//! Any value that can cross the wire, owned. Owns its forms and how it is taken apart; its meaning in
//! serde is the business of `wire`, `wide` and `target`, in JSON text of `json`; wide integers are
//! `bigint`'s.

mod array;
#[cfg(feature = "arrow")]
mod arrow;
mod bigint;
mod blob;
mod dtype;
mod json;
#[cfg(feature = "ndarray")]
mod ndarray;
mod shared;
mod target;
mod wide;
mod wire;

pub use array::Array;
#[cfg(feature = "arrow")]
pub use arrow::RecordBatches;
pub use bigint::{BigInt, ParseBigIntError};
pub use blob::{Blob, External, Store};
pub use dtype::{Dtype, Element};
pub use json::JsonText;
pub(crate) use shared::{Parts, inlined};
pub(crate) use target::read;
pub(crate) use wide::Wide;

/// Any value that can cross the wire, for programs that do not know its shape.
///
/// Types of your own, `String`, `serde_json::Value` and the like decode without it; it alone also
/// holds what those have no room for: integers beyond 64 bits, bytes, markers, keys that are no
/// text. [`to_json`](Self::to_json) and [`JsonText`] say how each
/// looks in JSON.
///
/// Two floats are equal here when `==` says so: a NaN equals nothing.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None` in Python.
    #[default]
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// An integer above `i64::MAX`.
    UInt(u64),
    /// An integer beyond 64 bits.
    BigInt(BigInt),
    /// A float; NaN and the infinities too.
    Float(f64),
    /// A text.
    String(String),
    /// `bytes` in Python.
    Bytes(Vec<u8>),
    /// `list` in Python.
    Array(Vec<Value>),
    /// `dict` in Python: entries in order, any scalar as key.
    Map(Vec<(Value, Value)>),
    /// `numpy.ndarray` in Python, where it is large; small ones come as `Array`.
    NdArray(Array),
    /// Record batches of Arrow, as an IPC stream: `pyarrow.Table` in Python. With the feature `arrow`
    /// `RecordBatches` reads them.
    Arrow(Blob),
    /// Stands for a Python object that has no form outside Python.
    Marker {
        /// Its type, as `module.Type`.
        type_name: String,
        /// Its `repr`, shortened.
        repr: String,
    },
}

impl Value {
    /// Whether this is `None`.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(flag) = self { Some(*flag) } else { None }
    }

    /// The integer, if it is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The integer, if it is one that fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(number) => u64::try_from(*number).ok(),
            Self::UInt(number) => Some(*number),
            _ => None,
        }
    }

    /// The number as a float; integers beyond 53 bits are rounded.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::UInt(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The bytes, if they are some.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The items, if it is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The array of numbers, if it is one.
    pub fn as_ndarray(&self) -> Option<&Array> {
        if let Self::NdArray(array) = self { Some(array) } else { None }
    }

    /// The IPC stream of record batches, if it is some.
    pub fn as_arrow(&self) -> Option<&Blob> {
        if let Self::Arrow(stream) = self { Some(stream) } else { None }
    }

    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&[(Value, Value)]> {
        if let Self::Map(entries) = self { Some(entries) } else { None }
    }

    /// The entry of a map under a text key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, value)| value)
    }
}

macro_rules! from_integer {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(number: $type) -> Self {
                Self::Int(number.into())
            }
        }
    )*};
}

from_integer!(i8, i16, i32, i64, u8, u16, u32);

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or(Self::UInt(number), Self::Int)
    }
}

impl From<BigInt> for Value {
    fn from(number: BigInt) -> Self {
        match (number.to_i64(), number.to_u64()) {
            (Some(small), _) => Self::Int(small),
            (None, Some(small)) => Self::UInt(small),
            (None, None) => Self::BigInt(number),
        }
    }
}

impl From<u128> for Value {
    fn from(number: u128) -> Self {
        Self::from(BigInt::from(number))
    }
}

impl From<i128> for Value {
    fn from(number: i128) -> Self {
        Self::from(BigInt::from(number))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::NdArray(array)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::Array(items)
    }
}

impl From<Vec<(Value, Value)>> for Value {
    fn from(entries: Vec<(Value, Value)>) -> Self {
        Self::Map(entries)
    }
}
