//! JSON to the tree. `serde_json` says whether the text is JSON and reads its scalars; what it does
//! not tell is where they stand, so the brackets are walked here.

use serde::de::IgnoredAny;

use super::{Lines, MAX_DEPTH, root, syntax, too_deep};
use crate::error::{Code, Problem};
use crate::node::{Entry, Node, Table, Value};

pub(super) fn parse(lines: &Lines<'_>) -> Result<Table, Vec<Problem>> {
    if lines.text.trim().is_empty() {
        return root(None);
    }
    let walk = |text| {
        if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
            return Err(not_json(lines, &error));
        }
        Walker { lines, at: 0 }.value(0)
    };
    root(Some(walk(lines.text).map_err(|problem| vec![problem])?))
}

fn not_json(lines: &Lines<'_>, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let place = lines.place(lines.offset(error.line(), error.column()));
    if text.starts_with("recursion limit") {
        return too_deep(place);
    }
    // The place comes with the problem.
    let message = text.split(" at line ").next().unwrap_or_default();
    syntax(message, place)
}

/// Walks over text that is known to be JSON.
struct Walker<'a, 't> {
    lines: &'a Lines<'t>,
    at: usize,
}

impl Walker<'_, '_> {
    /// The next byte that is no white space; 0 at the end, which valid text does not reach early.
    fn peek(&mut self) -> u8 {
        let bytes = self.lines.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Steps over the byte if it is the next one.
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        let first = self.peek();
        let place = self.lines.place(self.at);
        if depth > MAX_DEPTH {
            return Err(too_deep(place));
        }
        let value = match first {
            b'{' => Value::Table(self.table(depth)?),
            b'[' => Value::List(self.list(depth)?),
            b'"' => Value::Text(self.string()?),
            _ => self.scalar()?,
        };
        Ok(Node::new(value, place))
    }

    fn table(&mut self, depth: usize) -> Result<Table, Problem> {
        let mut entries = Vec::new();
        self.skip(b'{');
        while self.peek() == b'"' {
            let place = self.lines.place(self.at);
            let key = self.string()?;
            self.skip(b':');
            entries.push(Entry { key, place, node: self.value(depth + 1)? });
            self.skip(b',');
        }
        self.skip(b'}');
        Ok(Table { entries })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        self.skip(b'[');
        while !matches!(self.peek(), b']' | 0) {
            items.push(self.value(depth + 1)?);
            self.skip(b',');
        }
        self.skip(b']');
        Ok(items)
    }

    fn string(&mut self) -> Result<String, Problem> {
        let start = self.at;
        let bytes = self.lines.text.as_bytes();
        self.at += 1;
        while bytes.get(self.at).is_some_and(|byte| *byte != b'"') {
            self.at += if bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at = (self.at + 1).min(bytes.len());
        let text = self.lines.text.get(start..self.at).unwrap_or_default();
        // Half of a surrogate pair is JSON to some and no text to any.
        serde_json::from_str(text)
            .map_err(|_| syntax("the text holds half of a character", self.lines.place(start)))
    }

    fn scalar(&mut self) -> Result<Value, Problem> {
        let rest = self.lines.text.get(self.at..).unwrap_or_default();
        let end = rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(rest.len());
        let place = self.lines.place(self.at);
        self.at += end;
        match &rest[..end] {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            number => number
                .parse()
                .map(Value::Integer)
                .ok()
                .or_else(|| number.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Number))
                .ok_or_else(|| {
                    Problem::new(Code::InvalidValue, "", "the number is out of range")
                        .at(Some(place))
                }),
        }
    }
}
