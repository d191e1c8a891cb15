//! The marker: what stands for a value that has no plain form.
//!
//! Owns its Python class and the text it shows of the value. Invariant: that text is short, and
//! what follows a name that sounds like a secret is not in it.

use pyo3::prelude::*;
use pyo3::types::PyType;

/// Longest `repr` that is sent along, in characters.
const MAX_REPR_CHARS: usize = 200;

/// Names after which a value is not shown, in lower case.
const SECRET_NAMES: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "authorization",
    "credential",
    "private_key",
];

/// Stands for a value that could not cross: its type's name and a shortened `repr`.
#[pyclass(frozen, eq, hash, module = "snakepit")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Marker {
    /// Qualified name of the type.
    #[pyo3(get, name = "type")]
    pub(crate) type_name: String,
    /// Shortened `repr` of the value.
    #[pyo3(get, name = "repr")]
    pub(crate) repr: String,
}

#[pymethods]
impl Marker {
    #[new]
    fn new(r#type: String, repr: String) -> Self {
        Self { type_name: r#type, repr }
    }

    fn __repr__(&self) -> String {
        format!("Marker({:?}, {:?})", self.type_name, self.repr)
    }
}

impl Marker {
    /// The marker of an object.
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> Self {
        let repr = value.repr().map_or_else(
            |_| "<repr failed>".to_owned(),
            |repr| redact(&shorten(&repr.to_string_lossy())),
        );
        Self { type_name: type_name(&value.get_type()), repr }
    }
}

/// The type's name with its module, which is left out for builtins.
pub(crate) fn type_name(ty: &Bound<'_, PyType>) -> String {
    let name = ty.qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    match ty.module() {
        Ok(module) if module.to_string_lossy() != "builtins" => format!("{module}.{name}"),
        _ => name,
    }
}

/// At most [`MAX_REPR_CHARS`] characters of a text.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_REPR_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Replaces what is assigned to names that sound like secrets.
pub(crate) fn redact(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    while let Some((start, name)) = next_secret(&lower, kept) {
        let after_name = start + name.len();
        out.push_str(&text[kept..after_name]);
        kept = after_name;
        if let Some((from, to)) = assigned_value(&lower, after_name) {
            out.push_str(&text[kept..from]);
            out.push_str("***");
            kept = to;
        }
    }
    out.push_str(&text[kept..]);
    out
}

/// The first secret-sounding name at or after `from`.
fn next_secret(lower: &str, from: usize) -> Option<(usize, &'static str)> {
    SECRET_NAMES
        .iter()
        .filter_map(|name| lower[from..].find(name).map(|at| (from + at, *name)))
        .min_by_key(|(at, _)| *at)
}

/// The range of the value in `name=value`, `'name': 'value'` and the like.
fn assigned_value(text: &str, after_name: usize) -> Option<(usize, usize)> {
    let rest = &text[after_name..];
    // The rest of the identifier (`secret_name`), its closing quote, the sign, spaces.
    let identifier = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let unquoted = identifier.trim_start_matches(['\'', '"', ' ']);
    let value = unquoted.strip_prefix([':', '='])?.trim_start();
    let from = text.len() - value.len();
    let prefix = if value.starts_with("b'") || value.starts_with("b\"") { 1 } else { 0 };
    let len = match value[prefix..].chars().next()? {
        quote @ ('\'' | '"') => {
            value[prefix + 1..].find(quote).map_or(value.len(), |end| prefix + 1 + end + 1)
        }
        _ => value.find([',', ')', '}', ']', ' ']).unwrap_or(value.len()),
    };
    Some((from, from + len))
}
