//! The JSON form of an error: `docs/errors.md` describes it, `docs/error.schema.json` is its schema.
//! Owns serializing and reading it. Invariant: what was written is read back as it was, and what a
//! later release adds is no obstacle.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde::{Deserialize, Deserializer};

use super::{Error, ErrorKind, PythonException, Severity};

/// Under this name a detail keeps the kind of an error that this release does not know.
const UNKNOWN_KIND: &str = "unknown_kind";

/// Has `kind`, `category`, `severity`, `retry` and `message`, and where there are any `help`,
/// `maybe_executed`, `details`, `python` and `cause`.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.0.kind.code())?;
        map.serialize_entry("category", self.category().name())?;
        map.serialize_entry("severity", self.severity().name())?;
        map.serialize_entry("retry", self.advice().name())?;
        map.serialize_entry("message", &self.0.message)?;
        if let Some(help) = &self.0.help {
            map.serialize_entry("help", help)?;
        }
        if let ErrorKind::WorkerLost { maybe_executed } = self.0.kind {
            map.serialize_entry("maybe_executed", &maybe_executed)?;
        }
        if !self.0.details.is_empty() {
            map.serialize_entry("details", &self.0.details)?;
        }
        if let Some(python) = &self.0.python {
            map.serialize_entry("python", python)?;
        }
        if let Some(cause) = &self.0.cause {
            map.serialize_entry("cause", cause)?;
        }
        map.end()
    }
}

#[derive(Deserialize)]
struct Form {
    kind: String,
    severity: Option<String>,
    message: String,
    help: Option<String>,
    maybe_executed: Option<bool>,
    #[serde(default)]
    details: BTreeMap<String, String>,
    python: Option<PythonException>,
    cause: Option<Error>,
}

/// Category and advice follow from the rest. A kind that this release does not know becomes
/// `System`, with its name in the details.
impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let kind = match ErrorKind::from_code(&form.kind) {
            Some(ErrorKind::WorkerLost { .. }) => {
                // A call that may have had effects must not be taken for one that has not.
                ErrorKind::WorkerLost { maybe_executed: form.maybe_executed.unwrap_or(true) }
            }
            Some(kind) => kind,
            None => ErrorKind::System,
        };
        let mut error = Self::new(kind, form.message).with_help(form.help.unwrap_or_default());
        error.0.details = form.details;
        error.0.python = form.python;
        error.0.cause = form.cause;
        if kind.code() != form.kind {
            error = error.with_detail(UNKNOWN_KIND, form.kind);
        }
        let severity = form.severity.as_deref().and_then(Severity::from_name);
        error.0.severity = severity.filter(|severity| *severity != error.severity());
        Ok(error)
    }
}

/// As its fields, with `kind` for what kind of exception it is; `cause`, `members` and `host_error`
/// where there are any.
impl Serialize for PythonException {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type_name", &self.type_name)?;
        map.serialize_entry("module", &self.module)?;
        map.serialize_entry("kind", self.kind().name())?;
        map.serialize_entry("message", &self.message)?;
        map.serialize_entry("args", &self.args)?;
        map.serialize_entry("bases", &self.bases)?;
        map.serialize_entry("frames", &self.frames)?;
        map.serialize_entry("notes", &self.notes)?;
        if let Some(cause) = &self.cause {
            map.serialize_entry("cause", cause)?;
        }
        map.serialize_entry("explicit_cause", &self.explicit_cause)?;
        if !self.members.is_empty() {
            map.serialize_entry("members", &self.members)?;
        }
        if let Some(error) = &self.host_error {
            map.serialize_entry("host_error", error)?;
        }
        map.end()
    }
}
