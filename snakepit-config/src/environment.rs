//! Environment variables as a layer: `SNAKEPIT_POOL__NAME__KEY` sets `pool.NAME.KEY`, and
//! `SNAKEPIT_HOST__KEY` sets `host.KEY`. Owns the way
//! from a variable's name to the path of a setting; reads no environment itself.
//!
//! A variable is a setting when its name begins with `SNAKEPIT_` and has two underscores somewhere
//! behind that; no other variable of Snakepit's has. So a misspelt one is an unknown key.

use std::sync::Arc;

use crate::error::{Code, Problem};
use crate::keys::{self, Key, Kind};
use crate::node::{Node, Place, Table, Value};

const PREFIX: &str = "SNAKEPIT_";

/// The settings among these variables, as a layer over `document`, whose names they may mean.
pub(crate) fn layer(
    variables: impl IntoIterator<Item = (String, String)>,
    document: &Table,
    problems: &mut Vec<Problem>,
) -> Table {
    let mut layer = Table::default();
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort();
    for (name, value) in variables {
        let Some(path) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else {
            continue;
        };
        let place = Place::Variable(Arc::from(name.as_str()));
        if let Err(problem) = set(&mut layer, document, path, &value, &place) {
            problems.push(problem.at(Some(place)));
        }
    }
    layer
}

fn set(
    layer: &mut Table,
    document: &Table,
    path: &str,
    value: &str,
    place: &Place,
) -> Result<(), Problem> {
    let parts: Vec<&str> = path.split("__").collect();
    // The original calls its list of pools so.
    let root = if parts[0] == "POOLS" { "pool".to_owned() } else { parts[0].to_lowercase() };
    if root == "host" {
        let known = document.get("host").and_then(Node::as_table);
        let Some(table) = layer.table_mut("host", place) else { return Ok(()) };
        return put(table, "host", setting(&parts[1..], &keys::HOST, known, value, place), place);
    }
    if root != "pool" {
        return Err(Problem::new(Code::UnknownKey, &root, "there is no such key")
            .help(keys::suggestion(&root, &keys::ROOT)));
    }
    let (name, rest) = match parts[1..] {
        [name, ref rest @ ..] if !name.is_empty() && !rest.is_empty() => (name, rest),
        _ => {
            let problem = Problem::new(Code::UnknownKey, "pool", "the variable names no setting");
            return Err(
                problem.help("write SNAKEPIT_POOL__NAME__KEY, as SNAKEPIT_POOL__DEFAULT__WORKERS")
            );
        }
    };
    let pools = document.get("pool").and_then(Node::as_table);
    let name = pool_name(name, pools)?;
    let known = pools.and_then(|pools| pools.get(&name)).and_then(Node::as_table);
    let Some(table) = layer.table_mut("pool", place).and_then(|all| all.table_mut(&name, place))
    else {
        return Ok(());
    };
    let above = format!("pool.{name}");
    put(table, &above, setting(rest, &keys::POOL, known, value, place), place)
}

/// Puts a setting into the table it belongs to.
fn put(
    table: &mut Table,
    above: &str,
    (path, value): (Vec<String>, Value),
    place: &Place,
) -> Result<(), Problem> {
    let Some((last, tables)) = path.split_last() else { return Ok(()) };
    let table = tables.iter().try_fold(table, |table, part| table.table_mut(part, place));
    match table {
        Some(table) if table.get(last).is_none() => {
            table.push(last.as_str(), Node::new(value, place.clone()));
            Ok(())
        }
        _ => {
            let path = format!("{above}.{}", path.join("."));
            Err(Problem::new(Code::InvalidValue, path, "another variable sets this, too"))
        }
    }
}

/// Names of variables have neither small letters nor hyphens by custom, so that the document's pool
/// is meant which is called so but for these.
fn pool_name(written: &str, pools: Option<&Table>) -> Result<String, Problem> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let names = || pools.into_iter().flat_map(|pools| &pools.entries).map(|entry| &entry.key);
    if let Some(exact) = names().find(|name| *name == written) {
        return Ok(exact.clone());
    }
    let mut meant = names().filter(|name| plain(name) == plain(written));
    match (meant.next(), meant.next()) {
        (None, _) => Ok(written.to_lowercase()),
        (Some(only), None) => Ok(only.clone()),
        (Some(one), Some(other)) => {
            let message = format!("both `{one}` and `{other}` could be meant");
            Err(Problem::new(Code::InvalidValue, "pool", message)
                .help("write the pool's name as the document does"))
        }
    }
}

/// The path of a setting below its pool, and its value as the key wants it.
fn setting(
    parts: &[&str],
    known: &[Key],
    document: Option<&Table>,
    value: &str,
    place: &Place,
) -> (Vec<String>, Value) {
    let name = parts[0].to_lowercase();
    let kind = known.iter().find(|key| key.name == name).map(|key| &key.kind);
    let own = document.and_then(|table| table.get(&name)).and_then(Node::as_table);
    let (below, value) = match (kind, &parts[1..]) {
        (Some(Kind::Table(keys)), rest) if !rest.is_empty() => {
            setting(rest, keys, own, value, place)
        }
        // The names of environment variables are their own.
        (Some(Kind::Texts), rest) if !rest.is_empty() => {
            (vec![rest.join("__")], Value::Text(value.to_owned()))
        }
        (Some(Kind::Values), rest) if !rest.is_empty() => {
            (vec![argument(&rest.join("__"), own)], any_value(value, place))
        }
        (kind, rest) => {
            let below = rest.iter().map(|part| part.to_lowercase()).collect();
            (
                below,
                kind.map_or_else(
                    || Value::Text(value.to_owned()),
                    |kind| typed(kind, value, place),
                ),
            )
        }
    };
    let path = std::iter::once(name).chain(below).collect();
    (path, value)
}

fn typed(kind: &Kind, value: &str, place: &Place) -> Value {
    let text = || Value::Text(value.to_owned());
    match kind {
        Kind::Count(_) => value.trim().parse().map_or_else(|_| text(), Value::Integer),
        Kind::Share(_) => value.trim().parse().map_or_else(|_| text(), Value::Number),
        Kind::Flag => value.trim().parse().map_or_else(|_| text(), Value::Boolean),
        Kind::List | Kind::Choices(_) => {
            let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
            let item = |item: &str| Node::new(Value::Text(item.to_owned()), place.clone());
            Value::List(items.map(item).collect())
        }
        _ => text(),
    }
}

/// The argument of the document that is called so but for its case.
fn argument(written: &str, document: Option<&Table>) -> String {
    let names = document.into_iter().flat_map(|table| &table.entries).map(|entry| &entry.key);
    let small = written.to_lowercase();
    names.into_iter().find(|name| name.to_lowercase() == small).cloned().unwrap_or(small)
}

/// JSON, where it is some, else text.
fn any_value(value: &str, place: &Place) -> Value {
    match serde_json::from_str(value) {
        Ok(json) => from_json(json, place),
        Err(_) => Value::Text(value.to_owned()),
    }
}

fn from_json(json: serde_json::Value, place: &Place) -> Value {
    use serde_json::Value as Json;
    let node = |json| Node::new(from_json(json, place), place.clone());
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Boolean(flag),
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(node).collect()),
        Json::Object(entries) => {
            let mut table = Table::default();
            entries.into_iter().for_each(|(key, value)| table.push(key, node(value)));
            Value::Table(table)
        }
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Integer(integer.into()),
            (None, Some(float)) => Value::Number(float),
            (None, None) => Value::Text(number.to_string()),
        },
    }
}
