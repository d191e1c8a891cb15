//! Owns the one function behind `snakepit setup`: find the interpreter, install the worker package
//! for it, report. Knows nothing that its parts do not do.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use crate::WORKER_VERSION;
use crate::cache::{Cache, NoCacheDir};
use crate::install::{InstallError, Source};
use crate::interpreter::Interpreter;
use crate::search::{FindError, Search};
use crate::worker_package::WorkerPackage;

/// What to set up. The default is what `snakepit setup` without arguments does.
#[derive(Debug, Clone, Default)]
pub struct SetupOptions {
    /// The interpreter, by path or name; looked for where users expect it otherwise.
    pub python: Option<OsString>,
    /// Whether to set up a free-threaded interpreter, and provide one if there is none.
    pub free_threaded: bool,
    /// Where the worker package comes from; see [`Source::from_env`] for the default.
    pub source: Option<Source>,
    /// The `maturin` to build with; a pinned one is installed privately otherwise.
    pub maturin: Option<PathBuf>,
    /// The `uv` to provide an interpreter with; the one on `PATH` otherwise.
    pub uv: Option<PathBuf>,
}

/// What was set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SetupReport {
    /// The interpreter.
    pub interpreter: Interpreter,
    /// The worker package's version.
    pub version: String,
    /// The ABI it was installed for.
    pub abi: String,
    /// The folder that holds it.
    pub package: PathBuf,
    /// The contract it was built from, where it says so.
    pub contract: Option<String>,
    /// Whether anything had to be done.
    pub changed: bool,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// The worker package could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// There is no interpreter.
    #[error(transparent)]
    Find(#[from] FindError),
    /// There is no place for it.
    #[error(transparent)]
    Cache(#[from] NoCacheDir),
    /// It could not be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
}

/// Installs the worker package for one interpreter into the user's cache; `progress` is told each
/// step that takes time.
///
/// # Errors
/// If there is no interpreter, or nothing to install for it.
///
/// # Examples
/// ```no_run
/// use snakepit_compat::{SetupOptions, setup};
///
/// let report = setup(&SetupOptions::default(), &mut |step| eprintln!("{step}"))?;
/// println!("{} is ready in {}", report.interpreter, report.package.display());
/// # Ok::<(), snakepit_compat::SetupError>(())
/// ```
pub fn setup(
    options: &SetupOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<SetupReport, SetupError> {
    let started = Instant::now();
    let cache = Cache::from_env()?;
    let mut search = Search::from_env();
    if let Some(python) = &options.python {
        search = search.explicit(python);
    }
    if let Some(uv) = &options.uv {
        search = search.uv(uv);
    }
    let interpreter = if options.free_threaded {
        search.provide_free_threaded(progress)?
    } else {
        search.find_default()?
    };
    let source = options.source.clone().unwrap_or_else(Source::from_env);
    let (package, changed) = WorkerPackage::install(
        &interpreter,
        &source,
        options.maturin.as_deref(),
        &cache,
        progress,
    )?;
    Ok(SetupReport {
        version: WORKER_VERSION.to_owned(),
        abi: interpreter.wheel_abi(),
        package: package.path,
        contract: package.contract,
        changed,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        interpreter,
    })
}
