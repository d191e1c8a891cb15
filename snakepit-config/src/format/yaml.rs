//! YAML 1.2 to the tree, with the core schema: what a plain word means. Tags and several documents
//! in one file have no use here and are refused.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::{Lines, MAX_DEPTH, MAX_NODES, root, syntax, too_deep};
use crate::error::{Code, Position, Problem};
use crate::node::{Entry, Node, Place, Table, Value};

pub(super) fn parse(lines: &Lines<'_>) -> Result<Table, Vec<Problem>> {
    let parser = Parser::new_from_str(lines.text);
    let mut reader = Reader { parser, anchors: HashMap::new(), nodes: 0 };
    root(reader.document().map_err(|problem| vec![problem])?)
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Place), Problem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span))),
            Some(Err(error)) => Err(not_yaml(&error)),
            None => Ok((Event::StreamEnd, Place::Text(Position { line: 1, column: 1 }))),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Problem> {
        let mut found = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(found),
                Event::DocumentStart(_) if found.is_some() => {
                    return Err(syntax("a second document begins here", place));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => found = Some(self.node(event, place, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, place: Place, depth: usize) -> Result<Node, Problem> {
        if depth > MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.count(1, &place)?;
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, place),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), &place)?;
                let plain = style == ScalarStyle::Plain;
                let value = if plain { meaning(&text) } else { Some(Value::Text(text.into())) };
                let message = "the number is out of range";
                let out = || Problem::new(Code::InvalidValue, "", message).at(Some(place.clone()));
                (value.ok_or_else(out)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.is_some(), &place)?;
                (Value::List(self.items(depth)?), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.is_some(), &place)?;
                (Value::Table(self.entries(depth)?), anchor)
            }
            _ => return Err(syntax("the document ends too early", place)),
        };
        let node = Node::new(value, place);
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), 1 + self.nodes - before));
        }
        Ok(node)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            items.push(self.node(event, place, depth + 1)?);
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Table, Problem> {
        let mut table = Table::default();
        loop {
            let (event, place) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(table),
                Event::Scalar(text, _, _, tag) => {
                    refuse_tag(tag.is_some(), &place)?;
                    text.into_owned()
                }
                _ => return Err(syntax("a key is a plain text", place)),
            };
            let (event, value_place) = self.next()?;
            let node = self.node(event, value_place, depth + 1)?;
            table.entries.push(Entry { key, place, node });
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<Node, Problem> {
        let missing = || syntax("the alias stands for nothing that came before", place.clone());
        let (node, size) = self.anchors.get(&anchor).cloned().ok_or_else(missing)?;
        self.count(size, &place)?;
        Ok(Node { place, ..node })
    }

    fn count(&mut self, nodes: usize, place: &Place) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("the document unfolds to more than {MAX_NODES} values");
        Err(Problem::new(Code::TooLarge, "", message).at(Some(place.clone())))
    }
}

fn refuse_tag(tagged: bool, place: &Place) -> Result<(), Problem> {
    if tagged { Err(syntax("tags have no meaning in settings", place.clone())) } else { Ok(()) }
}

fn place(span: &Span) -> Place {
    Place::Text(Position { line: span.start.line(), column: span.start.col() + 1 })
}

fn not_yaml(error: &ScanError) -> Problem {
    let at = error.marker();
    let place = Place::Text(Position { line: at.line(), column: at.col() + 1 });
    if error.info().contains("recursion limit") {
        return too_deep(place);
    }
    syntax(error.info(), place)
}

/// What an unquoted word means in YAML's core schema; `None` is a number that nothing holds.
fn meaning(text: &str) -> Option<Value> {
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        let valid = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        valid.then(|| i128::from_str_radix(digits, radix).ok().map(Value::Integer))
    };
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Boolean(true),
        "false" | "False" | "FALSE" => Value::Boolean(false),
        ".nan" | ".NaN" | ".NAN" => Value::Number(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" => Value::Number(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Number(f64::NEG_INFINITY),
        _ => {
            if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
                return number;
            }
            let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
            if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
                return text.parse().ok().map(Value::Integer);
            }
            // Rust also takes words such as `inf` for numbers.
            let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            match text.parse() {
                Ok(number) if numeric => Value::Number(number),
                _ => Value::Text(text.to_owned()),
            }
        }
    };
    Some(value)
}
