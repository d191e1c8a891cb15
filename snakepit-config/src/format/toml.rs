//! TOML to the tree.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Lines, MAX_DEPTH, syntax, too_deep};
use crate::error::{Code, Problem};
use crate::node::{Entry, Node, Table, Value};

pub(super) fn parse(lines: &Lines<'_>) -> Result<Table, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(lines.text);
    if !errors.is_empty() {
        let problems = errors.into_iter().map(|error| {
            let place = lines.place(error.span().map_or(0, |span| span.start));
            let message = error.message().trim();
            if message.contains("recurs") { too_deep(place) } else { syntax(message, place) }
        });
        return Err(problems.collect());
    }
    let mut reader = Reader { lines, problems: Vec::new() };
    let table = reader.table(document.get_ref(), 0);
    if reader.problems.is_empty() { Ok(table) } else { Err(reader.problems) }
}

struct Reader<'a, 't> {
    lines: &'a Lines<'t>,
    problems: Vec<Problem>,
}

impl Reader<'_, '_> {
    fn table(&mut self, table: &DeTable<'_>, depth: usize) -> Table {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            entries.push(Entry {
                key: key.get_ref().to_string(),
                place: self.lines.place(key.span().start),
                node: self.node(value, depth + 1),
            });
        }
        // The parser sorts by name; people read from top to bottom.
        entries.sort_by(|a, b| a.place.cmp(&b.place));
        Table { entries }
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Node {
        let place = self.lines.place(value.span().start);
        if depth > MAX_DEPTH {
            self.problems.push(too_deep(place.clone()));
            return Node::new(Value::Null, place);
        }
        let read = match value.get_ref() {
            DeValue::String(text) => Some(Value::Text(text.to_string())),
            DeValue::Boolean(flag) => Some(Value::Boolean(*flag)),
            DeValue::Datetime(date) => Some(Value::Date(date.to_string())),
            DeValue::Integer(number) => {
                i128::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Integer)
            }
            DeValue::Float(number) => number.as_str().parse().ok().map(Value::Number),
            DeValue::Array(items) => {
                Some(Value::List(items.iter().map(|item| self.node(item, depth + 1)).collect()))
            }
            DeValue::Table(table) => Some(Value::Table(self.table(table, depth))),
        };
        let read = read.unwrap_or_else(|| {
            let message = "the number is out of range";
            let problem = Problem::new(Code::InvalidValue, "", message);
            self.problems.push(problem.at(Some(place.clone())));
            Value::Null
        });
        Node::new(read, place)
    }
}
