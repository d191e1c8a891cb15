//! The bodies of the MessagePack extension values that stand for arrays and bytes. Owns their form,
//! for both sides; where the bytes are and who may see them is decided elsewhere.
//!
//! Nothing here panics, whatever the input, and no length in it is believed before it is checked.

use rmp::decode;
use rmp::encode;

use crate::layout::{Dtype, Layout, LayoutError, MOST_DIMENSIONS};

/// The extension type of a value in shared memory.
pub const EXT_SHARED: i8 = 3;

/// The extension type of an array inside the message.
pub const EXT_ARRAY: i8 = 4;

/// The extension type of an Arrow IPC stream inside the message.
pub const EXT_ARROW: i8 = 5;

/// The body of [`EXT_SHARED`]: which of the message's references, and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedBody {
    /// The index of the reference in the message's list.
    pub index: usize,
    /// What the bytes there are.
    pub content: Content,
}

/// What bytes in shared memory are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Bytes.
    Bytes,
    /// An array in C order without gaps, little-endian.
    Array(Layout),
    /// An Arrow IPC stream.
    Arrow,
}

const KIND_BYTES: u64 = 0;
const KIND_ARRAY: u64 = 1;
const KIND_ARROW: u64 = 2;

impl SharedBody {
    /// Reads a body.
    ///
    /// # Errors
    /// `Body` for one that is malformed, and what [`Layout::new`] and [`Dtype::parse`] refuse.
    pub fn parse(body: &[u8]) -> Result<Self, LayoutError> {
        let mut input = decode::Bytes::new(body);
        let length = array_len(&mut input)?;
        let index = number(&mut input)?;
        let kind = number(&mut input)?;
        let content = match (kind, length) {
            (KIND_BYTES, 2) => Content::Bytes,
            (KIND_ARRAY, 4) => Content::Array(layout(&mut input)?),
            (KIND_ARROW, 2) => Content::Arrow,
            _ => return malformed("it is of no known kind"),
        };
        end(&input)?;
        let index = usize::try_from(index).or(malformed("its index is out of bounds"))?;
        Ok(Self { index, content })
    }

    /// Writes a body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        let (kind, length) = match &self.content {
            Content::Bytes => (KIND_BYTES, 2),
            Content::Array(_) => (KIND_ARRAY, 4),
            Content::Arrow => (KIND_ARROW, 2),
        };
        write_array_len(&mut out, length);
        write_number(&mut out, self.index as u64);
        write_number(&mut out, kind);
        if let Content::Array(layout) = &self.content {
            write_layout(&mut out, layout);
        }
        out
    }

    /// What is there must be as long as it says.
    ///
    /// # Errors
    /// `Length` if not.
    pub fn check_len(&self, found_bytes: usize) -> Result<(), LayoutError> {
        match &self.content {
            Content::Array(layout) => layout.check_len(found_bytes),
            Content::Bytes | Content::Arrow => Ok(()),
        }
    }
}

/// The body of [`EXT_ARRAY`]: an array inside the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayBody<'a> {
    /// What the bytes mean.
    pub layout: Layout,
    /// The elements; as many bytes as the layout says. They are not aligned.
    pub data: &'a [u8],
}

impl<'a> ArrayBody<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// `Body` for one that is malformed, and what [`Layout::new`] and [`Dtype::parse`] refuse.
    pub fn parse(body: &'a [u8]) -> Result<Self, LayoutError> {
        let mut input = decode::Bytes::new(body);
        if array_len(&mut input)? != 3 {
            return malformed("it has not three parts");
        }
        let layout = layout(&mut input)?;
        let data = binary(&mut input)?;
        end(&input)?;
        layout.check_len(data.len())?;
        Ok(Self { layout, data })
    }

    /// Writes everything up to the elements, which follow it: the body is what this appends and then
    /// the layout's bytes, which so need not be copied twice.
    pub fn write_head(layout: &Layout, out: &mut Vec<u8>) {
        write_array_len(out, 3);
        write_layout(out, layout);
        // Longer binaries than this have no form in MessagePack; messages are limited far below.
        let length = u32::try_from(layout.byte_len()).unwrap_or(u32::MAX);
        always(encode::write_bin_len(out, length).is_ok());
    }
}

/// Reads the body of [`EXT_ARROW`].
///
/// # Errors
/// `Body` if it is malformed.
pub fn parse_arrow(body: &[u8]) -> Result<&[u8], LayoutError> {
    let mut input = decode::Bytes::new(body);
    if array_len(&mut input)? != 1 {
        return malformed("it has not one part");
    }
    let data = binary(&mut input)?;
    end(&input)?;
    Ok(data)
}

/// Writes the body of [`EXT_ARROW`] up to the stream's bytes, which follow it.
pub fn write_arrow_head(size_bytes: u32, out: &mut Vec<u8>) {
    write_array_len(out, 1);
    always(encode::write_bin_len(out, size_bytes).is_ok());
}

fn malformed<T>(what: &'static str) -> Result<T, LayoutError> {
    Err(LayoutError::Body { what })
}

fn array_len(input: &mut decode::Bytes<'_>) -> Result<usize, LayoutError> {
    let length = decode::read_array_len(input).or(malformed("it is no array"))?;
    Ok(length as usize)
}

fn number(input: &mut decode::Bytes<'_>) -> Result<u64, LayoutError> {
    decode::read_int(input).or(malformed("a number is none"))
}

fn layout(input: &mut decode::Bytes<'_>) -> Result<Layout, LayoutError> {
    let (name, rest) = decode::read_str_from_slice(input.remaining_slice())
        .or(malformed("its element type is no text"))?;
    let dtype = Dtype::parse(name)?;
    *input = decode::Bytes::new(rest);
    let dimensions = array_len(input)?;
    if dimensions > MOST_DIMENSIONS {
        return Err(LayoutError::Dimensions { dimensions });
    }
    let mut shape = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        let length = number(input)?;
        shape.push(usize::try_from(length).or(Err(LayoutError::TooLarge))?);
    }
    Layout::new(dtype, shape)
}

fn binary<'a>(input: &mut decode::Bytes<'a>) -> Result<&'a [u8], LayoutError> {
    let length = decode::read_bin_len(input).or(malformed("its bytes are none"))? as usize;
    let rest = input.remaining_slice();
    let Some((data, rest)) = rest.split_at_checked(length) else {
        return malformed("its bytes are cut off");
    };
    *input = decode::Bytes::new(rest);
    Ok(data)
}

fn end(input: &decode::Bytes<'_>) -> Result<(), LayoutError> {
    if input.remaining_slice().is_empty() { Ok(()) } else { malformed("something follows it") }
}

fn write_array_len(out: &mut Vec<u8>, length: u32) {
    always(encode::write_array_len(out, length).is_ok());
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    always(encode::write_uint(out, number).is_ok());
}

fn write_layout(out: &mut Vec<u8>, layout: &Layout) {
    always(encode::write_str(out, layout.dtype().as_str()).is_ok());
    write_array_len(out, layout.shape().len() as u32);
    for &length in layout.shape() {
        write_number(out, length as u64);
    }
}

/// Writing into a vector does not fail.
fn always(written: bool) {
    debug_assert!(written, "a vector takes everything");
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const CASES: u32 = if cfg!(miri) { 16 } else { 1024 };

    /// The forms that the contract with the Python side has, byte by byte.
    #[test]
    fn bodies_have_the_agreed_form() {
        let layout = Layout::new(Dtype::F64, vec![256, 3]).unwrap();
        let array = SharedBody { index: 1, content: Content::Array(layout) };
        let written = array.to_bytes();
        assert_eq!(written, b"\x94\x01\x01\xa3<f8\x92\xcd\x01\x00\x03");
        let bytes = SharedBody { index: 0, content: Content::Bytes };
        assert_eq!(bytes.to_bytes(), [0x92, 0, 0]);
        let arrow = SharedBody { index: 300, content: Content::Arrow };
        assert_eq!(arrow.to_bytes(), [0x92, 0xcd, 1, 44, 2]);

        let layout = Layout::new(Dtype::U8, vec![2]).unwrap();
        let mut inline = Vec::new();
        ArrayBody::write_head(&layout, &mut inline);
        inline.extend_from_slice(b"ab");
        assert_eq!(inline, b"\x93\xa3|u1\x91\x02\xc4\x02ab");
        assert_eq!(ArrayBody::parse(&inline), Ok(ArrayBody { layout, data: b"ab" }));

        let mut arrow = Vec::new();
        write_arrow_head(3, &mut arrow);
        arrow.extend_from_slice(b"xyz");
        assert_eq!(parse_arrow(&arrow), Ok(&b"xyz"[..]));
    }

    #[test]
    fn what_is_too_long_too_deep_or_cut_off_is_refused() {
        let refused = |body: &[u8]| SharedBody::parse(body).unwrap_err();
        assert!(matches!(refused(b""), LayoutError::Body { .. }));
        assert!(matches!(refused(&[0x92, 0, 9]), LayoutError::Body { .. }), "no such kind");
        assert!(matches!(refused(&[0x93, 0, 0, 0]), LayoutError::Body { .. }), "a part too many");
        assert!(matches!(refused(&[0x92, 0, 0, 0]), LayoutError::Body { .. }), "something follows");
        assert!(matches!(refused(&[0x92, 0xff, 0]), LayoutError::Body { .. }), "below zero");
        let deep = [&b"\x94\x00\x01\xa3<f8\xdc\x00\x21"[..], &[1; 33]].concat();
        assert_eq!(refused(&deep), LayoutError::Dimensions { dimensions: 33 });
        let endless = b"\x94\x00\x01\xa3<f8\xdd\xff\xff\xff\xff";
        assert!(matches!(refused(endless), LayoutError::Dimensions { .. }), "believed a length");
        let wide = b"\x94\x00\x01\xa3<f8\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(refused(wide), LayoutError::TooLarge);
        let short = ArrayBody::parse(b"\x93\xa3|u1\x91\x03\xc4\x02ab").unwrap_err();
        assert!(matches!(short, LayoutError::Length { .. }), "{short}");
        let cut = ArrayBody::parse(b"\x93\xa3|u1\x91\x02\xc6\xff\xff\xff\xffab").unwrap_err();
        assert!(matches!(cut, LayoutError::Body { .. }), "{cut}");
    }

    fn contents() -> impl Strategy<Value = Content> {
        let layout = vec(0..300_usize, 0..6)
            .prop_filter_map("too large", |shape| Layout::new(Dtype::F32, shape).ok());
        prop_oneof![Just(Content::Bytes), Just(Content::Arrow), layout.prop_map(Content::Array)]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: CASES,
            // Miri has no files.
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_body_is_read_as_it_was_written(index in any::<usize>(), content in contents()) {
            let body = SharedBody { index, content };
            prop_assert_eq!(SharedBody::parse(&body.to_bytes()), Ok(body));
        }

        #[test]
        fn no_bytes_make_a_reader_panic(data in vec(any::<u8>(), 0..64)) {
            let _ = SharedBody::parse(&data);
            let _ = ArrayBody::parse(&data);
            let _ = parse_arrow(&data);
        }
    }
}
