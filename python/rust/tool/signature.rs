//! A tool's parameters, and fitting arguments to them.
//!
//! Owns the rules of binding: a map gives keywords, a list positions, nil nothing, any other
//! value the one positional argument. Invariant: what it returns can be passed to the function
//! without a `TypeError` from the call itself.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::Bindings;
use super::check::Check;
use super::refusal::{Refusal, nearest};
use crate::codec::Place;

/// The parameters of one function.
#[derive(Debug)]
pub(super) struct Signature {
    /// Without `*args` and `**kwargs`, in order: positional ones first.
    parameters: Vec<Parameter>,
    /// How many of them can be given by position.
    positional: usize,
    extra_positional: Option<Parameter>,
    extra_keywords: Option<Parameter>,
}

#[derive(Debug)]
struct Parameter {
    name: Py<PyString>,
    text: String,
    positional_only: bool,
    required: bool,
    check: Check,
    /// Whether it wants bytes as they lie in memory.
    takes_memory: bool,
    /// What it takes, for people.
    expected: String,
}

/// Kinds of parameters, counted as in `inspect.Parameter`.
const POSITIONAL_ONLY: u8 = 0;
const VAR_POSITIONAL: u8 = 2;
const KEYWORD_ONLY: u8 = 3;
const VAR_KEYWORD: u8 = 4;

impl Signature {
    pub(super) fn new(specs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut signature = Self {
            parameters: Vec::new(),
            positional: 0,
            extra_positional: None,
            extra_keywords: None,
        };
        for spec in specs.try_iter()? {
            let (name, kind, required, check, expected) =
                spec?.extract::<(Bound<'_, PyString>, u8, bool, Bound<'_, PyAny>, String)>()?;
            let (check, takes_memory) = Check::of_parameter(&check)?;
            let parameter = Parameter {
                text: name.to_string(),
                name: name.unbind(),
                positional_only: kind == POSITIONAL_ONLY,
                required,
                check,
                takes_memory,
                expected,
            };
            match kind {
                VAR_POSITIONAL => signature.extra_positional = Some(parameter),
                VAR_KEYWORD => signature.extra_keywords = Some(parameter),
                _ => {
                    if kind != KEYWORD_ONLY {
                        signature.positional += 1;
                    }
                    signature.parameters.push(parameter);
                }
            }
        }
        Ok(signature)
    }

    /// Whether the parameter that takes what is at a place wants bytes as they lie in memory.
    pub(super) fn takes_memory(&self, place: Place<'_>) -> bool {
        let parameter = match place {
            Place::Key(name) => {
                let named = self.parameters.iter().find(|parameter| parameter.text == name);
                named.or(self.extra_keywords.as_ref())
            }
            Place::Index(index) => {
                let positional = self.parameters[..self.positional].get(index);
                positional.or(self.extra_positional.as_ref())
            }
        };
        parameter.is_some_and(|parameter| parameter.takes_memory)
    }

    pub(super) fn bind<'py>(&self, arguments: Bound<'py, PyAny>) -> Result<Bindings<'py>, Refusal> {
        let py = arguments.py();
        match arguments.cast_into_exact::<PyDict>() {
            Ok(keywords) => self.bind_keywords(keywords),
            Err(other) => {
                let other = other.into_inner();
                let positions = if other.is_none() {
                    PyList::empty(py)
                } else if let Ok(list) = other.cast_exact::<PyList>() {
                    list.clone()
                } else {
                    PyList::new(py, [other])?
                };
                self.bind_positions(&positions)
            }
        }
    }

    fn bind_keywords<'py>(&self, keywords: Bound<'py, PyDict>) -> Result<Bindings<'py>, Refusal> {
        let py = keywords.py();
        let mut matched = 0;
        let mut positions = Vec::new();
        let mut skipped: Option<&Parameter> = None;
        for parameter in &self.parameters {
            let name = parameter.name.bind(py);
            let Some(value) = keywords.get_item(name)? else {
                if parameter.required {
                    // A name that is near to a missing one is a typing error; say that instead.
                    self.refuse_unexpected(&keywords)?;
                    return Err(parameter.missing());
                }
                if parameter.positional_only {
                    skipped = Some(parameter);
                }
                continue;
            };
            matched += 1;
            let converted = parameter.apply(&value)?;
            if parameter.positional_only {
                if let Some(skipped) = skipped {
                    return Err(skipped.missing());
                }
                // The function would refuse it as a keyword. It no longer counts as one.
                keywords.del_item(name)?;
                matched -= 1;
                positions.push(converted.unwrap_or(value));
            } else if let Some(converted) = converted {
                keywords.set_item(name, converted)?;
            }
        }
        if matched < keywords.len() {
            self.refuse_unexpected(&keywords)?;
            self.check_extra_keywords(&keywords)?;
        }
        let positions =
            if positions.is_empty() { PyTuple::empty(py) } else { PyTuple::new(py, positions)? };
        Ok((positions, Some(keywords)))
    }

    fn bind_positions<'py>(&self, values: &Bound<'py, PyList>) -> Result<Bindings<'py>, Refusal> {
        if values.len() > self.positional && self.extra_positional.is_none() {
            return Err(Refusal::new(format!(
                "takes {}, but {} came by position",
                arguments(self.positional),
                values.len()
            ))
            .help(self.listing()));
        }
        if let Some(missing) =
            self.parameters.iter().skip(values.len().min(self.positional)).find(|p| p.required)
        {
            return Err(missing.missing());
        }
        for (index, value) in values.iter().enumerate() {
            let parameter = match self.parameters[..self.positional].get(index) {
                Some(parameter) => Some(parameter),
                None => self.extra_positional.as_ref(),
            };
            if let Some(converted) = parameter.map_or(Ok(None), |p| p.apply(&value))? {
                values.set_item(index, converted)?;
            }
        }
        Ok((values.to_tuple(), None))
    }

    /// Fails if a keyword is no parameter's name and the function takes no extra ones.
    fn refuse_unexpected(&self, keywords: &Bound<'_, PyDict>) -> Result<(), Refusal> {
        for key in keywords.keys().iter() {
            let Ok(name) = key.cast::<PyString>() else {
                return Err(Refusal::new(format!(
                    "argument names must be text, not {}",
                    key.get_type().name()?
                )));
            };
            let name = name.to_string_lossy();
            let known = self.parameters.iter().any(|parameter| parameter.text == name);
            if known || self.extra_keywords.is_some() {
                continue;
            }
            // One that was given too was not meant.
            let absent =
                |parameter: &&Parameter| !keywords.contains(&parameter.text).unwrap_or(false);
            let names = self.parameters.iter().filter(absent).map(|parameter| &*parameter.text);
            let help = match nearest(&name, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => self.listing(),
            };
            return Err(Refusal::new(format!("unexpected argument `{name}`"))
                .about(&name)
                .help(help));
        }
        Ok(())
    }

    fn check_extra_keywords(&self, keywords: &Bound<'_, PyDict>) -> Result<(), Refusal> {
        let Some(extra) = &self.extra_keywords else {
            return Ok(());
        };
        for (name, value) in keywords.copy()?.iter() {
            let text = name.to_string();
            if self.parameters.iter().any(|parameter| parameter.text == text) {
                continue;
            }
            if let Some(converted) = extra.apply_as(&text, &value)? {
                keywords.set_item(name, converted)?;
            }
        }
        Ok(())
    }

    fn listing(&self) -> String {
        let names: Vec<_> = self.parameters.iter().map(|p| format!("`{}`", p.text)).collect();
        match names.len() {
            0 => "the tool takes no arguments".to_owned(),
            _ => format!("its parameters are {}", names.join(", ")),
        }
    }
}

impl Parameter {
    fn apply<'py>(&self, value: &Bound<'py, PyAny>) -> Result<Option<Bound<'py, PyAny>>, Refusal> {
        self.apply_as(&self.text, value)
    }

    fn apply_as<'py>(
        &self,
        name: &str,
        value: &Bound<'py, PyAny>,
    ) -> Result<Option<Bound<'py, PyAny>>, Refusal> {
        self.check.apply(value).map_err(|mismatch| {
            let place: String = mismatch.path.iter().rev().map(String::as_str).collect();
            let whole = if place.is_empty() { String::new() } else { format!(" at {place}") };
            let message = match &mismatch.message {
                Some(said) => format!("argument `{name}`{whole}: {said}"),
                None if place.is_empty() => {
                    format!("argument `{name}` must be {}, not {}", self.expected, mismatch.got)
                }
                None => format!(
                    "argument `{name}` must be {}, but there is {}{whole}",
                    self.expected, mismatch.got
                ),
            };
            Refusal { expected: self.expected.clone(), ..Refusal::new(message).about(name) }
        })
    }

    fn missing(&self) -> Refusal {
        Refusal {
            expected: self.expected.clone(),
            ..Refusal::new(format!("missing argument `{}`", self.text)).about(&self.text)
        }
    }
}

fn arguments(count: usize) -> String {
    match count {
        0 => "no arguments".to_owned(),
        1 => "one argument".to_owned(),
        count => format!("{count} arguments"),
    }
}
