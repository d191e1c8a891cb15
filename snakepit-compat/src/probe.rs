//! Owns the one question put to an interpreter and the judgement of the answer. Looks for nothing:
//! the caller names the program.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::child::{self, Finished, RunError};
use crate::interpreter::{Interpreter, Version};

/// An interpreter answers in 20 to 100 ms; behind a version manager's shim on a loaded machine it
/// was seen to take two seconds.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
const SCRIPT: &str = include_str!("probe.py");
const MARK: &str = "snakepit-probe:";

/// Why a program cannot serve as an interpreter, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// There is no such file, or no such name on `PATH`.
    #[error("`{0}` was not found: install it, or name an interpreter by its full path")]
    NotFound(String),
    /// The file is there but may not be run.
    #[error("{} is not an executable file: name the interpreter itself, such as bin/python in its folder", .0.display())]
    NotExecutable(PathBuf),
    /// The operating system refused to run it.
    #[error("{} could not be started: reinstall it or name another interpreter", .path.display())]
    Launch {
        /// The program.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It did not answer in time and was killed.
    #[error("{} did not answer within {} s and was killed: run it by hand to see what it waits for, or name another interpreter", .path.display(), .limit.as_secs())]
    TimedOut {
        /// The program.
        path: PathBuf,
        /// How long it was given.
        limit: Duration,
    },
    /// It was ended by a signal.
    #[error("{} was ended by signal {signal} while answering: reinstall it or name another interpreter", .path.display())]
    Crashed {
        /// The program.
        path: PathBuf,
        /// The signal's number.
        signal: i32,
    },
    /// It ran but did not answer as a Python interpreter does.
    #[error("{} did not answer like a Python interpreter: name one that is CPython 3.11 or later; it printed: {output}", .path.display())]
    NotPython {
        /// The program.
        path: PathBuf,
        /// The last of what it printed.
        output: String,
    },
    /// It is Python, but not CPython.
    #[error("{} is {implementation}, which cannot load the worker package: use CPython 3.11 or later", .path.display())]
    UnsupportedImplementation {
        /// The program.
        path: PathBuf,
        /// The implementation's name.
        implementation: String,
    },
    /// It is older than the floor.
    #[error("{} is Python {version}, which is too old: use CPython 3.11 or later", .path.display())]
    UnsupportedVersion {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
    /// It is a free-threaded build from before free threading was settled.
    #[error("{} is free-threaded Python {version}, which is not supported: use free-threaded 3.14 (python3.14t) or later, or an ordinary build of this version", .path.display())]
    UnsupportedFreeThreading {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
}

#[derive(Deserialize)]
struct Answer {
    version: (u32, u32, u32),
    implementation: String,
    executable: Option<PathBuf>,
    base_executable: Option<PathBuf>,
    prefix: PathBuf,
    base_prefix: PathBuf,
    free_threaded: bool,
    gil_enabled: bool,
    soabi: Option<String>,
    platform: String,
    worker_package: Option<PathBuf>,
}

pub(crate) fn probe(path_or_name: &OsStr) -> Result<Interpreter, ProbeError> {
    if path_or_name.as_bytes().contains(&b'/') {
        return probe_path(Path::new(path_or_name));
    }
    let on_path = env::var_os("PATH").unwrap_or_default();
    let found = on_search_path(path_or_name, &on_path).next();
    let path =
        found.ok_or_else(|| ProbeError::NotFound(path_or_name.to_string_lossy().into_owned()))?;
    probe_path(&path)
}

/// Every executable called `name` on a `PATH`, in order.
pub(crate) fn on_search_path(name: &OsStr, path: &OsStr) -> impl Iterator<Item = PathBuf> {
    env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .filter(|file| is_executable(file))
        .collect::<Vec<_>>()
        .into_iter()
}

pub(crate) fn probe_path(path: &Path) -> Result<Interpreter, ProbeError> {
    if !path.exists() {
        return Err(ProbeError::NotFound(path.display().to_string()));
    }
    if !is_executable(path) {
        return Err(ProbeError::NotExecutable(path.to_owned()));
    }
    let mut command = Command::new(path);
    command.args(["-c", SCRIPT]);
    let finished = child::run(command, PROBE_LIMIT).map_err(|error| match error {
        RunError::Launch(source) => ProbeError::Launch { path: path.to_owned(), source },
        RunError::TimedOut(limit) => ProbeError::TimedOut { path: path.to_owned(), limit },
    })?;
    judge(path, &finished)
}

fn judge(path: &Path, finished: &Finished) -> Result<Interpreter, ProbeError> {
    if let Some(signal) = finished.status.signal() {
        return Err(ProbeError::Crashed { path: path.to_owned(), signal });
    }
    let answer = finished
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix(MARK))
        .and_then(|json| serde_json::from_str::<Answer>(json).ok())
        .ok_or_else(|| ProbeError::NotPython {
            path: path.to_owned(),
            output: shorten(&finished.tail()),
        })?;
    let (major, minor, micro) = answer.version;
    let version = Version { major, minor, micro };
    let path_owned = || path.to_owned();
    if answer.implementation != "cpython" {
        return Err(ProbeError::UnsupportedImplementation {
            path: path_owned(),
            implementation: answer.implementation,
        });
    }
    if (major, minor) < (3, 11) {
        return Err(ProbeError::UnsupportedVersion { path: path_owned(), version });
    }
    if answer.free_threaded && (major, minor) < (3, 14) {
        return Err(ProbeError::UnsupportedFreeThreading { path: path_owned(), version });
    }
    let executable = answer.executable.unwrap_or_else(path_owned);
    Ok(Interpreter {
        base_executable: answer.base_executable.unwrap_or_else(|| executable.clone()),
        executable,
        version,
        implementation: answer.implementation,
        prefix: answer.prefix,
        base_prefix: answer.base_prefix,
        free_threaded: answer.free_threaded,
        gil_enabled: answer.gil_enabled,
        soabi: answer.soabi,
        platform: answer.platform,
        // The package's folder is `snakepit`; what a search path wants is the one that holds it.
        worker_package: answer
            .worker_package
            .and_then(|package| package.parent().map(Path::to_owned)),
    })
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn shorten(text: &str) -> String {
    if text.is_empty() {
        return "nothing".to_owned();
    }
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
