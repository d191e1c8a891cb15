//! Documents in the forms of the original: the flat keys of v0.5, and the list of pools of v0.6.
//! Owns the way from either to the crate's own form, with a remark for every key; values keep their
//! places, so that what is wrong with one is reported where it stands.

mod adapter;
mod keys;
mod pool;

use std::collections::BTreeSet;

use crate::DEFAULT_POOL;
use crate::error::{Code, Problem};
use crate::host::is_instance;
use crate::keys::suggestion;
use crate::node::{Entry, Node, Place, Table, Value};
use crate::remark::{Remark, RemarkKind};

/// What became of a document.
pub(crate) struct Translated {
    pub(crate) document: Table,
    pub(crate) remarks: Vec<Remark>,
    pub(crate) problems: Vec<Problem>,
}

/// What to do with a key that nobody knows.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unknown {
    /// In a document somebody writes for us it is a slip.
    IsProblem,
    /// In a file of the original's it may be any program's own.
    #[cfg_attr(not(feature = "elixir"), expect(dead_code, reason = "only those files are foreign"))]
    IsRemark,
}

/// Whether a document is in a form of the original's: nothing of our own, and one of its keys.
pub(crate) fn is_legacy(document: &Table) -> bool {
    let known = |entry: &Entry| entry.key == "pools" || keys::meaning(&entry.key).is_some();
    document.get("pool").is_none() && document.entries.iter().any(known)
}

/// Translates a document for which [`is_legacy`] holds.
pub(crate) fn translate(document: &Table, unknown: Unknown) -> Translated {
    let mut work = Work { unknown, remarks: Vec::new(), problems: Vec::new() };
    let mut pools = Table::default();
    let globals: Vec<Given<'_>> = work.globals(document);
    match document.entries.iter().find(|entry| entry.key == "pools") {
        None => {
            let place = document.entries.first().map(|entry| entry.place.clone());
            let place = place.unwrap_or(Place::Default);
            let pool = work.pool(DEFAULT_POOL, &[], &globals);
            pools.push(DEFAULT_POOL, Node::new(Value::Table(pool), place));
        }
        Some(entry) => work.pools(entry, &globals, &mut pools),
    }
    let host = work.host(&globals);
    let mut document = Table::default();
    if let Some(place) = host.entries.first().map(|entry| entry.place.clone()) {
        document.push("host", Node::new(Value::Table(host), place));
    }
    if !pools.entries.is_empty() {
        let place = pools.entries[0].place.clone();
        document.push("pool", Node::new(Value::Table(pools), place));
    }
    // One that holds for several pools is told of once.
    let mut seen = BTreeSet::new();
    work.remarks.retain(|remark| seen.insert(remark.clone()));
    work.remarks.sort_by_key(|remark| remark.position);
    Translated { document, remarks: work.remarks, problems: work.problems }
}

struct Work {
    unknown: Unknown,
    remarks: Vec<Remark>,
    problems: Vec<Problem>,
}

/// One key as given, and its name in the whole document.
#[derive(Clone)]
struct Given<'a> {
    path: String,
    key: &'a str,
    node: &'a Node,
}

impl Work {
    /// The keys that hold for every pool, the stronger ones first.
    fn globals<'a>(&mut self, document: &'a Table) -> Vec<Given<'a>> {
        let mut globals = Vec::new();
        let mut weaker = Vec::new();
        for entry in &document.entries {
            match (entry.key.as_str(), &entry.node.value) {
                ("pools", _) => {}
                ("pool_config", Value::Table(table)) => {
                    globals.extend(self.given(table, "pool_config."));
                }
                // It is stronger than the same key inside `pool_config`, and all others are weaker.
                ("pool_size", _) => globals.insert(0, Given::of(entry, "")),
                _ => weaker.extend(self.known(entry, "")),
            }
        }
        globals.extend(weaker);
        globals
    }

    /// What is the host's and no pool's.
    fn host(&mut self, globals: &[Given<'_>]) -> Table {
        let mut host = Table::default();
        let first = |key: &str| globals.iter().find(|given| given.key == key);
        if let Some(given) = first("instance_name") {
            match given.node.as_text() {
                Some(name) if is_instance(name) => {
                    host.push("instance", given.node.clone());
                    self.became(given, "host.instance");
                }
                _ => self.nothing(given, "it cannot be the name of a file; set `host.instance`"),
            }
        }
        if let Some(given) = first("log_level") {
            let level = match given.node.as_text() {
                Some(level @ ("debug" | "info" | "error")) => Some(level),
                Some("warning" | "warn") => Some("warn"),
                Some("none") => Some("off"),
                _ => None,
            };
            match level {
                Some(level) => {
                    let place = given.node.place.clone();
                    host.push("log", Node::new(Value::Text(level.to_owned()), place));
                    self.became(given, "host.log");
                }
                None => self.nothing(given, "there is no such level; set `host.log`"),
            }
        }
        host
    }

    fn given<'a>(&mut self, table: &'a Table, prefix: &str) -> Vec<Given<'a>> {
        table.entries.iter().filter_map(|entry| self.known(entry, prefix)).collect()
    }

    /// A key that the original knows, and that is set.
    fn known<'a>(&mut self, entry: &'a Entry, prefix: &str) -> Option<Given<'a>> {
        let given = Given::of(entry, prefix);
        if keys::meaning(&entry.key).is_none() {
            let help = suggestion(&entry.key, &keys::names());
            if self.unknown == Unknown::IsProblem {
                let problem = Problem::new(Code::UnknownKey, given.path, "there is no such key");
                self.problems.push(problem.help(help).at(Some(entry.place.clone())));
            } else {
                let message = format!("the original has no such key, {help}");
                self.remark(RemarkKind::NotTakenOver, &given.path, &message, &entry.place);
            }
            return None;
        }
        (entry.node.value != Value::Null).then_some(given)
    }

    fn pools(&mut self, entry: &Entry, globals: &[Given<'_>], pools: &mut Table) {
        let Value::List(items) = &entry.node.value else {
            let message = format!("expected a list of pools, found {}", entry.node.value.kind());
            let problem = Problem::new(Code::InvalidValue, "pools", message)
                .help("write one `[pool.NAME]` table for each pool, or the original's list");
            self.problems.push(problem.at(Some(entry.node.place.clone())));
            return;
        };
        for (number, item) in items.iter().enumerate() {
            let path = format!("pools.{number}");
            let at = Some(item.place.clone());
            let Value::Table(table) = &item.value else {
                let message = format!("expected a pool, found {}", item.value.kind());
                self.problems.push(Problem::new(Code::InvalidValue, path, message).at(at));
                continue;
            };
            let Some(name) = table.get("name").and_then(Node::as_text) else {
                let problem = Problem::new(
                    Code::MissingRequiredFields,
                    format!("{path}.name"),
                    "the pool has no name",
                );
                self.problems.push(problem.at(at));
                continue;
            };
            let own = self.given(table, &format!("{path}."));
            let own: Vec<_> = own.into_iter().filter(|given| given.key != "name").collect();
            let pool = self.pool(name, &own, globals);
            if pools.get(name).is_some() {
                let path = format!("pool.{name}");
                let message = "two pools have this name";
                self.problems
                    .push(Problem::new(Code::DuplicatePoolNames, path, message).at(at.clone()));
                continue;
            }
            pools.push(name, Node::new(Value::Table(pool), item.place.clone()));
        }
    }

    fn remark(&mut self, kind: RemarkKind, key: &str, message: &str, place: &Place) {
        let position = match place {
            Place::Text(position) => Some(*position),
            _ => None,
        };
        let (key, message) = (key.to_owned(), message.to_owned());
        self.remarks.push(Remark { kind, key, message, position });
    }

    fn problem(&mut self, code: Code, given: &Given<'_>, message: String) -> &mut Problem {
        let problem = Problem::new(code, given.path.clone(), message);
        self.problems.push(problem.at(Some(given.node.place.clone())));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }
}

impl<'a> Given<'a> {
    fn of(entry: &'a Entry, prefix: &str) -> Self {
        let path = format!("{prefix}{}", entry.key);
        Self { path, key: &entry.key, node: &entry.node }
    }
}
