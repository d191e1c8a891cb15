//! JSON text to Python objects.
//!
//! Owns reading of the format (RFC 8259). Invariants: nesting is limited, integers stay integers
//! however many digits they have, and no float is rounded to infinity.

use std::borrow::Cow;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};

use super::keys::KeyCache;
use super::parts::{Parts, total_len};
use super::{DecodeError, MAX_DEPTH};

/// Reads exactly one value.
pub(super) fn read<'py>(
    py: Python<'py>,
    parts: &[Bytes],
    keys: &mut KeyCache,
) -> Result<Bound<'py, PyAny>, DecodeError> {
    let bytes = Parts::new(parts).take(total_len(parts)).unwrap_or(Cow::Borrowed(&[]));
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| DecodeError::new(format!("the JSON text is no UTF-8: {error}")))?;
    let mut reader = Reader { py, text, at: 0, keys, stack: Vec::new() };
    let value = reader.value(0)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.wrong("something follows the value")),
    }
}

struct Reader<'a, 'py> {
    py: Python<'py>,
    text: &'a str,
    /// Where the next byte is.
    at: usize,
    keys: &'a mut KeyCache,
    /// Elements of the lists that are being read; each list takes its own off the end.
    stack: Vec<Bound<'py, PyAny>>,
}

type Value<'py> = Result<Bound<'py, PyAny>, DecodeError>;

impl<'a, 'py> Reader<'a, 'py> {
    fn value(&mut self, depth: usize) -> Value<'py> {
        let py = self.py;
        match self.peek() {
            Some(b'"') => Ok(PyString::new(py, &self.string()?).into_any()),
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", PyBool::new(py, true).to_owned().into_any()),
            Some(b'f') => self.word("false", PyBool::new(py, false).to_owned().into_any()),
            Some(b'n') => self.word("null", py.None().into_bound(py)),
            Some(_) => Err(self.wrong("expected a value")),
            None => Err(self.wrong("the text ends within a value")),
        }
    }

    fn list(&mut self, depth: usize) -> Value<'py> {
        self.open(depth)?;
        let start = self.stack.len();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(PyList::empty(self.py).into_any());
        }
        loop {
            let element = self.value(depth + 1)?;
            self.stack.push(element);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.wrong("expected `,` or `]`")),
            }
        }
        self.at += 1;
        Ok(PyList::new(self.py, self.stack.drain(start..))?.into_any())
    }

    fn map(&mut self, depth: usize) -> Value<'py> {
        self.open(depth)?;
        let map = PyDict::new(self.py);
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(map.into_any());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong("expected a key as text"));
            }
            let name = self.string()?;
            let key = self.keys.get(self.py, name.as_bytes())?;
            if self.peek() != Some(b':') {
                return Err(self.wrong("expected `:`"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            map.set_item(key, value)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.wrong("expected `,` or `}`")),
            }
        }
        self.at += 1;
        Ok(map.into_any())
    }

    fn open(&mut self, depth: usize) -> Result<(), DecodeError> {
        if depth >= MAX_DEPTH {
            return Err(DecodeError::new(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.at += 1;
        Ok(())
    }

    fn number(&mut self) -> Value<'py> {
        let start = self.at;
        if self.here() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.here() == Some(b'0');
        let digits = self.digits()?;
        if leading_zero && digits > 1 {
            return Err(self.wrong("a number has no leading zeros"));
        }
        let mut float = false;
        if self.here() == Some(b'.') {
            float = true;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.here() {
            float = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.here() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if float { self.float(text) } else { self.int(text) }
    }

    fn float(&self, text: &str) -> Value<'py> {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(PyFloat::new(self.py, number).into_any()),
            _ => Err(self.wrong("the number is out of range")),
        }
    }

    fn int(&self, text: &str) -> Value<'py> {
        let py = self.py;
        if let Ok(number) = text.parse::<i64>() {
            return Ok(PyInt::new(py, number).into_any());
        }
        // Python itself refuses more digits than it would take too long over.
        Ok(py.get_type::<PyInt>().call1((text,))?)
    }

    /// Passes over one digit at least.
    fn digits(&mut self) -> Result<usize, DecodeError> {
        let rest = &self.text.as_bytes()[self.at..];
        let len = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += len;
        if len == 0 { Err(self.wrong("expected a digit")) } else { Ok(len) }
    }

    fn word(&mut self, word: &str, value: Bound<'py, PyAny>) -> Value<'py> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// The text between quotes; borrowed unless something in it is escaped.
    fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.at += 1;
        let start = self.at;
        let end = self.plain_end()?;
        if self.text.as_bytes()[end] == b'"' {
            self.at = end + 1;
            return Ok(Cow::Borrowed(&self.text[start..end]));
        }
        let mut out = self.text[start..end].to_owned();
        self.at = end;
        while self.text.as_bytes()[self.at] == b'\\' {
            self.at += 1;
            let character = self.escaped()?;
            out.push(character);
            let start = self.at;
            self.at = self.plain_end()?;
            out.push_str(&self.text[start..self.at]);
        }
        self.at += 1;
        Ok(Cow::Owned(out))
    }

    /// Where the next quote or backslash is.
    fn plain_end(&self) -> Result<usize, DecodeError> {
        let rest = &self.text.as_bytes()[self.at..];
        match rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20) {
            Some(len) if rest[len] >= 0x20 => Ok(self.at + len),
            Some(_) => Err(self.wrong("a control character within text has to be escaped")),
            None => Err(self.wrong("the text ends within a value")),
        }
    }

    fn escaped(&mut self) -> Result<char, DecodeError> {
        let byte = self.here();
        self.at += 1;
        Ok(match byte {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.wrong("no such escape")),
        })
    }

    /// The character of `\uXXXX`, or of a surrogate pair of two such.
    fn unicode(&mut self) -> Result<char, DecodeError> {
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff if self.text.as_bytes()[self.at..].starts_with(b"\\u") => {
                self.at += 2;
                match self.hex4()? {
                    second @ 0xdc00..=0xdfff => {
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    _ => first,
                }
            }
            code => code,
        };
        // A surrogate by itself is none.
        char::from_u32(code).ok_or_else(|| self.wrong("a lone surrogate is no character"))
    }

    fn hex4(&mut self) -> Result<u32, DecodeError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let code = digits.and_then(|digits| {
            digits
                .iter()
                .try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
        });
        self.at += 4;
        code.ok_or_else(|| self.wrong("expected four hexadecimal digits"))
    }

    /// The next byte after white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.here() {
            self.at += 1;
        }
        self.here()
    }

    fn here(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, what: &str) -> DecodeError {
        DecodeError::new(format!(
            "{what} at byte {} of the JSON text",
            self.at.min(self.text.len())
        ))
    }
}
