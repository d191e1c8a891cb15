//! What the bytes of an array mean: element type and shape. Owns the checks that make a description
//! from the other side safe to use. It holds no bytes.
//!
//! Invariant: a [`Layout`] that exists has at most [`MOST_DIMENSIONS`] dimensions, and its length in
//! bytes fits an `isize`, as does every sum over its shape.

use std::fmt;

use bytemuck::Pod;

/// The most dimensions of an array. numpy's own limit was 32 until 2.0.
pub const MOST_DIMENSIONS: usize = 32;

/// The type of an array's elements, as numpy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// `<f2`: half precision.
    F16,
    /// `<f4`
    F32,
    /// `<f8`
    F64,
    /// `|i1`
    I8,
    /// `<i2`
    I16,
    /// `<i4`
    I32,
    /// `<i8`
    I64,
    /// `|u1`
    U8,
    /// `<u2`
    U16,
    /// `<u4`
    U32,
    /// `<u8`
    U64,
    /// `|b1`: one byte each, 0 or 1.
    Bool,
    /// `<c8`: two 32-bit floats.
    C64,
    /// `<c16`: two 64-bit floats.
    C128,
}

/// Names and sizes in bytes.
const DTYPES: [(Dtype, &str, usize); 14] = [
    (Dtype::F16, "<f2", 2),
    (Dtype::F32, "<f4", 4),
    (Dtype::F64, "<f8", 8),
    (Dtype::I8, "|i1", 1),
    (Dtype::I16, "<i2", 2),
    (Dtype::I32, "<i4", 4),
    (Dtype::I64, "<i8", 8),
    (Dtype::U8, "|u1", 1),
    (Dtype::U16, "<u2", 2),
    (Dtype::U32, "<u4", 4),
    (Dtype::U64, "<u8", 8),
    (Dtype::Bool, "|b1", 1),
    (Dtype::C64, "<c8", 8),
    (Dtype::C128, "<c16", 16),
];

/// Why a description of an array is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// An element type that does not cross.
    #[error("element type {dtype:?} does not cross; convert the array to one of numpy's numbers")]
    Dtype {
        /// The type named.
        dtype: String,
    },
    /// Elements in the order of other machines.
    #[error("element type {dtype:?} is big-endian; convert it with astype({native:?})")]
    ByteOrder {
        /// The type named.
        dtype: String,
        /// The type to convert to.
        native: &'static str,
    },
    /// Too many dimensions.
    #[error("{dimensions} dimensions are more than {MOST_DIMENSIONS}")]
    Dimensions {
        /// How many there are.
        dimensions: usize,
    },
    /// More bytes than a process can address.
    #[error("the shape has more bytes than can be addressed")]
    TooLarge,
    /// Bytes that are not as many as the shape says.
    #[error("the array has {found_bytes} bytes where its shape says {expected_bytes}")]
    Length {
        /// What the shape says.
        expected_bytes: usize,
        /// What there is.
        found_bytes: usize,
    },
    /// A typed view of another type.
    #[error("the elements are {found}, not {expected}")]
    WrongType {
        /// The type of the array.
        found: Dtype,
        /// The type of the view.
        expected: Dtype,
    },
    /// Bytes that do not begin where the element type must.
    #[error("the elements are not aligned in memory; copy them")]
    Unaligned,
    /// A machine of the other byte order.
    #[error("this machine is big-endian, and elements are little-endian; read them as bytes")]
    Machine,
    /// An extension value whose body is no such thing.
    #[error("the body of an array's extension value is malformed: {what}")]
    Body {
        /// What is wrong.
        what: &'static str,
    },
}

impl Dtype {
    /// numpy's name for it (`dtype.str` on a little-endian machine).
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The type that numpy names so. A native order mark (`=`) is not one of its names.
    ///
    /// # Errors
    /// `ByteOrder` for a big-endian type, `Dtype` for one that does not cross.
    pub fn parse(name: &str) -> Result<Self, LayoutError> {
        let find = |name: &str| DTYPES.iter().find(|row| row.1 == name);
        if let Some(row) = find(name) {
            return Ok(row.0);
        }
        let turned = name.strip_prefix('>').map(|rest| format!("<{rest}"));
        let dtype = name.chars().take(32).collect();
        Err(match turned.as_deref().and_then(find) {
            Some(row) => LayoutError::ByteOrder { dtype, native: row.1 },
            None => LayoutError::Dtype { dtype },
        })
    }

    /// The size of one element in bytes.
    pub fn item_bytes(self) -> usize {
        self.row().2
    }

    /// The type's name in the buffer protocol (and in Python's `struct`), for memoryviews.
    pub fn buffer_format(self) -> &'static str {
        match self {
            Self::F16 => "e",
            Self::F32 => "f",
            Self::F64 => "d",
            Self::I8 => "b",
            Self::I16 => "h",
            Self::I32 => "i",
            Self::I64 => "q",
            Self::U8 => "B",
            Self::U16 => "H",
            Self::U32 => "I",
            Self::U64 => "Q",
            Self::Bool => "?",
            Self::C64 => "Zf",
            Self::C128 => "Zd",
        }
    }

    fn row(self) -> &'static (Self, &'static str, usize) {
        &DTYPES[self as usize]
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Element type and shape of an array in C order without gaps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    dtype: Dtype,
    shape: Vec<usize>,
    byte_len: usize,
}

impl Layout {
    /// Checks a description.
    ///
    /// # Errors
    /// `Dimensions` or `TooLarge`.
    pub fn new(dtype: Dtype, shape: Vec<usize>) -> Result<Self, LayoutError> {
        if shape.len() > MOST_DIMENSIONS {
            return Err(LayoutError::Dimensions { dimensions: shape.len() });
        }
        // Dimensions of no length count as 1, so that strides are in bounds too; numpy does the same.
        let spread = shape
            .iter()
            .try_fold(dtype.item_bytes(), |bytes, &length| bytes.checked_mul(length.max(1)))
            .filter(|bytes| isize::try_from(*bytes).is_ok())
            .ok_or(LayoutError::TooLarge)?;
        let byte_len = if shape.contains(&0) { 0 } else { spread };
        Ok(Self { dtype, shape, byte_len })
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The length of each dimension; none for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements there are.
    pub fn elements(&self) -> usize {
        self.byte_len / self.dtype.item_bytes()
    }

    /// How many bytes they take.
    pub fn byte_len(&self) -> usize {
        self.byte_len
    }

    /// The distance in bytes from one element to the next, for each dimension.
    pub fn strides(&self) -> Vec<isize> {
        let mut strides = vec![0; self.shape.len()];
        let mut step = self.dtype.item_bytes();
        for (stride, &length) in strides.iter_mut().zip(&self.shape).rev() {
            *stride = step.cast_signed();
            step *= length.max(1);
        }
        strides
    }

    /// Whether an array of this type and shape with these strides lies in C order without gaps. The
    /// stride of a dimension with fewer than two elements says nothing, and an array without elements
    /// always does.
    pub fn is_contiguous(&self, strides: &[isize]) -> bool {
        let fits = |((stride, expected), &length): ((&isize, isize), &usize)| {
            length < 2 || *stride == expected
        };
        self.byte_len == 0 && strides.len() == self.shape.len()
            || strides.len() == self.shape.len()
                && strides.iter().zip(self.strides()).zip(&self.shape).all(fits)
    }

    /// Whether there are as many bytes as the shape says.
    ///
    /// # Errors
    /// `Length` if not.
    pub fn check_len(&self, found_bytes: usize) -> Result<(), LayoutError> {
        let expected_bytes = self.byte_len;
        if found_bytes == expected_bytes {
            Ok(())
        } else {
            Err(LayoutError::Length { expected_bytes, found_bytes })
        }
    }
}

/// A Rust type that has a [`Dtype`] of the same form in memory. Complex numbers are pairs.
pub trait Element: Pod + private::Sealed {
    /// The type of such elements.
    const DTYPE: Dtype;
}

mod private {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty => $dtype:ident,)*) => {
        $(
            impl private::Sealed for $type {}
            impl Element for $type {
                const DTYPE: Dtype = Dtype::$dtype;
            }
        )*
    };
}

elements! {
    f32 => F32,
    f64 => F64,
    i8 => I8,
    i16 => I16,
    i32 => I32,
    i64 => I64,
    u8 => U8,
    u16 => U16,
    u32 => U32,
    u64 => U64,
    [f32; 2] => C64,
    [f64; 2] => C128,
}

/// The elements of an array, in C order, where they lie.
///
/// # Errors
/// `WrongType`, `Length` or `Unaligned` (which segments never are); `Machine` on a big-endian one.
pub fn elements<'a, T: Element>(layout: &Layout, bytes: &'a [u8]) -> Result<&'a [T], LayoutError> {
    let (found, expected) = (layout.dtype(), T::DTYPE);
    if found != expected {
        return Err(LayoutError::WrongType { found, expected });
    }
    layout.check_len(bytes.len())?;
    if cfg!(target_endian = "big") && found.item_bytes() > 1 {
        return Err(LayoutError::Machine);
    }
    bytemuck::try_cast_slice(bytes).map_err(|_| LayoutError::Unaligned)
}

/// The bytes of elements, where they lie, for who writes an array.
pub fn bytes_of<T: Element>(elements: &[T]) -> &[u8] {
    bytemuck::cast_slice(elements)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Few cases under Miri, which is a thousand times slower.
    const CASES: u32 = if cfg!(miri) { 16 } else { 512 };

    fn dtypes() -> impl Strategy<Value = Dtype> {
        prop::sample::select(DTYPES.map(|row| row.0).to_vec())
    }

    /// Lengths of dimensions: small, none, and what overflows.
    fn lengths() -> impl Strategy<Value = Vec<usize>> {
        let length = prop_oneof![
            6 => 0..7_usize,
            1 => any::<usize>(),
            1 => Just(1 << 40),
        ];
        vec(length, 0..40)
    }

    #[test]
    fn each_type_has_its_row_its_name_and_its_size() {
        for (n, row) in DTYPES.iter().enumerate() {
            assert_eq!(row.0 as usize, n, "{} is out of place", row.0);
            assert_eq!(Dtype::parse(row.1), Ok(row.0));
            let digits: usize = row.1[2..].parse().unwrap();
            assert_eq!(row.2, digits, "{} has another size than its name says", row.1);
        }
    }

    #[test]
    fn a_big_endian_type_is_told_what_to_convert_to_and_others_are_refused() {
        let error = Dtype::parse(">f8").unwrap_err();
        assert_eq!(error, LayoutError::ByteOrder { dtype: ">f8".into(), native: "<f8" });
        for name in ["", "f8", "=f8", "<i1", "|O", "<U4", "<M8[ns]", ">b1", "<f16", "ä"] {
            assert!(matches!(Dtype::parse(name), Err(LayoutError::Dtype { .. })), "{name}");
        }
        let LayoutError::Dtype { dtype } = Dtype::parse(&"x".repeat(1 << 20)).unwrap_err() else {
            panic!("another error");
        };
        assert!(dtype.len() <= 32, "an error as long as its message");
    }

    #[test]
    fn what_does_not_matter_for_contiguity_is_not_looked_at() {
        let layout = |shape: &[usize]| Layout::new(Dtype::F32, shape.to_vec()).unwrap();
        assert!(layout(&[2, 3]).is_contiguous(&[12, 4]));
        assert!(!layout(&[2, 3]).is_contiguous(&[4, 8]), "the columns of a transposed array");
        assert!(!layout(&[2, 3]).is_contiguous(&[24, 4]), "every other row");
        assert!(!layout(&[3]).is_contiguous(&[-4]), "backwards");
        assert!(layout(&[1, 3]).is_contiguous(&[999, 4]), "one row has no distance to the next");
        assert!(layout(&[0, 3]).is_contiguous(&[1, 1]), "nothing is there");
        assert!(layout(&[]).is_contiguous(&[]), "one number");
        assert!(!layout(&[2, 3]).is_contiguous(&[4]), "another number of dimensions");
    }

    #[test]
    fn a_typed_view_is_of_the_right_type_length_and_place() {
        let layout = Layout::new(Dtype::I32, vec![2, 2]).unwrap();
        let values = [1_i32, -2, 3, i32::MAX];
        let bytes = bytes_of(&values);
        assert_eq!(elements::<i32>(&layout, bytes), Ok(&values[..]));
        assert!(matches!(elements::<u32>(&layout, bytes), Err(LayoutError::WrongType { .. })));
        assert!(matches!(elements::<i32>(&layout, &bytes[4..]), Err(LayoutError::Length { .. })));
        let more = [0_i32; 5];
        let moved = &bytes_of(&more)[1..17];
        assert_eq!(elements::<i32>(&layout, moved), Err(LayoutError::Unaligned));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: CASES,
            // Miri has no files.
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// A wide integer is the model: it does not overflow here.
        #[test]
        fn a_layout_is_as_long_as_its_shape_says_or_refused(
            dtype in dtypes(),
            shape in lengths(),
        ) {
            let item = dtype.item_bytes() as u128;
            let count = |least: u128| {
                let lengths = shape.iter().map(|&length| (length as u128).max(least));
                lengths.fold(1_u128, u128::saturating_mul)
            };
            let addressable = count(1).saturating_mul(item) <= isize::MAX as u128;
            match Layout::new(dtype, shape.clone()) {
                Ok(layout) => {
                    prop_assert!(shape.len() <= MOST_DIMENSIONS && addressable);
                    prop_assert_eq!(layout.byte_len() as u128, count(0) * item);
                    prop_assert_eq!(layout.elements() as u128, count(0));
                    prop_assert_eq!(layout.strides().len(), shape.len());
                    prop_assert!(layout.is_contiguous(&layout.strides()));
                }
                Err(LayoutError::Dimensions { .. }) => prop_assert!(shape.len() > MOST_DIMENSIONS),
                Err(LayoutError::TooLarge) => prop_assert!(!addressable),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        /// The strides lead to each element once, in order.
        #[test]
        fn strides_walk_the_elements_in_order(shape in vec(1..4_usize, 0..5)) {
            let layout = Layout::new(Dtype::F64, shape.clone()).unwrap();
            let strides = layout.strides();
            for n in 0..layout.elements() {
                let mut rest = n;
                let mut offset = 0;
                for (&length, &stride) in shape.iter().zip(&strides).rev() {
                    offset += (rest % length).cast_signed() * stride;
                    rest /= length;
                }
                prop_assert_eq!(offset, n.cast_signed() * 8);
            }
        }
    }
}
