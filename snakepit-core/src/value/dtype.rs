//! What the elements of an array are: names as numpy has them, sizes, and Rust's types for them.

use zerocopy::{FromBytes, IntoBytes, TryFromBytes};

use super::Value;

/// The type of an array's elements; little endian, as numpy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// `|b1`, a byte that is 0 or 1.
    Bool,
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
    /// `<f2`
    F16,
    /// `<f4`
    F32,
    /// `<f8`
    F64,
    /// `<c8`, two `f32`
    C64,
    /// `<c16`, two `f64`
    C128,
}

impl Dtype {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::F16,
        Self::F32,
        Self::F64,
        Self::C64,
        Self::C128,
    ];

    /// Its name, as `numpy.dtype.str` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "|b1",
            Self::I8 => "|i1",
            Self::I16 => "<i2",
            Self::I32 => "<i4",
            Self::I64 => "<i8",
            Self::U8 => "|u1",
            Self::U16 => "<u2",
            Self::U32 => "<u4",
            Self::U64 => "<u8",
            Self::F16 => "<f2",
            Self::F32 => "<f4",
            Self::F64 => "<f8",
            Self::C64 => "<c8",
            Self::C128 => "<c16",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Size of one element in bytes.
    pub fn item_bytes(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 | Self::C64 => 8,
            Self::C128 => 16,
        }
    }

    /// The element that these bytes are, as a value; complex numbers are two floats.
    ///
    /// # Panics
    /// If there are fewer bytes than [`item_bytes`](Self::item_bytes).
    pub(super) fn value(self, bytes: &[u8]) -> Value {
        fn at<const N: usize>(bytes: &[u8], position: usize) -> [u8; N] {
            std::array::from_fn(|i| bytes[position * N + i])
        }
        match self {
            Self::Bool => Value::Bool(bytes[0] != 0),
            Self::I8 => Value::from(i8::from_le_bytes(at(bytes, 0))),
            Self::I16 => Value::from(i16::from_le_bytes(at(bytes, 0))),
            Self::I32 => Value::from(i32::from_le_bytes(at(bytes, 0))),
            Self::I64 => Value::from(i64::from_le_bytes(at(bytes, 0))),
            Self::U8 => Value::from(bytes[0]),
            Self::U16 => Value::from(u16::from_le_bytes(at(bytes, 0))),
            Self::U32 => Value::from(u32::from_le_bytes(at(bytes, 0))),
            Self::U64 => Value::from(u64::from_le_bytes(at(bytes, 0))),
            Self::F16 => Value::Float(f16_to_f64(u16::from_le_bytes(at(bytes, 0)))),
            Self::F32 => Value::Float(f64::from(f32::from_le_bytes(at(bytes, 0)))),
            Self::F64 => Value::Float(f64::from_le_bytes(at(bytes, 0))),
            Self::C64 => {
                let part = |i| Value::Float(f64::from(f32::from_le_bytes(at(bytes, i))));
                Value::Array(vec![part(0), part(1)])
            }
            Self::C128 => {
                let part = |i| Value::Float(f64::from_le_bytes(at(bytes, i)));
                Value::Array(vec![part(0), part(1)])
            }
        }
    }
}

/// IEEE 754 half precision: a sign, 5 bits of exponent, 10 of fraction.
fn f16_to_f64(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    };
    sign * magnitude
}

/// A type of Rust's that is the element of an array: integers up to 64 bits, floats, `bool`, and
/// pairs of floats for complex numbers.
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {
    /// What arrays of it are.
    const DTYPE: Dtype;

    #[doc(hidden)]
    fn view(bytes: &[u8]) -> Option<&[Self]>;

    /// Whatever the bytes were before.
    #[doc(hidden)]
    fn view_mut(bytes: &mut [u8]) -> Option<&mut [Self]>;

    #[doc(hidden)]
    fn bytes(items: &[Self]) -> &[u8];
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! element {
    ($($type:ty: $dtype:ident by $read:ident and $write:ident from $trait:ident),* $(,)?) => {$(
        impl sealed::Sealed for $type {}

        impl Element for $type {
            const DTYPE: Dtype = Dtype::$dtype;

            fn view(bytes: &[u8]) -> Option<&[Self]> {
                <[Self] as $trait>::$read(bytes).ok()
            }

            fn view_mut(bytes: &mut [u8]) -> Option<&mut [Self]> {
                if Dtype::$dtype == Dtype::Bool {
                    // Not every byte is a truth value.
                    bytes.fill(0);
                }
                <[Self] as $trait>::$write(bytes).ok()
            }

            fn bytes(items: &[Self]) -> &[u8] {
                items.as_bytes()
            }
        }
    )*};
}

element!(
    bool: Bool by try_ref_from_bytes and try_mut_from_bytes from TryFromBytes,
    i8: I8 by ref_from_bytes and mut_from_bytes from FromBytes,
    i16: I16 by ref_from_bytes and mut_from_bytes from FromBytes,
    i32: I32 by ref_from_bytes and mut_from_bytes from FromBytes,
    i64: I64 by ref_from_bytes and mut_from_bytes from FromBytes,
    u8: U8 by ref_from_bytes and mut_from_bytes from FromBytes,
    u16: U16 by ref_from_bytes and mut_from_bytes from FromBytes,
    u32: U32 by ref_from_bytes and mut_from_bytes from FromBytes,
    u64: U64 by ref_from_bytes and mut_from_bytes from FromBytes,
    f32: F32 by ref_from_bytes and mut_from_bytes from FromBytes,
    f64: F64 by ref_from_bytes and mut_from_bytes from FromBytes,
    [f32; 2]: C64 by ref_from_bytes and mut_from_bytes from FromBytes,
    [f64; 2]: C128 by ref_from_bytes and mut_from_bytes from FromBytes,
);

#[cfg(target_endian = "big")]
compile_error!("arrays cross in little endian, which this machine would have to convert");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_sizes_are_those_of_the_names() {
        for dtype in Dtype::ALL {
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
            let size: usize = dtype.name()[2..].parse().unwrap();
            assert_eq!(size, dtype.item_bytes(), "{dtype:?}");
        }
        assert_eq!(Dtype::from_name(">f8"), None);
    }

    #[test]
    fn half_floats_are_what_numpy_takes_them_for() {
        for (bits, number) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333251953125),
            (0x7bff, 65504.0),
            (0x0001, 5.960464477539063e-08),
            (0x7c00, f64::INFINITY),
        ] {
            assert_eq!(f16_to_f64(bits), number, "{bits:#x}");
        }
        assert!(f16_to_f64(0x7e00).is_nan());
    }
}
