//! Owns programs that come as packages of the Python index and are kept in directories of their
//! own: no environment of the user is touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::{self, RunError};
use crate::interpreter::Interpreter;

/// A tool of 40 MB over a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
const VENV_LIMIT: Duration = Duration::from_secs(120);

/// A tool could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The interpreter can neither run pip nor make an environment that has it.
    #[error("{} has no pip and cannot make an environment with one: install pip for it, or the package python3-venv; it said: {output}", .python.display())]
    NoPip {
        /// The interpreter.
        python: PathBuf,
        /// The last of what it printed.
        output: String,
    },
    /// pip ended with an error.
    #[error(
        "pip could not install {requirement}: check the connection to the package index and run it again; pip said: {output}"
    )]
    Pip {
        /// What was to be installed.
        requirement: String,
        /// The last of what it printed.
        output: String,
    },
    /// The package holds no program of its name.
    #[error("the package {requirement} holds no program bin/{name}: name another version")]
    NoProgram {
        /// The package and version.
        requirement: String,
        /// The program that is missing.
        name: String,
    },
    /// The directory for tools cannot be used.
    #[error("the tool directory {} cannot be written: free the disk or name another cache with SNAKEPIT_CACHE_DIR", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Makes sure that `tools/<name>-<version>/bin/<name>` exists and returns its path; quick when it
/// does.
///
/// # Errors
/// If pip is missing or cannot install it, or the directory cannot be written.
pub fn pip_tool(
    python: &Interpreter,
    name: &str,
    version: &str,
    tools: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, ToolError> {
    let requirement = format!("{name}=={version}");
    let home = tools.join(format!("{name}-{version}"));
    let program = home.join("bin").join(name);
    if program.exists() {
        return Ok(program);
    }
    progress(&format!("installing {requirement}"));
    let in_dir = |source| ToolError::Directory { path: tools.to_owned(), source };
    fs::create_dir_all(tools).map_err(in_dir)?;
    let stage = tempfile::Builder::new().prefix(".install-").tempdir_in(tools).map_err(in_dir)?;
    pip_install(python, &requirement, &stage.path().join("tool"), stage.path())?;
    if !stage.path().join("tool").join("bin").join(name).exists() {
        return Err(ToolError::NoProgram { requirement, name: name.to_owned() });
    }
    match fs::rename(stage.path().join("tool"), &home) {
        // Somebody else was quicker.
        Err(_) if program.exists() => Ok(program),
        renamed => renamed.map(|()| program).map_err(in_dir),
    }
}

/// Installs one package without its dependencies into the folder `target`.
pub(crate) fn pip_install(
    python: &Interpreter,
    requirement: &str,
    target: &Path,
    scratch: &Path,
) -> Result<(), ToolError> {
    let pip = python_with_pip(python, scratch)?;
    let mut command = Command::new(pip);
    command
        .args(["-m", "pip", "install", "--no-deps", "--no-input", "--disable-pip-version-check"])
        .args(["--only-binary", ":all:", "--target"])
        .arg(target)
        .arg(requirement);
    let failed = |output| ToolError::Pip { requirement: requirement.to_owned(), output };
    let finished = child::run(command, INSTALL_LIMIT).map_err(|error| failed(error.to_string()))?;
    if finished.status.success() { Ok(()) } else { Err(failed(finished.tail())) }
}

/// The interpreter itself, the one its environment was made from, or an environment made for the
/// purpose, whichever has pip.
fn python_with_pip(python: &Interpreter, scratch: &Path) -> Result<PathBuf, ToolError> {
    for candidate in [&python.executable, &python.base_executable] {
        let mut command = Command::new(candidate);
        command.args(["-m", "pip", "--version"]);
        if child::run(command, VENV_LIMIT).is_ok_and(|finished| finished.status.success()) {
            return Ok(candidate.clone());
        }
    }
    let environment = scratch.join("pip");
    let mut command = Command::new(&python.base_executable);
    command.args(["-m", "venv"]).arg(&environment);
    let no_pip = |output| ToolError::NoPip { python: python.executable.clone(), output };
    match child::run(command, VENV_LIMIT) {
        Ok(finished) if finished.status.success() => Ok(environment.join("bin").join("python")),
        Ok(finished) => Err(no_pip(finished.tail())),
        Err(error @ (RunError::Launch(_) | RunError::TimedOut(_))) => {
            Err(no_pip(error.to_string()))
        }
    }
}
