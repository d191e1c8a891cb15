//! The JSON Schema of a document, out of the table of keys. Editors complete and check with it; what
//! a schema cannot say (sums of durations, bounds between keys) only [`Config`](crate::Config) judges.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::keys::{self, Key, Kind};
use crate::units::{format_duration, format_size};

/// The JSON Schema (draft 2020-12) of a document in the crate's own form.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Snakepit settings",
        "type": "object",
        "required": ["pool"],
        "additionalProperties": false,
        "properties": {
            "host": { "$ref": "#/$defs/host" },
            "pool": {
                "description": "Pools by name; calls that name none go to `default`",
                "type": "object",
                "minProperties": 1,
                "propertyNames": { "pattern": "^[A-Za-z0-9_-]{1,64}$" },
                "additionalProperties": { "$ref": "#/$defs/pool" },
            },
        },
        "$defs": {
            "host": host(),
            "pool": pool(),
            "duration": { "type": "string", "pattern": "^\\s*([0-9]+\\s*(d|h|m|s|ms|us|ns)\\s*)+$" },
            "size": {
                "type": "string",
                "pattern": "^\\s*[0-9]+\\s*(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB)\\s*$",
            },
        },
    })
}

fn host() -> Value {
    let mut schema = table(&keys::HOST);
    schema["description"] = "What the host has beside its pools".into();
    schema
}

fn pool() -> Value {
    let mut schema = table(&keys::POOL);
    schema["required"] = json!(["adapter"]);
    schema
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn property(key: &Key) -> Value {
    let (mut schema, range) = match &key.kind {
        Kind::Text => (json!({ "type": "string" }), None),
        Kind::Choice(names) => (json!({ "enum": names }), None),
        Kind::Count(range) => (bounds("integer", range), None),
        Kind::Share(range) => (bounds("number", range), None),
        Kind::Time { range, none } => {
            let duration = json!({ "$ref": "#/$defs/duration" });
            let schema = match none {
                true => json!({ "anyOf": [{ "const": "none" }, duration] }),
                false => duration,
            };
            let (least, most) = (format_duration(*range.start()), format_duration(*range.end()));
            (schema, Some(span(&least, &most)))
        }
        Kind::Size(range) => {
            let (least, most) = (format_size(*range.start()), format_size(*range.end()));
            (json!({ "$ref": "#/$defs/size" }), Some(span(&least, &most)))
        }
        Kind::List => (json!({ "type": "array", "items": { "type": "string" } }), None),
        Kind::Choices(names) => {
            let items = json!({ "enum": names });
            (json!({ "type": "array", "items": items, "minItems": 1 }), None)
        }
        Kind::Texts => {
            let texts = json!({ "type": "string" });
            (json!({ "type": "object", "additionalProperties": texts }), None)
        }
        Kind::Flag => (json!({ "type": "boolean" }), None),
        Kind::Values => (json!({ "type": "object" }), None),
        Kind::Table(keys) => (table(keys), None),
    };
    let range = range.unwrap_or_default();
    schema["description"] = format!("{}{range}", key.about).into();
    schema
}

fn bounds<T: Into<Value> + Copy>(kind: &str, range: &RangeInclusive<T>) -> Value {
    let (least, most): (Value, Value) = ((*range.start()).into(), (*range.end()).into());
    json!({ "type": kind, "minimum": least, "maximum": most })
}

fn span(least: &dyn Display, most: &dyn Display) -> String {
    format!(" ({least} to {most})")
}
