//! JSON text from Python objects.
//!
//! Owns writing of the format; what is written is decided by the walk. Invariant: the text is
//! valid JSON, so NaN and infinities are refused, and bytes become base64 text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pyo3::prelude::*;

use super::walk::{Sink, WriteResult};
use super::{EncodeError, Marker};

/// The entry that tells a marker from other objects; the host writes the same.
const MARKER_TYPE: &str = "__snakepit_marker__";

#[derive(Default)]
pub(super) struct Json {
    out: Vec<u8>,
}

impl Json {
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }
}

impl Sink for Json {
    fn len(&self) -> usize {
        self.out.len()
    }

    fn nil(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn int(&mut self, value: i64) {
        // Writing to a Vec does not fail.
        let _ = serde_json::to_writer(&mut self.out, &value);
    }

    fn uint(&mut self, value: u64) {
        let _ = serde_json::to_writer(&mut self.out, &value);
    }

    fn big_int(&mut self, value: &Bound<'_, PyAny>) -> WriteResult {
        // An int subclass may print itself in its own way; `format` with "d" may not.
        let text = value.call_method1("__format__", ("d",));
        let text = text.map_err(|error| EncodeError::new(error.to_string()))?;
        self.out.extend_from_slice(text.to_string().as_bytes());
        Ok(())
    }

    fn float(&mut self, value: f64) -> WriteResult {
        if !value.is_finite() {
            return Err(EncodeError::new(format!("JSON has no form for {value}")));
        }
        serde_json::to_writer(&mut self.out, &value)
            .map_err(|error| EncodeError::new(error.to_string()))
    }

    fn text(&mut self, value: &str) -> WriteResult {
        serde_json::to_writer(&mut self.out, value)
            .map_err(|error| EncodeError::new(error.to_string()))
    }

    fn bytes(&mut self, value: &[u8]) -> WriteResult {
        self.text(&STANDARD.encode(value))
    }

    fn begin_list(&mut self, _len: usize) -> WriteResult {
        self.out.push(b'[');
        Ok(())
    }

    fn begin_map(&mut self, _len: usize) -> WriteResult {
        self.out.push(b'{');
        Ok(())
    }

    fn marker(&mut self, marker: &Marker) -> WriteResult {
        self.begin_map(2)?;
        self.text(MARKER_TYPE)?;
        self.between();
        self.text(&marker.type_name)?;
        self.before(1);
        self.text("repr")?;
        self.between();
        self.text(&marker.repr)?;
        self.end_map();
        Ok(())
    }

    fn before(&mut self, index: usize) {
        if index > 0 {
            self.out.push(b',');
        }
    }

    /// JSON knows text keys only; a number, bool or null becomes its own text.
    fn around_key(&mut self) {
        self.out.push(b'"');
    }

    fn between(&mut self) {
        self.out.push(b':');
    }

    fn end_list(&mut self) {
        self.out.push(b']');
    }

    fn end_map(&mut self) {
        self.out.push(b'}');
    }
}
