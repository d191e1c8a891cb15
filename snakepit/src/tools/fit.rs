//! Whether arguments fit a tool, and which of them does not.
//!
//! Owns what is taken from a schema: the names, and for a better message the plain types. It is no
//! validator: what a value must be like is the type's business that it is read as.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value as Json;
use snakepit_core::{Codec, Error, ErrorKind, Payload, Value};

/// What a schema says of the names.
#[derive(Debug, Default)]
pub(super) struct Fit {
    required: Vec<String>,
    /// The properties with their plain types; empty where any will do.
    known: BTreeMap<String, Vec<String>>,
    /// Whether others are refused.
    closed: bool,
}

impl Fit {
    pub(super) fn of(schema: &Json) -> Self {
        let texts = |value: &Json| match value {
            Json::String(text) => vec![text.clone()],
            Json::Array(texts) => {
                texts.iter().filter_map(Json::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let properties = schema["properties"].as_object();
        let known = properties.into_iter().flatten();
        let others = &schema["additionalProperties"];
        Self {
            required: texts(&schema["required"]),
            known: known.map(|(name, of)| (name.clone(), texts(&of["type"]))).collect(),
            closed: *others == Json::Bool(false) || (properties.is_some() && others.is_null()),
        }
    }

    /// Reads the arguments of a call.
    pub(super) fn read<A: DeserializeOwned>(
        &self,
        tool: &str,
        payload: &Payload,
    ) -> Result<A, Error> {
        let names: BTreeMap<String, IgnoredAny> = payload.decode()?;
        if let Some(missing) = self.required.iter().find(|name| !names.contains_key(*name)) {
            // A name that is near to a missing one is a typing error; say that instead.
            self.check_names(tool, &names)?;
            let message = format!("`{tool}`: argument `{missing}` is missing");
            return Err(refusal(message, missing));
        }
        self.check_names(tool, &names)?;
        let read = payload.decode().or_else(|error| {
            // A tool without arguments takes none as `()`.
            let nil = || Payload::from_bytes(Codec::MsgPack, &[0xc0][..]).decode();
            if names.is_empty() { nil().map_err(|_| error) } else { Err(error) }
        });
        read.map_err(|error| self.explain(tool, payload, &error))
    }

    fn check_names(&self, tool: &str, names: &BTreeMap<String, IgnoredAny>) -> Result<(), Error> {
        if !self.closed {
            return Ok(());
        }
        let Some(unknown) = names.keys().find(|name| !self.known.contains_key(*name)) else {
            return Ok(());
        };
        let message = format!("`{tool}`: there is no argument `{unknown}`");
        let near = crate::host::nearest(unknown, self.known.keys().map(String::as_str).collect());
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.known.is_empty() => "it takes no arguments".to_owned(),
            None => {
                let known: Vec<_> = self.known.keys().map(String::as_str).collect();
                format!("its arguments are {}", known.join(", "))
            }
        };
        Err(refusal(message, unknown).with_help(help))
    }

    /// Names the argument that could not be read, as far as can be told.
    fn explain(&self, tool: &str, payload: &Payload, error: &Error) -> Error {
        let given: BTreeMap<String, Value> = payload.decode().unwrap_or_default();
        let wrong = given.iter().find_map(|(name, value)| {
            let types = self.known.get(name).filter(|types| !types.is_empty())?;
            (!types.iter().any(|of| is_of(value, of))).then_some((name, types))
        });
        if let Some((name, types)) = wrong {
            let expected = types.join(" or ");
            let message = format!("`{tool}`: argument `{name}` must be of type {expected}");
            return refusal(message, name).with_detail("expected", expected);
        }
        let said = error.message();
        let said = said.split_once(": ").map_or(said, |(_, said)| said);
        let named = ["missing field `", "unknown field `"].into_iter().find_map(|start| {
            let (_, rest) = said.split_once(start)?;
            Some(rest.split_once('`')?.0)
        });
        refusal(format!("`{tool}`: {said}"), named.unwrap_or_default())
    }
}

/// Whether a value is of a plain type of JSON Schema. What has no plain type is for others to judge.
fn is_of(value: &Value, of: &str) -> bool {
    match (value, of) {
        (Value::Nil, of) => of == "null",
        (Value::Bool(_), of) => of == "boolean",
        (Value::Int(_) | Value::UInt(_), of) => matches!(of, "integer" | "number"),
        (Value::Float(_), of) => of == "number",
        (Value::String(_), of) => of == "string",
        (Value::Array(_) | Value::NdArray(_), of) => of == "array",
        (Value::Map(_), of) => of == "object",
        _ => true,
    }
}

fn refusal(message: String, parameter: &str) -> Error {
    let error = Error::new(ErrorKind::InvalidArguments, message);
    if parameter.is_empty() { error } else { error.with_detail("parameter", parameter) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Lookup {
        key: String,
        #[serde(default)]
        limit: u32,
    }

    fn read<A: DeserializeOwned>(schema: &Json, arguments: Json) -> Result<A, Error> {
        let payload = Payload::encode(Codec::MsgPack, &arguments).unwrap();
        Fit::of(schema).read("lookup", &payload)
    }

    fn refused(schema: &Json, arguments: Json) -> (String, String) {
        let error = read::<Lookup>(schema, arguments).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArguments, "{error:?}");
        let parameter = error.details().get("parameter").cloned().unwrap_or_default();
        (parameter, format!("{error}; {}", error.help().unwrap_or_default()))
    }

    #[test]
    fn arguments_that_do_not_fit_are_named() {
        let schema = json!({
            "type": "object",
            "properties": {"key": {"type": "string"}, "limit": {"type": ["integer", "null"]}},
            "required": ["key"],
        });
        let (parameter, said) = refused(&schema, json!({}));
        assert_eq!((parameter.as_str(), said.contains("missing")), ("key", true), "{said}");
        let (parameter, said) = refused(&schema, json!({"kye": "a"}));
        assert_eq!(
            (parameter.as_str(), said.contains("did you mean `key`")),
            ("kye", true),
            "{said}"
        );
        let (parameter, said) = refused(&schema, json!({"key": "a", "limit": "ten"}));
        assert_eq!(
            (parameter.as_str(), said.contains("integer or null")),
            ("limit", true),
            "{said}"
        );
        let found: Lookup = read(&schema, json!({"key": "a"})).unwrap();
        assert_eq!(found, Lookup { key: "a".to_owned(), limit: 0 });
    }

    #[test]
    fn without_a_schema_the_type_itself_names_what_is_missing() {
        let open = json!({"type": "object"});
        let (parameter, said) = refused(&open, json!({"limit": 1}));
        assert_eq!((parameter.as_str(), said.contains("missing field")), ("key", true), "{said}");
        assert!(read::<Lookup>(&open, json!({"key": "a", "other": 1})).is_ok());
        let more = json!({"properties": {}, "additionalProperties": true});
        assert!(read::<Lookup>(&more, json!({"key": "a", "other": 1})).is_ok());
    }

    #[test]
    fn a_tool_without_arguments_takes_unit() {
        read::<()>(&json!({"properties": {}}), json!({})).unwrap();
        let error = read::<()>(&json!({"properties": {}}), json!({"a": 1})).unwrap_err();
        assert_eq!(error.help(), Some("it takes no arguments"));
    }
}
