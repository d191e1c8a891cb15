//! The command line of a worker, and of a zygote.
//!
//! Owns the options' names. It is read here, as a forked worker reads it too: Python code for it
//! would write to dozens of pages that the worker shares with its zygote.

use std::str::FromStr;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// What a worker is told when it is started.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct Options {
    pub(crate) worker_id: String,
    pub(crate) pool: String,
    #[pyo3(get)]
    adapter: String,
    /// JSON text.
    #[pyo3(get)]
    adapter_args: Option<String>,
    pub(crate) link_fd: i32,
    #[pyo3(get)]
    pub(crate) liveness_fd: i32,
    pub(crate) control_fd: i32,
    /// Without it everything travels over the link.
    pub(crate) shm_fd: Option<i32>,
    #[pyo3(get)]
    pub(crate) capacity: usize,
}

#[pymethods]
impl Options {
    #[new]
    fn new(arguments: Vec<String>) -> PyResult<Self> {
        Self::parse(&arguments).map_err(PyValueError::new_err)
    }
}

impl Options {
    /// # Errors
    /// What is wrong, for people.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let required =
            ["--worker-id", "--pool", "--adapter", "--link-fd", "--liveness-fd", "--control-fd"];
        let given =
            Given::read(arguments, &required, &["--adapter-args", "--shm-fd", "--capacity"])?;
        Ok(Self {
            worker_id: given.text("--worker-id").to_owned(),
            pool: given.text("--pool").to_owned(),
            adapter: given.text("--adapter").to_owned(),
            adapter_args: given.find("--adapter-args").map(str::to_owned),
            link_fd: given.number("--link-fd")?,
            liveness_fd: given.number("--liveness-fd")?,
            control_fd: given.number("--control-fd")?,
            shm_fd: given.find("--shm-fd").map(|_| given.number("--shm-fd")).transpose()?,
            capacity: given.find("--capacity").map_or(Ok(1), |_| given.number("--capacity"))?,
        })
    }
}

/// Options and their values, all of them known and the required ones there.
pub(crate) struct Given<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Given<'a> {
    /// # Errors
    /// What is wrong, for people.
    pub(crate) fn read(
        arguments: &'a [String],
        required: &[&str],
        optional: &[&str],
    ) -> Result<Self, String> {
        let mut given = Vec::with_capacity(arguments.len() / 2);
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            if ![required, optional].iter().any(|known| known.contains(&&**name)) {
                return Err(format!("unknown option {name}"));
            }
            let value = rest.next().ok_or_else(|| format!("{name} has no value"))?;
            given.push((&**name, &**value));
        }
        let given = Self(given);
        let missing: Vec<_> =
            required.iter().copied().filter(|name| given.find(name).is_none()).collect();
        if missing.is_empty() { Ok(given) } else { Err(format!("missing {}", missing.join(", "))) }
    }

    /// The last value counts, as with other programs.
    fn find(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    /// The value of an option that is required.
    pub(crate) fn text(&self, name: &str) -> &'a str {
        self.find(name).unwrap_or_default()
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<T, String> {
        let text = self.text(name);
        text.parse().map_err(|_| format!("{name} {text}: not a number"))
    }
}
