//! Element types, as the buffer protocol and DLPack name them.
//!
//! Owns the way from those names to the types that cross and back. Invariant: one type has one name
//! in each, in native order, which is little endian.

use std::ffi::CStr;

use snakepit_shm::Dtype;

const _: () = assert!(cfg!(target_endian = "little"), "what crosses is little endian");

/// The types that cross.
const ALL: [Dtype; 14] = [
    Dtype::Bool,
    Dtype::I8,
    Dtype::U8,
    Dtype::I16,
    Dtype::U16,
    Dtype::I32,
    Dtype::U32,
    Dtype::I64,
    Dtype::U64,
    Dtype::F16,
    Dtype::F32,
    Dtype::F64,
    Dtype::C64,
    Dtype::C128,
];

/// The type behind a format of the buffer protocol, and whether its elements are in the other order;
/// none for what does not cross in one piece.
pub(super) fn of_format(format: &CStr, item_bytes: usize) -> Option<(Dtype, bool)> {
    let format = format.to_bytes();
    let (swapped, code) = match format.split_first()? {
        (b'>' | b'!', code) => (true, code),
        (b'<' | b'=' | b'@', code) => (false, code),
        _ => (false, format),
    };
    // How large the integer types of C are is the system's choice: the letter says what kind.
    let kind = match code {
        b"?" => b'b',
        b"b" | b"h" | b"i" | b"l" | b"q" | b"n" => b'i',
        b"B" | b"H" | b"I" | b"L" | b"Q" | b"N" => b'u',
        b"e" | b"f" | b"d" => b'f',
        b"Zf" | b"Zd" => b'c',
        _ => return None,
    };
    let fits = |dtype: &Dtype| dtype.as_str().as_bytes()[1] == kind;
    let dtype = ALL.into_iter().filter(fits).find(|dtype| dtype.item_bytes() == item_bytes)?;
    Some((dtype, swapped && item_bytes > 1))
}

/// What the buffer protocol calls it. Numpy's own letters, so that an array made by way of this is of
/// the very type that numpy makes.
pub(super) fn format(dtype: Dtype) -> &'static CStr {
    match dtype {
        Dtype::Bool => c"?",
        Dtype::I8 => c"b",
        Dtype::U8 => c"B",
        Dtype::I16 => c"h",
        Dtype::U16 => c"H",
        Dtype::I32 => c"i",
        Dtype::U32 => c"I",
        Dtype::I64 => c"l",
        Dtype::U64 => c"L",
        Dtype::F16 => c"e",
        Dtype::F32 => c"f",
        Dtype::F64 => c"d",
        Dtype::C64 => c"Zf",
        Dtype::C128 => c"Zd",
    }
}

// 64 bits are C's `long` here, as on every 64-bit Linux and macOS.
const _: () = assert!(size_of::<std::ffi::c_long>() == 8);

/// `DLDataTypeCode` in `dlpack.h`, and bits.
pub(super) fn dlpack(dtype: Dtype) -> (u8, u8) {
    let code = match dtype.as_str().as_bytes()[1] {
        b'i' => 0,
        b'u' => 1,
        b'f' => 2,
        b'c' => 5,
        _ => 6,
    };
    (code, dtype.item_bytes() as u8 * 8)
}

/// The size of what is one number: half an element where that is complex.
pub(super) fn part_bytes(dtype: Dtype) -> usize {
    match dtype {
        Dtype::C64 | Dtype::C128 => dtype.item_bytes() / 2,
        other => other.item_bytes(),
    }
}
