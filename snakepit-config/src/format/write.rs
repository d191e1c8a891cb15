//! The tree to text: YAML, and TOML through its own writer.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::node::{Node, Table, Value};

/// Block style; every text is quoted, so that no word turns into something else.
pub(crate) fn yaml(table: &Table) -> String {
    let mut out = String::new();
    if table.entries.is_empty() {
        out.push_str("{}\n");
    }
    block(table, 0, &mut out);
    out
}

/// Only what has a TOML form: nothing, and integers beyond 64 bits, are left out.
pub(crate) fn toml(table: &Table) -> Result<String, toml::ser::Error> {
    toml::to_string(table)
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        // In TOML what follows a table belongs to it.
        let (tables, plain): (Vec<_>, Vec<_>) =
            self.entries.iter().partition(|entry| entry.node.as_table().is_some());
        for entry in plain.into_iter().chain(tables) {
            if entry.node.value != Value::Null {
                map.serialize_entry(&entry.key, &entry.node.value)?;
            }
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Boolean(flag) => serializer.serialize_bool(*flag),
            Self::Integer(number) => match i64::try_from(*number) {
                Ok(number) => serializer.serialize_i64(number),
                Err(_) => serializer.serialize_i128(*number),
            },
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) | Self::Date(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items.iter().map(|item| &item.value)),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

fn block(table: &Table, indent: usize, out: &mut String) {
    for entry in &table.entries {
        out.push_str(&" ".repeat(indent));
        key(&entry.key, out);
        out.push(':');
        match &entry.node.value {
            Value::Table(inner) if !inner.entries.is_empty() => {
                out.push('\n');
                block(inner, indent + 2, out);
            }
            _ => {
                out.push(' ');
                flow(&entry.node, out);
                out.push('\n');
            }
        }
    }
}

fn key(key: &str, out: &mut String) {
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { out.push_str(key) } else { quoted(key, out) }
}

fn flow(node: &Node, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Boolean(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Integer(number) => out.push_str(&number.to_string()),
        // With a point or an exponent, so that it stays what it is.
        Value::Number(number) => out.push_str(&format!("{number:?}")),
        Value::Text(text) | Value::Date(text) => quoted(text, out),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                flow(item, out);
            }
            out.push(']');
        }
        Value::Table(table) => {
            out.push('{');
            for (at, entry) in table.entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                quoted(&entry.key, out);
                out.push_str(": ");
                flow(&entry.node, out);
            }
            out.push('}');
        }
    }
}

/// What YAML does not print is escaped.
fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            ' '..='~' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
}
