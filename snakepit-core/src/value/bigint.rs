//! Integers of any width, as the wire has them. Owns conversion to and from decimal text and machine
//! integers; does no arithmetic.

use std::fmt;
use std::str::FromStr;

/// An integer of any width: two's complement, big-endian, in its shortest form.
///
/// Convert to the big integer type of your choice with [`as_bytes`](Self::as_bytes), which most of
/// them take.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BigInt(Vec<u8>);

/// A text that is no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal integer")]
pub struct ParseBigIntError;

/// Decimal digits that always fit a limb of 32 bits, and the number they count to.
const CHUNK_DIGITS: usize = 9;
const CHUNK: u64 = 1_000_000_000;

impl BigInt {
    /// Takes two's complement, big-endian bytes; none at all is 0.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = bytes;
        // A leading byte is redundant when it only repeats the sign of the next one.
        while let [first, second, ..] = bytes {
            let sign = if second & 0x80 == 0 { 0x00 } else { 0xff };
            if *first != sign {
                break;
            }
            bytes = &bytes[1..];
        }
        if bytes.is_empty() { Self(vec![0]) } else { Self(bytes.to_vec()) }
    }

    /// Two's complement, big-endian, shortest form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The integer, if it fits.
    pub fn to_i64(&self) -> Option<i64> {
        i64::try_from(self.to_i128()?).ok()
    }

    /// The integer, if it fits.
    pub fn to_u64(&self) -> Option<u64> {
        u64::try_from(self.to_i128()?).ok()
    }

    /// The integer, if it fits.
    pub fn to_u128(&self) -> Option<u128> {
        if self.is_negative() {
            return None;
        }
        // One byte more than the integer may be there for the sign.
        let magnitude = self.0.strip_prefix(&[0]).unwrap_or(&self.0);
        let mut wide = [0; 16];
        let start = wide.len().checked_sub(magnitude.len())?;
        wide[start..].copy_from_slice(magnitude);
        Some(u128::from_be_bytes(wide))
    }

    /// The integer, if it fits.
    pub fn to_i128(&self) -> Option<i128> {
        let mut wide = if self.is_negative() { [0xff; 16] } else { [0; 16] };
        let start = wide.len().checked_sub(self.0.len())?;
        wide[start..].copy_from_slice(&self.0);
        Some(i128::from_be_bytes(wide))
    }

    fn is_negative(&self) -> bool {
        self.0[0] & 0x80 != 0
    }

    /// The absolute value in limbs of 32 bits, most significant first.
    fn magnitude(&self) -> Vec<u32> {
        let fill = if self.is_negative() { 0xff } else { 0 };
        let padding = (4 - self.0.len() % 4) % 4;
        let mut bytes = vec![fill; padding];
        bytes.extend_from_slice(&self.0);
        let mut limbs: Vec<u32> =
            bytes.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
        if self.is_negative() {
            negate(&mut limbs);
        }
        limbs
    }
}

/// Two's complement negation, in place. The most negative number stays, read as unsigned it is its
/// own absolute value.
fn negate(limbs: &mut [u32]) {
    let mut carry = true;
    for limb in limbs.iter_mut().rev() {
        (*limb, carry) = (!*limb).overflowing_add(u32::from(carry));
    }
}

impl From<i128> for BigInt {
    fn from(number: i128) -> Self {
        Self::from_bytes(&number.to_be_bytes())
    }
}

impl From<u128> for BigInt {
    fn from(number: u128) -> Self {
        let mut bytes = [0; 17];
        bytes[1..].copy_from_slice(&number.to_be_bytes());
        Self::from_bytes(&bytes)
    }
}

/// Decimal digits, with a minus where needed.
impl fmt::Display for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limbs = self.magnitude();
        let mut chunks = Vec::new();
        let mut first = 0;
        while first < limbs.len() {
            if limbs[first] == 0 {
                first += 1;
                continue;
            }
            let mut remainder = 0;
            for limb in &mut limbs[first..] {
                let value = (remainder << 32) | u64::from(*limb);
                // The remainder is below CHUNK, so the quotient fits a limb.
                *limb = (value / CHUNK) as u32;
                remainder = value % CHUNK;
            }
            chunks.push(remainder);
        }
        let mut digits = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            digits.push_str(&format!("{chunk:0CHUNK_DIGITS$}"));
        }
        f.pad_integral(!self.is_negative(), "", &digits)
    }
}

impl FromStr for BigInt {
    type Err = ParseBigIntError;

    fn from_str(text: &str) -> Result<Self, ParseBigIntError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(ParseBigIntError);
        }
        // Least significant limb first while it grows.
        let mut limbs: Vec<u32> = Vec::new();
        let mut rest = digits;
        while !rest.is_empty() {
            // The first chunk takes what does not divide, the others are full.
            let take = match rest.len() % CHUNK_DIGITS {
                0 => CHUNK_DIGITS,
                odd => odd,
            };
            let (chunk, after) = rest.split_at(take);
            let mut carry: u64 = chunk.parse().map_err(|_| ParseBigIntError)?;
            for limb in &mut limbs {
                let value = u64::from(*limb) * CHUNK + carry;
                *limb = value as u32;
                carry = value >> 32;
            }
            if carry > 0 {
                limbs.push(carry as u32);
            }
            rest = after;
        }
        // Room for the sign.
        limbs.push(0);
        limbs.reverse();
        if negative {
            negate(&mut limbs);
        }
        let bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_be_bytes()).collect();
        Ok(Self::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn agrees_with_machine_integers(number: i128) {
            let big = BigInt::from(number);
            proptest::prop_assert_eq!(big.to_i128(), Some(number));
            proptest::prop_assert_eq!(big.to_string(), number.to_string());
            proptest::prop_assert_eq!(big.to_u128(), u128::try_from(number).ok());
            let wide = number as u128;
            proptest::prop_assert_eq!(BigInt::from(wide).to_u128(), Some(wide));
            proptest::prop_assert_eq!(number.to_string().parse::<BigInt>().unwrap(), big);
        }

        #[test]
        fn any_bytes_survive_decimal_text(bytes: Vec<u8>) {
            let big = BigInt::from_bytes(&bytes);
            proptest::prop_assert_eq!(big.to_string().parse::<BigInt>().unwrap(), big);
        }
    }

    #[test]
    fn the_shortest_form_is_kept() {
        for (number, bytes) in [
            (0, &[0_u8][..]),
            (127, &[127]),
            (128, &[0, 128]),
            (-128, &[128]),
            (-129, &[0xff, 127]),
        ] {
            assert_eq!(BigInt::from(number as i128).as_bytes(), bytes);
        }
        assert_eq!(BigInt::from_bytes(&[]).to_string(), "0");
    }

    #[test]
    fn wide_numbers_read_and_print() {
        for text in [
            "0",
            "-1",
            "1267650600228229401496703205376",
            "-340282366920938463463374607431768211456",
        ] {
            assert_eq!(text.parse::<BigInt>().unwrap().to_string(), text);
        }
        for text in ["", "-", "1.0", "1e3", "0x1", " 1"] {
            assert!(text.parse::<BigInt>().is_err(), "{text}");
        }
    }
}
