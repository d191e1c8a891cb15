//! Owns where interpreters are looked for and in which order. Judging one is `probe`'s business,
//! making one available is `provide`'s.
//!
//! Invariant: an interpreter that somebody named is used or is an error; only unnamed places are
//! passed over.

mod provide;
#[cfg(test)]
mod tests;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::interpreter::Interpreter;
use crate::managed;
use crate::probe::{self, ProbeError};

const DEFAULT_NAMES: [&str; 5] =
    ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];
const FREE_THREADED_NAMES: [&str; 2] = ["python3.15t", "python3.14t"];

/// Named too when all are listed; the versions among them that are not supported are refused.
const OTHER_NAMES: [&str; 4] = ["python3.15", "python3.13t", "python3.10", "python"];
/// Where to look for an interpreter.
#[derive(Debug, Clone, Default)]
pub struct Search {
    explicit: Option<OsString>,
    default_variable: Option<OsString>,
    free_threaded_variable: Option<OsString>,
    virtual_env: Option<PathBuf>,
    path: OsString,
    cache: Option<Cache>,
    archives: Option<PathBuf>,
    uv: Option<PathBuf>,
}

/// One place that was looked at in vain.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// What was looked at.
    pub place: String,
    /// Why it did not serve.
    pub outcome: String,
}

/// One interpreter that was found, or what looked like one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// Where it was found.
    pub place: String,
    /// The program that was asked.
    pub path: PathBuf,
    /// What it is, or why it does not serve.
    pub outcome: Result<Interpreter, ProbeError>,
}

/// No interpreter could be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// An interpreter that was named does not serve.
    #[error("the interpreter named by {origin} does not serve")]
    Named {
        /// Who named it.
        origin: &'static str,
        /// What is wrong with it.
        source: ProbeError,
    },
    /// An interpreter that was named is not a free-threaded build.
    #[error(
        "the interpreter named by {origin} is not free-threaded: {interpreter}; name a python3.14t or later"
    )]
    NotFreeThreaded {
        /// Who named it.
        origin: &'static str,
        /// What it is.
        interpreter: Box<Interpreter>,
    },
    /// None of the usual places has one.
    #[error("no {wanted} was found: {remedy}{}", list(.attempts))]
    Nowhere {
        /// What was looked for.
        wanted: &'static str,
        /// What to do.
        remedy: &'static str,
        /// Where it was looked for.
        attempts: Vec<Attempt>,
    },
}

impl Search {
    /// The places that this process's environment names.
    pub fn from_env() -> Self {
        let var = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self {
            explicit: None,
            default_variable: var("SNAKEPIT_PYTHON"),
            free_threaded_variable: var("SNAKEPIT_PYTHON_FREE_THREADED"),
            virtual_env: var("VIRTUAL_ENV").map(PathBuf::from),
            path: var("PATH").unwrap_or_default(),
            cache: Cache::from_env().ok(),
            archives: var("SNAKEPIT_PYTHON_ARCHIVES").map(PathBuf::from),
            uv: None,
        }
    }

    /// Names the interpreter to use, by path or by name; nothing else is then looked at.
    #[must_use]
    pub fn explicit(mut self, path_or_name: impl Into<OsString>) -> Self {
        self.explicit = Some(path_or_name.into());
        self
    }

    /// Looks for managed interpreters here instead of in the user's cache.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Takes interpreter archives from this directory.
    #[must_use]
    pub fn archives(mut self, dir: impl Into<PathBuf>) -> Self {
        self.archives = Some(dir.into());
        self
    }

    /// Uses this `uv` instead of the one on `PATH`.
    #[must_use]
    pub fn uv(mut self, uv: impl Into<PathBuf>) -> Self {
        self.uv = Some(uv.into());
        self
    }

    /// Finds the interpreter to use when nothing is said about threads: the explicit one,
    /// `SNAKEPIT_PYTHON`, the active virtual environment, then `PATH`.
    ///
    /// # Errors
    /// If the one that was named does not serve, or none was named and none was found.
    pub fn find_default(&self) -> Result<Interpreter, FindError> {
        if let Some((origin, name)) = self.named(&self.default_variable, "SNAKEPIT_PYTHON") {
            return self.probe_named(origin, name);
        }
        if let Some(environment) = &self.virtual_env {
            let python = environment.join("bin").join("python");
            return self.probe_named("the active virtual environment", python.as_os_str());
        }
        let mut attempts = Vec::new();
        self.first_on_path(&DEFAULT_NAMES, &mut attempts).ok_or(FindError::Nowhere {
            wanted: "CPython 3.11 or later",
            remedy: "install one, or name it with SNAKEPIT_PYTHON",
            attempts,
        })
    }

    /// Every interpreter that this machine's usual places have, each once, with what it is or why it
    /// does not serve: those that are named, those on `PATH`, and managed copies.
    pub fn find_all(&self) -> Vec<Candidate> {
        let mut places: Vec<(String, PathBuf)> = Vec::new();
        let named = [
            ("its path", &self.explicit),
            ("SNAKEPIT_PYTHON", &self.default_variable),
            ("SNAKEPIT_PYTHON_FREE_THREADED", &self.free_threaded_variable),
        ];
        for (origin, name) in named {
            places.extend(name.as_ref().map(|name| (origin.to_owned(), PathBuf::from(name))));
        }
        if let Some(environment) = &self.virtual_env {
            let python = environment.join("bin").join("python");
            places.push(("the active virtual environment".to_owned(), python));
        }
        for name in DEFAULT_NAMES.iter().chain(&FREE_THREADED_NAMES).chain(&OTHER_NAMES) {
            let found = probe::on_search_path(name.as_ref(), &self.path);
            places.extend(found.map(|path| (format!("{name} on PATH"), path)));
        }
        let managed = self.cache.iter().flat_map(managed::installed);
        places.extend(managed.map(|path| ("a managed copy".to_owned(), path)));

        let mut found: Vec<Candidate> = Vec::new();
        for (place, path) in places {
            let outcome = self.probe_name(path.as_os_str());
            let known = found.iter().any(|known| match (&known.outcome, &outcome) {
                (Ok(known), Ok(new)) => same(known, new),
                _ => known.path == path,
            });
            if !known {
                found.push(Candidate { place, path, outcome });
            }
        }
        found
    }

    /// Finds a free-threaded interpreter that is already on this machine: the explicit one,
    /// `SNAKEPIT_PYTHON_FREE_THREADED`, `PATH`, then a managed copy.
    ///
    /// # Errors
    /// If the one that was named does not serve, or none was named and none was found.
    pub fn find_free_threaded(&self) -> Result<Interpreter, FindError> {
        self.present_free_threaded()?.map_err(nowhere_free_threaded)
    }

    /// The outer error is about a named interpreter, the inner one lists places searched in vain.
    fn present_free_threaded(&self) -> Result<Result<Interpreter, Vec<Attempt>>, FindError> {
        let variable = "SNAKEPIT_PYTHON_FREE_THREADED";
        if let Some((origin, name)) = self.named(&self.free_threaded_variable, variable) {
            let interpreter = self.probe_named(origin, name)?;
            if !interpreter.free_threaded {
                let interpreter = Box::new(interpreter);
                return Err(FindError::NotFreeThreaded { origin, interpreter });
            }
            return Ok(Ok(interpreter));
        }
        let mut attempts = Vec::new();
        if let Some(found) = self.first_on_path(&FREE_THREADED_NAMES, &mut attempts) {
            return Ok(Ok(found));
        }
        for python in self.cache.iter().flat_map(managed::installed) {
            match probe::probe_path(&python) {
                Ok(interpreter) if interpreter.free_threaded => return Ok(Ok(interpreter)),
                Ok(_) => {}
                Err(error) => attempts.push(Attempt {
                    place: format!("the managed copy {}", python.display()),
                    outcome: error.to_string(),
                }),
            }
        }
        Ok(Err(attempts))
    }

    fn named<'a>(
        &'a self,
        variable: &'a Option<OsString>,
        variable_name: &'static str,
    ) -> Option<(&'static str, &'a OsStr)> {
        let explicit = self.explicit.as_deref().map(|name| ("its path", name));
        explicit.or_else(|| variable.as_deref().map(|name| (variable_name, name)))
    }

    fn probe_named(&self, origin: &'static str, name: &OsStr) -> Result<Interpreter, FindError> {
        self.probe_name(name).map_err(|source| FindError::Named { origin, source })
    }

    fn probe_name(&self, name: &OsStr) -> Result<Interpreter, ProbeError> {
        let path = if Path::new(name).components().count() > 1 {
            Ok(PathBuf::from(name))
        } else {
            let found = probe::on_search_path(name, &self.path).next();
            found.ok_or_else(|| ProbeError::NotFound(name.to_string_lossy().into_owned()))
        };
        path.and_then(|path| probe::probe_path(&path))
    }

    /// Tries every executable of each name, not only the first: a version manager's shim for a
    /// version that is not selected fails and hides a good one further down.
    fn first_on_path(&self, names: &[&str], attempts: &mut Vec<Attempt>) -> Option<Interpreter> {
        for name in names {
            let before = attempts.len();
            for candidate in probe::on_search_path(name.as_ref(), &self.path) {
                match probe::probe_path(&candidate) {
                    Ok(interpreter) => return Some(interpreter),
                    Err(error) => attempts.push(Attempt {
                        place: format!("{name} on PATH"),
                        outcome: error.to_string(),
                    }),
                }
            }
            if attempts.len() == before {
                attempts.push(Attempt {
                    place: format!("{name} on PATH"),
                    outcome: "not there".to_owned(),
                });
            }
        }
        None
    }
}

/// One interpreter has many names, and a shim's answer is that of the real one. Environments are
/// different, though their executables are links to the same.
fn same(a: &Interpreter, b: &Interpreter) -> bool {
    let real = |one: &Interpreter| one.executable.canonicalize().ok();
    a.executable == b.executable
        || (a.prefix == b.prefix && real(a).is_some_and(|own| Some(own) == real(b)))
}

fn nowhere_free_threaded(attempts: Vec<Attempt>) -> FindError {
    FindError::Nowhere {
        wanted: "free-threaded CPython 3.14 or later",
        remedy: "install a free-threaded 3.14 and name it with SNAKEPIT_PYTHON_FREE_THREADED, or \
                 put CPython's source (Python-3.14.*.tar.xz) into a directory and name that with \
                 SNAKEPIT_PYTHON_ARCHIVES",
        attempts,
    }
}

fn list(attempts: &[Attempt]) -> String {
    attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.outcome)
    }
}
