//! A document as a tree, whatever format it was written in: values in the order of the text, each
//! with its place. Owns the tree and merging; knows no key.

use std::sync::Arc;

use crate::error::Position;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Nowhere: a form of the original's means it without saying so.
    Default,
    Text(Position),
    Variable(Arc<str>),
    Builder,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Integer(i128),
    Number(f64),
    Text(String),
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

/// Names and values, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key itself stands.
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn new(value: Value, place: Place) -> Self {
        Self { value, place }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(crate) fn push(&mut self, key: impl Into<String>, node: Node) {
        let place = node.place.clone();
        self.entries.push(Entry { key: key.into(), place, node });
    }

    /// The table of that name, which is made if there is none; `None` if another value is there.
    pub(crate) fn table_mut(&mut self, key: &str, place: &Place) -> Option<&mut Table> {
        let at = match self.entries.iter().position(|entry| entry.key == key) {
            Some(at) => at,
            None => {
                self.push(key, Node::new(Value::Table(Self::default()), place.clone()));
                self.entries.len() - 1
            }
        };
        match &mut self.entries[at].node.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Puts another layer over this one, key by key; what is no table replaces what was there.
    pub(crate) fn overlay(&mut self, over: Self) {
        for entry in over.entries {
            match self.entries.iter_mut().find(|own| own.key == entry.key) {
                None => self.entries.push(entry),
                Some(own) => match (&mut own.node.value, entry.node.value) {
                    (Value::Table(own), Value::Table(over)) => own.overlay(over),
                    (_, value) => own.node = Node::new(value, entry.node.place),
                },
            }
        }
    }
}

impl Value {
    /// What a value is, with the value itself where that is short.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Text(text) if text.chars().count() <= 40 => format!("the text \"{text}\""),
            Self::Text(_) => "a long text".to_owned(),
            Self::Integer(number) => format!("the number {number}"),
            Self::Number(number) => format!("the number {number}"),
            Self::Boolean(flag) => flag.to_string(),
            Self::Date(date) => format!("the date {date}"),
            Self::List(_) => "an array".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}
