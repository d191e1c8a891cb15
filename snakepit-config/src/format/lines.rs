//! A text and where its lines begin: byte offsets to lines and columns, without reading the text
//! again each time.

use crate::error::Position;
use crate::node::Place;

pub(crate) struct Lines<'t> {
    pub(crate) text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    pub(crate) fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let before = self.text.get(self.starts[line - 1]..offset).unwrap_or_default();
        Position { line, column: before.chars().count() + 1 }
    }

    pub(crate) fn place(&self, offset: usize) -> Place {
        Place::Text(self.position(offset))
    }

    /// The offset of a line, from 1, and a byte in it, from 1.
    pub(crate) fn offset(&self, line: usize, byte: usize) -> usize {
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let mut offset = (start + byte.saturating_sub(1)).min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters_and_lines_start_at_one() {
        let lines = Lines::new("ä=1\nbü=2\n");
        let at = |offset| {
            let Position { line, column } = lines.position(offset);
            (line, column)
        };
        assert_eq!((at(0), at(2), at(5)), ((1, 1), (1, 2), (2, 1)));
        assert_eq!((at(8), at(11)), ((2, 3), (3, 1)));
        assert_eq!(lines.offset(2, 3), 6, "inside a character is its beginning");
    }
}
