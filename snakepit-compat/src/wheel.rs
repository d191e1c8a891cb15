//! Owns what happens to wheels of the worker package: building one from the source tree, choosing
//! the one that fits an interpreter, unpacking it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child;
use crate::fingerprint::Fingerprint;
use crate::interpreter::Interpreter;
use crate::{WORKER_FILE_STEM, WORKER_VERSION};

/// An optimised build from nothing takes three minutes on two cores here.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);
/// A compiler error with its notes is long, and often there are several.
const ERROR_LINES: usize = 120;
const UNPACK_LIMIT: Duration = Duration::from_secs(120);
/// What the worker package is built from, beside the lock file: seen from the workspace's root.
const SOURCES: [&str; 5] = ["python/rust", "python/src", "proto", "snakepit-shm/src", ".cargo"];
const SOURCE_FILES: [&str; 5] = [
    "Cargo.toml",
    "Cargo.lock",
    "python/Cargo.toml",
    "python/pyproject.toml",
    "snakepit-shm/Cargo.toml",
];

/// One build of the worker package.
#[derive(Debug, Clone)]
pub struct WheelBuild<'a> {
    /// The `python/` folder of a Snakepit source tree.
    pub tree: &'a Path,
    /// The interpreter to build for.
    pub interpreter: &'a Interpreter,
    /// The `maturin` program.
    pub maturin: &'a Path,
    /// Cargo's target directory. Builds for all interpreters share it: what depends on PyO3 differs
    /// by its features, and the rest is compiled once.
    pub target_dir: &'a Path,
    /// Where the wheel goes.
    pub out: &'a Path,
}

/// The worker package could not be built from source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The folder is not the worker package's source.
    #[error("{} is not the worker package's source tree: name the folder python/ of a complete Snakepit checkout", .path.display())]
    NoSource {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The build ended with an error.
    #[error(
        "maturin could not build the worker package for {python}: a Rust toolchain and a C compiler are needed; it said:\n{output}"
    )]
    Failed {
        /// The interpreter's path.
        python: String,
        /// The last of what was printed.
        output: String,
    },
    /// The build succeeded but no wheel for the interpreter is there.
    #[error("maturin left no wheel for {abi} in {}: report this with the versions of maturin and Python", .out.display())]
    NoWheel {
        /// The ABI that was wanted.
        abi: String,
        /// Where it was looked for.
        out: PathBuf,
    },
}

impl WheelBuild<'_> {
    /// Builds the wheel and returns its path.
    ///
    /// # Errors
    /// If the tree is incomplete or the build fails.
    pub fn run(&self) -> Result<PathBuf, BuildError> {
        let mut command = Command::new(self.maturin);
        command
            .args(["build", "--profile", "wheel", "--auditwheel", "skip", "--manifest-path"])
            .arg(self.tree.join("Cargo.toml"))
            .arg("--interpreter")
            .arg(&self.interpreter.executable)
            .arg("--out")
            .arg(self.out)
            .env("CARGO_TARGET_DIR", self.target_dir)
            // Ours or the caller's flags would rebuild everything for each change of them.
            .env_remove("RUSTFLAGS");
        if self.interpreter.free_threaded {
            // The default feature is abi3, which free-threaded interpreters do not have.
            command.arg("--no-default-features");
        }
        let failed = |output| BuildError::Failed {
            python: self.interpreter.executable.display().to_string(),
            output,
        };
        let finished =
            child::run(command, BUILD_LIMIT).map_err(|error| failed(error.to_string()))?;
        if !finished.status.success() {
            return Err(failed(finished.last_lines(ERROR_LINES)));
        }
        choose(self.out, self.interpreter).ok_or_else(|| BuildError::NoWheel {
            abi: self.interpreter.wheel_abi(),
            out: self.out.to_owned(),
        })
    }
}

/// The fingerprint of everything a worker package built from `tree` depends on.
///
/// # Errors
/// If a part of the source tree cannot be read.
pub fn source_fingerprint(tree: &Path) -> Result<String, BuildError> {
    let no_source = |source| BuildError::NoSource { path: tree.to_owned(), source };
    let root = tree.join("..").canonicalize().map_err(no_source)?;
    let mut fingerprint = Fingerprint::new();
    for file in SOURCE_FILES {
        fingerprint = fingerprint.with_file(&root.join(file)).map_err(no_source)?;
    }
    for folder in SOURCES {
        let folder = root.join(folder);
        if folder.is_dir() {
            fingerprint = fingerprint.with_tree(&folder, &is_source).map_err(no_source)?;
        }
    }
    Ok(fingerprint.hex())
}

/// The newest worker wheel in a folder that fits an interpreter.
pub(crate) fn choose(dir: &Path, interpreter: &Interpreter) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let fitting = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| fits(name, interpreter)));
    fitting
        .max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok())
        .map(|entry| entry.path())
}

/// Whether a wheel's name says that it is the worker package for this interpreter. The platform tag
/// is judged by system and processor only: that the C library is new enough shows when the
/// installed package is imported.
pub(crate) fn fits(name: &str, interpreter: &Interpreter) -> bool {
    let parts: Vec<&str> = match name.strip_suffix(".whl") {
        Some(stem) => stem.split('-').collect(),
        None => return false,
    };
    let [package, version, _python, abi, platform] = parts.as_slice() else {
        return false;
    };
    let (system, processor) = interpreter
        .platform
        .split_once('-')
        .map(|(system, rest)| (system, rest.rsplit('-').next().unwrap_or(rest)))
        .unwrap_or((interpreter.platform.as_str(), ""));
    *package == WORKER_FILE_STEM
        && *version == WORKER_VERSION
        && *abi == interpreter.wheel_abi()
        && platform.contains(system)
        && platform.ends_with(processor)
}

/// Unpacks a wheel with the interpreter's own `zipfile`: a wheel is a zip archive.
pub(crate) fn unpack(wheel: &Path, interpreter: &Interpreter, into: &Path) -> Result<(), String> {
    let mut command = Command::new(&interpreter.executable);
    command.args(["-I", "-m", "zipfile", "-e"]).arg(wheel).arg(into);
    let finished = child::run(command, UNPACK_LIMIT).map_err(|error| error.to_string())?;
    if finished.status.success() { Ok(()) } else { Err(finished.tail()) }
}

fn is_source(name: &str) -> bool {
    name != "__pycache__" && !name.ends_with(".so") && !name.ends_with(".pyc")
}
