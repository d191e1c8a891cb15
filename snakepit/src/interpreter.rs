//! Which Python a pool runs on, and where that finds the worker package. Owns the order of places
//! and the errors; detecting and installing are the compat crate's.

use std::path::{Path, PathBuf};

use snakepit_compat::{FindError, Interpreter, Origin, ProbeError, Search, WorkerPackage};
use snakepit_config::{PoolConfig, Profile};
use snakepit_core::{Error, ErrorKind};

/// An interpreter that can run workers, as far as can be known without starting one.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) interpreter: Interpreter,
    /// The directory to put on the workers' `sys.path`; `None` when they find the package anyway.
    pub(crate) package: Option<PathBuf>,
}

/// Finds the interpreter of a pool and the worker package for it. Runs the interpreter, so it takes
/// a while.
pub(crate) fn resolve(config: &PoolConfig) -> Result<Resolved, Error> {
    let mut search = Search::from_env();
    if let Some(python) = config.python() {
        search = search.explicit(python);
    }
    if config.python().is_none() && matches!(config.profile(), Profile::Thread { .. }) {
        match search.find_free_threaded() {
            Ok(interpreter) => {
                let without = match package(config, &interpreter) {
                    Ok(package) => return Ok(Resolved { interpreter, package }),
                    Err(error) => error,
                };
                // An ordinary one may do; the pool's policy judges that.
                let (pool, help) = (config.name(), without.help());
                tracing::warn!(pool, error = %without, help, "a free-threaded Python is not used");
            }
            Err(error @ FindError::Nowhere { .. }) => tracing::debug!(%error),
            Err(error) => return Err(not_found(&error)),
        }
    }
    let interpreter = search.find_default().map_err(|error| not_found(&error))?;
    let package = package(config, &interpreter)?;
    Ok(Resolved { interpreter, package })
}

fn package(config: &PoolConfig, interpreter: &Interpreter) -> Result<Option<PathBuf>, Error> {
    if let Some(directory) = config.worker_package() {
        return named(directory).map(Some);
    }
    match WorkerPackage::find(interpreter) {
        // Its own packages come by themselves, and after the standard library.
        Some(package) if package.origin == Origin::Interpreter => Ok(None),
        Some(package) if package.origin == Origin::Variable => named(&package.path).map(Some),
        Some(package) if package.serves(&snakepit_proto::contract()) => Ok(Some(package.path)),
        Some(package) => {
            let message =
                format!("the worker package in {} is out of date", package.path.display());
            Err(Error::new(ErrorKind::VersionMismatch, message).with_help(remedy(interpreter)))
        }
        // Of another version: only what it says itself tells whether it serves.
        None if interpreter.worker_package.is_some() => Ok(None),
        None => {
            let message = format!("{interpreter} has no worker package");
            Err(Error::new(ErrorKind::WorkerPackageMissing, message).with_help(remedy(interpreter)))
        }
    }
}

fn named(directory: &Path) -> Result<PathBuf, Error> {
    if directory.join("snakepit").is_dir() {
        return Ok(directory.to_owned());
    }
    let message = format!("there is no worker package in {}", directory.display());
    Err(Error::new(ErrorKind::WorkerPackageMissing, message)
        .with_help("name the directory that holds the folder `snakepit`"))
}

fn remedy(interpreter: &Interpreter) -> String {
    format!("install it with `snakepit setup --python {}`", interpreter.executable.display())
}

fn not_found(error: &FindError) -> Error {
    let kind = match error {
        FindError::Named {
            source: ProbeError::NotFound(_) | ProbeError::NotExecutable(_), ..
        }
        | FindError::Nowhere { .. } => ErrorKind::InterpreterNotFound,
        _ => ErrorKind::InterpreterUnsupported,
    };
    Error::new(kind, chain(error)).with_help(
        "name CPython 3.11 or later with the pool's `python` setting, `--python` or SNAKEPIT_PYTHON",
    )
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
