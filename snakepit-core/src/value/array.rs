//! Arrays: elements of one type in as many dimensions as you like, in C order. Owns their shape and
//! typed views; how they cross is `shared`'s.

use bytes::Bytes;

use super::{Blob, Dtype, Element, Value};
use crate::error::{Error, ErrorKind};

/// As many as numpy allows.
const MAX_DIMENSIONS: usize = 64;

/// What an array with a dimension of 0 may take if that were 1: as nested lists it has that many.
const MAX_EMPTY_BYTES: usize = 1 << 24;

/// An array of numbers, in memory of its own or in memory that workers share: `numpy.ndarray` in
/// Python.
///
/// Clones are of the same memory. What lies in shared memory already is not copied on its way to a
/// worker, and a large result of a tool is a view of what the worker has written.
///
/// # Examples
/// ```
/// use snakepit_core::Array;
///
/// let array = Array::from_vec(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
/// assert_eq!(array.shape(), [2, 3]);
/// assert_eq!(array.as_slice::<f64>()?[4], 5.0);
/// # Ok::<(), snakepit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Blob,
}

impl Array {
    /// An array over elements in C order, which are not copied.
    ///
    /// # Errors
    /// `InvalidArguments` when the shape asks for another number of elements.
    pub fn from_vec<T: Element>(
        items: Vec<T>,
        shape: impl Into<Vec<usize>>,
    ) -> Result<Self, Error> {
        Self::from_blob(T::DTYPE, shape, owned(items))
    }

    /// The same for a shape that is known to be right.
    #[cfg(feature = "ndarray")]
    pub(super) fn of_items<T: Element>(items: Vec<T>, shape: Vec<usize>) -> Self {
        debug_assert_eq!(items.len(), shape.iter().product::<usize>());
        Self { dtype: T::DTYPE, shape, data: Blob::from(owned(items)) }
    }

    /// An array over bytes, little endian and in C order. They are copied if they do not lie where the
    /// elements may.
    ///
    /// # Errors
    /// `InvalidArguments` when the shape asks for another number of bytes.
    pub fn from_blob(
        dtype: Dtype,
        shape: impl Into<Vec<usize>>,
        data: impl Into<Blob>,
    ) -> Result<Self, Error> {
        let (shape, data) = (shape.into(), data.into());
        match size_bytes(dtype, &shape) {
            Some(wanted) if wanted == data.len() => Ok(Self { dtype, shape, data: aligned(data) }),
            wanted => Err(Error::new(
                ErrorKind::InvalidArguments,
                format!(
                    "an array of {dtype} and the shape {shape:?} takes {} bytes, and there are {}",
                    wanted.map_or("too many".to_owned(), |wanted| wanted.to_string()),
                    data.len(),
                    dtype = dtype.name(),
                ),
            )),
        }
    }

    /// How many bytes an array of that type and shape takes.
    ///
    /// # Errors
    /// `InvalidArguments` when there can be none.
    pub fn size_bytes(dtype: Dtype, shape: &[usize]) -> Result<usize, Error> {
        size_bytes(dtype, shape).ok_or_else(|| {
            let message = format!("no array of {} has the shape {shape:?}", dtype.name());
            Error::new(ErrorKind::InvalidArguments, message)
        })
    }

    /// What its elements are.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its size in each dimension; none for a single element.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.item_bytes()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Its bytes, little endian and in C order.
    pub fn data(&self) -> &Blob {
        &self.data
    }

    /// Whether it lies in shared memory.
    pub fn is_shared(&self) -> bool {
        self.data.is_shared()
    }

    /// Its elements in C order, in place.
    ///
    /// # Errors
    /// `DecodeFailed` when they are of another type; [`to_vec`](Self::to_vec) converts.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], Error> {
        let wanted = (T::DTYPE == self.dtype).then(|| T::view(&self.data)).flatten();
        wanted.ok_or_else(|| {
            let (found, asked) = (self.dtype.name(), T::DTYPE.name());
            let message = format!("an array of {found} has no view as {asked}");
            Error::new(ErrorKind::DecodeFailed, message)
                .with_help("ask for the type it has, or convert it with `Array::to_vec`")
        })
    }

    /// Its elements in C order, converted to a type that takes them; small integers become floats,
    /// but no float becomes an integer.
    ///
    /// # Errors
    /// `DecodeFailed` when an element does not fit the type.
    pub fn to_vec<T: serde::de::DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let size = self.dtype.item_bytes();
        let items = self.data.chunks_exact(size).map(|item| self.dtype.value(item));
        items
            .map(|item| super::read(item).map_err(|e| crate::payload::decode_failed::<T>(&e)))
            .collect()
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// `InvalidArguments` when the shape asks for another number of elements.
    pub fn reshaped(self, shape: impl Into<Vec<usize>>) -> Result<Self, Error> {
        Self::from_blob(self.dtype, shape, self.data)
    }

    /// The element or sub-array at a position of the first dimension, which must be within it.
    pub(super) fn item(&self, position: usize) -> Value {
        let inner = &self.shape[1..];
        let size = self.data.len() / self.shape[0];
        let data = self.data.slice(position * size..(position + 1) * size);
        match inner {
            [] => self.dtype.value(&data),
            inner => Value::NdArray(Self { dtype: self.dtype, shape: inner.to_vec(), data }),
        }
    }

    /// As nested lists; a single element as itself.
    pub(super) fn to_value(&self) -> Value {
        match self.shape.first() {
            None => self.dtype.value(&self.data),
            Some(&len) => Value::Array(
                (0..len)
                    .map(|i| match self.item(i) {
                        Value::NdArray(inner) => inner.to_value(),
                        item => item,
                    })
                    .collect(),
            ),
        }
    }

    /// From nested lists of numbers or truth values, all of one depth and length.
    pub(super) fn from_items(items: &[Value]) -> Option<Self> {
        let mut shape = Vec::new();
        let mut level = items;
        loop {
            shape.push(level.len());
            match level.first() {
                Some(Value::Array(inner)) => level = inner,
                _ => break,
            }
        }
        let mut flat = Vec::with_capacity(size_bytes(Dtype::I8, &shape)?.min(1 << 20));
        flatten(items, &shape, &mut flat).then_some(())?;
        if flat.iter().all(|item| matches!(item, Value::Bool(_))) && !flat.is_empty() {
            return Self::from_vec(flat.iter().filter_map(|v| v.as_bool()).collect(), shape).ok();
        }
        let integers = flat.iter().map(|item| item.as_i64()).collect::<Option<Vec<_>>>();
        // What is empty is an array of floats, as numpy has it.
        if let Some(integers) = integers.filter(|integers| !integers.is_empty()) {
            return Self::from_vec(integers, shape).ok();
        }
        let floats = flat.iter().map(|item| item.as_f64()).collect::<Option<Vec<_>>>()?;
        Self::from_vec(floats, shape).ok()
    }
}

/// The bytes of elements, which stay where they are.
fn owned<T: Element>(items: Vec<T>) -> Bytes {
    struct Owner<T>(Vec<T>);
    impl<T: Element> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            T::bytes(&self.0)
        }
    }
    Bytes::from_owner(Owner(items))
}

/// Whether the items are lists of these sizes, down to what is no list.
fn flatten<'a>(items: &'a [Value], shape: &[usize], flat: &mut Vec<&'a Value>) -> bool {
    let Some((len, inner)) = shape.split_first() else { return false };
    items.len() == *len
        && items.iter().all(|item| match (item, inner) {
            (Value::Array(items), [_, ..]) => flatten(items, inner, flat),
            (Value::Array(_), []) | (_, [_, ..]) => false,
            (scalar, []) => {
                flat.push(scalar);
                true
            }
        })
}

/// None when it is beyond what memory can hold.
pub(super) fn size_bytes(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    if shape.len() > MAX_DIMENSIONS {
        return None;
    }
    let sizes = shape.iter().filter(|len| **len > 0);
    let full =
        sizes.into_iter().try_fold(dtype.item_bytes(), |size, len| size.checked_mul(*len))?;
    if shape.contains(&0) { (full <= MAX_EMPTY_BYTES).then_some(0) } else { Some(full) }
}

/// Where any element may lie: shared memory begins at multiples of 64, memory of one's own where the
/// allocator has put it.
fn aligned(data: Blob) -> Blob {
    if data.as_ptr().align_offset(size_of::<u64>()) == 0 || data.is_empty() {
        return data;
    }
    struct Words(Vec<u64>, usize);
    impl AsRef<[u8]> for Words {
        fn as_ref(&self) -> &[u8] {
            &u64::bytes(&self.0)[..self.1]
        }
    }
    let words = data.chunks(size_of::<u64>()).map(|chunk| {
        let mut word = [0; size_of::<u64>()];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    Blob::from(Bytes::from_owner(Words(words.collect(), data.len())))
}
