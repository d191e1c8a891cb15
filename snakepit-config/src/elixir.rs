//! Elixir configuration files to a tree: the literal data of `config :snakepit, …`. Owns the way
//! through the grammar; runs no code, so that what is no literal is left out and said.

use tree_sitter::{Node as Syntax, Parser};

use crate::error::{Code, Problem};
use crate::format::{Lines, MAX_BYTES};
use crate::node::{Entry, Node, Place, Table, Value};
use crate::remark::{Remark, RemarkKind};

/// Deeper data is no configuration; the walk below recurses.
const MAX_DEPTH: usize = 64;

pub(crate) struct Read {
    pub(crate) settings: Table,
    pub(crate) remarks: Vec<Remark>,
}

/// Reads a file.
pub(crate) fn read(text: &str) -> Result<Read, Vec<Problem>> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; the most is {MAX_BYTES}", text.len());
        return Err(vec![Problem::new(Code::TooLarge, "", message)]);
    }
    let mut parser = Parser::new();
    let grammar = tree_sitter_elixir::LANGUAGE.into();
    let unusable = |message: String| vec![Problem::new(Code::Unreadable, "", message)];
    parser.set_language(&grammar).map_err(|error| unusable(error.to_string()))?;
    let tree = parser.parse(text, None);
    let tree = tree.ok_or_else(|| unusable("the grammar gave up".to_owned()))?;
    let lines = Lines::new(text);
    let mut reader = Reader { lines: &lines, settings: Table::default(), remarks: Vec::new() };
    let root = tree.root_node();
    if let Some(error) = first_error(root) {
        let problem = Problem::new(Code::Syntax, "", "the text is not Elixir from here on");
        return Err(vec![problem.at(Some(reader.place(error)))]);
    }
    for statement in children(root) {
        reader.statement(statement);
    }
    if reader.settings.entries.is_empty() {
        let problem = Problem::new(
            Code::NoPoolsConfigured,
            "",
            "the file says nothing about Snakepit that is literal data",
        )
        .help("only `config :snakepit, …` is read");
        return Err(vec![problem]);
    }
    Ok(Read { settings: reader.settings, remarks: reader.remarks })
}

struct Reader<'a, 't> {
    lines: &'a Lines<'t>,
    settings: Table,
    remarks: Vec<Remark>,
}

/// Something that is not literal data: what it is, and where.
struct NotLiteral<'t>(Syntax<'t>);

impl<'t> Reader<'_, 't> {
    fn text(&self, node: Syntax<'_>) -> &'t str {
        self.lines.text.get(node.byte_range()).unwrap_or_default()
    }

    fn place(&self, node: Syntax<'_>) -> Place {
        self.lines.place(node.start_byte())
    }

    fn statement(&mut self, node: Syntax<'_>) {
        let target = node.child_by_field_name("target").map(|target| self.text(target));
        match (node.kind(), target) {
            ("comment", _) | ("call", Some("import" | "use")) => {}
            ("call", Some("config")) => self.config(node),
            ("call", Some("import_config")) => {
                self.left_out("import_config", "import that file, too", node);
            }
            // Only what may set something of Snakepit's is worth a word.
            _ if self.text(node).contains(":snakepit") => {
                let what = target.unwrap_or("an expression").to_owned();
                self.left_out(&what, "only running the file tells what it sets", node);
            }
            _ => {}
        }
    }

    /// `config :snakepit, key: value, …`, or `config :snakepit, :key, value`.
    fn config(&mut self, node: Syntax<'_>) {
        let arguments = children(node).into_iter().find(|child| child.kind() == "arguments");
        let arguments = arguments.map(children).unwrap_or_default();
        let Some((app, rest)) = arguments.split_first() else { return };
        if self.text(*app) != ":snakepit" {
            return;
        }
        match rest {
            [keywords] if matches!(keywords.kind(), "keywords" | "list") => {
                let keywords = match keywords.kind() {
                    "list" => {
                        children(*keywords).into_iter().find(|child| child.kind() == "keywords")
                    }
                    _ => Some(*keywords),
                };
                if let Some(keywords) = keywords {
                    let settings = self.keywords(keywords, "", 0);
                    self.settings.overlay(settings);
                }
            }
            [key, value] if key.kind() == "atom" => {
                let name = self.text(*key).trim_start_matches(':').to_owned();
                match self.value(*value, &name, 0) {
                    Ok(node) => {
                        let place = self.place(*key);
                        let entry = Entry { key: name, place, node };
                        let layer = Table { entries: vec![entry] };
                        // As in Elixir, keys of later calls count.
                        self.settings.overlay(layer);
                    }
                    Err(NotLiteral(what)) => self.not_literal(&name, what),
                }
            }
            _ => self.left_out("config :snakepit", "it is no list of literal keys", node),
        }
    }

    /// `key: value` pairs; those whose value is no literal are left out.
    fn keywords(&mut self, node: Syntax<'_>, path: &str, depth: usize) -> Table {
        let mut table = Table::default();
        for pair in children(node) {
            let key = pair.child_by_field_name("key");
            let value = pair.child_by_field_name("value");
            let (Some(key), Some(value)) = (key, value) else { continue };
            let name = self.text(key).trim();
            let name = name.strip_suffix(':').unwrap_or(name).trim_matches('"').to_owned();
            self.entry(&mut table, name, self.place(key), value, path, depth);
        }
        table
    }

    fn entry(
        &mut self,
        table: &mut Table,
        name: String,
        place: Place,
        value: Syntax<'_>,
        path: &str,
        depth: usize,
    ) {
        let own = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match self.value(value, &own, depth + 1) {
            Ok(node) => {
                // In Elixir keyword lists of several `config` calls merge, and maps do not.
                if path.is_empty() && value.kind() == "map" {
                    self.settings.entries.retain(|entry| entry.key != name);
                }
                // As in Elixir's maps, the last one counts.
                table.entries.retain(|entry| entry.key != name);
                table.entries.push(Entry { key: name, place, node });
            }
            Err(NotLiteral(what)) => self.not_literal(&own, what),
        }
    }

    fn value<'n>(
        &mut self,
        node: Syntax<'n>,
        path: &str,
        depth: usize,
    ) -> Result<Node, NotLiteral<'n>> {
        if depth > MAX_DEPTH {
            return Err(NotLiteral(node));
        }
        let text = self.text(node);
        let value = match node.kind() {
            "integer" => integer(text).ok_or(NotLiteral(node))?,
            "float" => Value::Number(text.replace('_', "").parse().map_err(|_| NotLiteral(node))?),
            "unary_operator" => match text.strip_prefix('-').map(str::trim) {
                Some(number) => match integer(number) {
                    Some(Value::Integer(number)) => Value::Integer(-number),
                    _ => return Err(NotLiteral(node)),
                },
                None => return Err(NotLiteral(node)),
            },
            "boolean" => Value::Boolean(text == "true"),
            "nil" => Value::Null,
            "atom" => Value::Text(text.trim_start_matches(':').to_owned()),
            "alias" => Value::Text(text.to_owned()),
            "string" | "charlist" | "quoted_atom" => Value::Text(self.string(node)?),
            "sigil" => self.sigil(node)?,
            "tuple" => Value::List(self.items(node, path, depth)?),
            "list" => match children(node).as_slice() {
                [only] if only.kind() == "keywords" => {
                    Value::Table(self.keywords(*only, path, depth))
                }
                _ => Value::List(self.items(node, path, depth)?),
            },
            "map" => Value::Table(self.map(node, path, depth)),
            _ => return Err(NotLiteral(node)),
        };
        Ok(Node::new(value, self.place(node)))
    }

    fn items<'n>(
        &mut self,
        node: Syntax<'n>,
        path: &str,
        depth: usize,
    ) -> Result<Vec<Node>, NotLiteral<'n>> {
        let mut items = Vec::new();
        for (number, item) in children(node).into_iter().enumerate() {
            items.push(self.value(item, &format!("{path}.{number}"), depth + 1)?);
        }
        Ok(items)
    }

    /// `%{key: value}` and `%{"key" => value}`.
    fn map(&mut self, node: Syntax<'_>, path: &str, depth: usize) -> Table {
        let content = children(node).into_iter().find(|child| child.kind() == "map_content");
        let mut table = Table::default();
        for part in content.map(children).unwrap_or_default() {
            if part.kind() == "keywords" {
                let keywords = self.keywords(part, path, depth);
                table.entries.extend(keywords.entries);
                continue;
            }
            let side = |side| part.child_by_field_name(side);
            let (Some(key), Some(value)) = (side("left"), side("right")) else {
                self.not_literal(path, part);
                continue;
            };
            match self.value(key, path, depth + 1) {
                Ok(Node { value: Value::Text(name), place }) => {
                    self.entry(&mut table, name, place, value, path, depth);
                }
                _ => self.not_literal(path, key),
            }
        }
        table
    }

    /// A text without interpolation.
    fn string<'n>(&self, node: Syntax<'n>) -> Result<String, NotLiteral<'n>> {
        let mut out = String::new();
        for part in children(node) {
            match part.kind() {
                "quoted_content" => out.push_str(self.text(part)),
                "escape_sequence" => out.push(escape(self.text(part)).ok_or(NotLiteral(part))?),
                _ => return Err(NotLiteral(part)),
            }
        }
        Ok(out)
    }

    /// `~w(a b)` and `~s(text)`.
    fn sigil<'n>(&self, node: Syntax<'n>) -> Result<Value, NotLiteral<'n>> {
        let parts = children(node);
        let (Some(name), rest) = (parts.first(), &parts[1..]) else { return Err(NotLiteral(node)) };
        let modified = |part: &Syntax<'_>| part.kind() == "sigil_modifiers";
        if rest.iter().any(|part| part.kind() != "quoted_content" && !modified(part)) {
            return Err(NotLiteral(node));
        }
        let content = rest.iter().find(|part| part.kind() == "quoted_content");
        let content = content.map(|part| self.text(*part)).unwrap_or_default();
        match self.text(*name) {
            "w" | "W" => {
                let words = content.split_whitespace();
                let place = self.place(node);
                let word = |word: &str| Node::new(Value::Text(word.to_owned()), place.clone());
                Ok(Value::List(words.map(word).collect()))
            }
            "s" | "S" => Ok(Value::Text(content.to_owned())),
            _ => Err(NotLiteral(node)),
        }
    }

    fn not_literal(&mut self, path: &str, what: Syntax<'_>) {
        let code: String = self.text(what).split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = code.chars().take(60).collect();
        let dots = if short.len() < code.len() { "…" } else { "" };
        self.left_out(path, &format!("`{short}{dots}` is no literal data"), what);
    }

    fn left_out(&mut self, key: &str, why: &str, node: Syntax<'_>) {
        self.remarks.push(Remark {
            kind: RemarkKind::NotTakenOver,
            key: key.to_owned(),
            message: why.to_owned(),
            position: Some(self.lines.position(node.start_byte())),
        });
    }
}

fn integer(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    let number = match digits.get(..2) {
        Some("0x") => i128::from_str_radix(&digits[2..], 16),
        Some("0o") => i128::from_str_radix(&digits[2..], 8),
        Some("0b") => i128::from_str_radix(&digits[2..], 2),
        _ => digits.parse(),
    };
    number.ok().map(Value::Integer)
}

fn escape(sequence: &str) -> Option<char> {
    match sequence.strip_prefix('\\')? {
        "n" => Some('\n'),
        "t" => Some('\t'),
        "r" => Some('\r'),
        "e" => Some('\u{1b}'),
        "s" => Some(' '),
        "0" => Some('\0'),
        other => {
            let hex = other.strip_prefix(['u', 'x']).map(|hex| hex.trim_matches(['{', '}']));
            if let Some(hex) = hex {
                return char::from_u32(u32::from_str_radix(hex, 16).ok()?);
            }
            let mut chars = other.chars();
            chars.next().filter(|_| chars.next().is_none())
        }
    }
}

/// The named children, without comments.
fn children(node: Syntax<'_>) -> Vec<Syntax<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

/// The first place where the grammar did not understand the text.
fn first_error(node: Syntax<'_>) -> Option<Syntax<'_>> {
    // With a cursor, as the tree may be deeper than the stack is.
    let mut cursor = node.walk();
    loop {
        let here = cursor.node();
        if here.is_error() || here.is_missing() {
            return Some(here);
        }
        if here.has_error() && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return None;
            }
        }
    }
}
