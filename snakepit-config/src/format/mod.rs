//! Text to a tree: the three formats behind one function. Owns the limits that hold for all of
//! them, so that no text, however it is made, costs more than its length.

mod json;
mod lines;
mod toml;
mod write;
mod yaml;

use std::collections::HashSet;
use std::path::Path;

pub(crate) use self::lines::Lines;
pub(crate) use self::write::{toml as to_toml, yaml as to_yaml};
use crate::error::{Code, Problem};
use crate::node::{Node, Place, Table, Value};

/// A hundred times a document with 200 pools; more is another file by mistake.
pub(crate) const MAX_BYTES: usize = 8 << 20;
/// Settings are four levels deep, arguments of adapters a few more.
const MAX_DEPTH: usize = 64;
/// What aliases of YAML may unfold to.
const MAX_NODES: usize = 1_000_000;

/// What a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.json`
    Json,
    /// `.yaml` and `.yml`: version 1.2, with its core schema
    Yaml,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Toml, Self::Json, Self::Yaml];

    /// Its name, which is also the ending of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }

    /// The format that a file's ending names; TOML for a file without one, as `/dev/stdin`.
    pub fn of_path(path: &Path) -> Option<Self> {
        let Some(ending) = path.extension() else { return Some(Self::Toml) };
        let ending = ending.to_str()?.to_ascii_lowercase();
        if ending == "yml" {
            return Some(Self::Yaml);
        }
        Self::ALL.into_iter().find(|format| format.name() == ending)
    }
}

/// Reads a text. Its top level is a table.
pub(crate) fn parse(text: &str, format: Format) -> Result<Table, Vec<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![too_large(text.len())]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::new(text);
    let table = match format {
        Format::Toml => toml::parse(&lines)?,
        Format::Json => json::parse(&lines)?,
        Format::Yaml => yaml::parse(&lines)?,
    };
    let mut problems = Vec::new();
    doubles(&table, "", &mut problems);
    if problems.is_empty() { Ok(table) } else { Err(problems) }
}

/// Why bytes are no text, with the place where they stop being one.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large(bytes.len()));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let at = Lines::new(valid).position(valid.len());
        Problem::new(Code::Syntax, "", "the file is not UTF-8 text").at(Some(Place::Text(at)))
    })
}

fn too_large(bytes: usize) -> Problem {
    let message = format!("the document has {bytes} bytes; the most is {MAX_BYTES}");
    Problem::new(Code::TooLarge, "", message)
}

fn too_deep(place: Place) -> Problem {
    let message = format!("the document is nested deeper than {MAX_DEPTH} levels");
    Problem::new(Code::TooLarge, "", message).at(Some(place))
}

fn syntax(message: impl Into<String>, place: Place) -> Problem {
    Problem::new(Code::Syntax, "", message).at(Some(place))
}

/// The top level of a document. An empty one is an empty table.
fn root(node: Option<Node>) -> Result<Table, Vec<Problem>> {
    match node {
        None => Ok(Table::default()),
        Some(Node { value: Value::Null, .. }) => Ok(Table::default()),
        Some(Node { value: Value::Table(table), .. }) => Ok(table),
        Some(Node { value, place }) => {
            let message = format!("expected a table, found {}", value.kind());
            Err(vec![Problem::new(Code::InvalidValue, "", message).at(Some(place))])
        }
    }
}

/// Finds keys that stand twice in one table: which of the two counts would be a guess.
fn doubles(table: &Table, path: &str, problems: &mut Vec<Problem>) {
    let mut seen = HashSet::new();
    for entry in &table.entries {
        let own = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        if !seen.insert(&entry.key) {
            let (code, message) = match path {
                "pool" => (Code::DuplicatePoolNames, "two pools have this name"),
                _ => (Code::Syntax, "the key stands here a second time"),
            };
            problems.push(Problem::new(code, &own, message).at(Some(entry.place.clone())));
        }
        nested(&entry.node, &own, problems);
    }
}

fn nested(node: &Node, path: &str, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::Table(table) => doubles(table, path, problems),
        Value::List(items) => items.iter().for_each(|item| nested(item, path, problems)),
        _ => {}
    }
}
