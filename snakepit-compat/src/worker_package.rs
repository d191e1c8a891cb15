//! Owns where the worker package for an interpreter is found, and the shape of the cache entry that
//! holds one. Making an entry is `install`'s business.
//!
//! Invariant: `worker/<version>/<abi>` is a link that points to a complete entry or is not there.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::interpreter::Interpreter;
use crate::wheel;
use crate::{WORKER_FILE_STEM, WORKER_VERSION};

const RECORD: &str = "snakepit-worker.json";

/// The worker package that belongs to an interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerPackage {
    /// The folder to put on `sys.path`: it contains `snakepit/`.
    pub path: PathBuf,
    /// Who provides it.
    pub origin: Origin,
    /// The contract it was built from, where that was recorded.
    pub contract: Option<String>,
}

/// Who provides a worker package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// `SNAKEPIT_WORKER_PACKAGE` names it.
    Variable,
    /// The interpreter has it installed itself, in the version that belongs to this crate.
    Interpreter,
    /// `setup` put it into the user's cache.
    Cache,
}

/// What is written down beside an installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: String,
    pub(crate) abi: String,
    /// Of what it was made from.
    pub(crate) fingerprint: String,
    /// The source tree it was built from: when that has changed, the entry is out of date.
    pub(crate) tree: Option<PathBuf>,
    pub(crate) contract: Option<String>,
}

impl WorkerPackage {
    /// The folder to put on `sys.path` for this interpreter, if a worker package is there.
    pub fn locate(interpreter: &Interpreter) -> Option<PathBuf> {
        Self::find(interpreter).map(|package| package.path)
    }

    /// Finds the worker package: `SNAKEPIT_WORKER_PACKAGE`, the interpreter's own, the cache.
    ///
    /// A cache entry that was built from a source tree which has changed since is not used.
    pub fn find(interpreter: &Interpreter) -> Option<Self> {
        if let Some(path) = env::var_os("SNAKEPIT_WORKER_PACKAGE").filter(|path| !path.is_empty()) {
            return Some(Self { path: path.into(), origin: Origin::Variable, contract: None });
        }
        own(interpreter).or_else(|| Self::find_in(&Cache::from_env().ok()?, interpreter))
    }

    /// Finds the worker package in a cache only.
    pub fn find_in(cache: &Cache, interpreter: &Interpreter) -> Option<Self> {
        let (path, record) = entry(cache, &interpreter.wheel_abi())?;
        if let Some(tree) = &record.tree {
            // A tree that is gone cannot have changed.
            let now = wheel::source_fingerprint(tree).ok();
            if now.is_some_and(|now| now != record.fingerprint) {
                return None;
            }
        }
        Some(Self { path, origin: Origin::Cache, contract: record.contract })
    }

    /// Whether the package can serve a host of this contract: it says so, or says nothing.
    pub fn serves(&self, contract: &str) -> bool {
        self.contract.as_deref().is_none_or(|own| own == contract)
    }
}

/// A worker package installed for the interpreter itself, if it is of our version.
fn own(interpreter: &Interpreter) -> Option<WorkerPackage> {
    let path = interpreter.worker_package.clone()?;
    let metadata = path.join(format!("{WORKER_FILE_STEM}-{WORKER_VERSION}.dist-info"));
    metadata.is_dir().then_some(WorkerPackage { path, origin: Origin::Interpreter, contract: None })
}

/// The entry of one ABI, by its real path: a running worker keeps its files when the link moves on.
pub(crate) fn entry(cache: &Cache, abi: &str) -> Option<(PathBuf, Record)> {
    let path = cache.worker_packages(WORKER_VERSION).join(abi).canonicalize().ok()?;
    let record = fs::read(path.join(RECORD)).ok()?;
    let record: Record = serde_json::from_slice(&record).ok()?;
    let matches = record.version == WORKER_VERSION && record.abi == abi;
    (matches && path.join("snakepit").is_dir()).then_some((path, record))
}

/// Makes a staged folder the entry of its ABI, in one step, and returns its path.
pub(crate) fn publish(staged: &Path, record: &Record, cache: &Cache) -> io::Result<PathBuf> {
    fs::write(staged.join(RECORD), serde_json::to_vec_pretty(record)?)?;
    let versions = cache.worker_packages(&record.version);
    let name = format!("{}-{}", record.abi, record.fingerprint);
    let path = versions.join(&name);
    if path.exists() {
        // The same inputs gave an entry before; it was found wanting, or we would not be here.
        fs::remove_dir_all(&path)?;
    }
    fs::rename(staged, &path)?;

    let link = versions.join(&record.abi);
    let previous = fs::read_link(&link).ok();
    let fresh = versions.join(format!(".{name}"));
    if fresh.is_symlink() {
        fs::remove_file(&fresh)?;
    }
    std::os::unix::fs::symlink(&name, &fresh)?;
    fs::rename(&fresh, &link)?;
    remove_old(&versions, &record.abi, &[Path::new(&name), previous.as_deref().unwrap_or(&path)])?;
    Ok(path)
}

/// Removes the entries of one ABI but those to keep: the new one, and the one before it, which
/// running workers may still load modules from.
fn remove_old(versions: &Path, abi: &str, keep: &[&Path]) -> io::Result<()> {
    for other in fs::read_dir(versions)? {
        let other = other?;
        let name = other.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name.strip_prefix(abi).is_some_and(|rest| rest.starts_with('-')));
        if ours && !keep.contains(&Path::new(&name)) {
            fs::remove_dir_all(other.path())?;
        }
    }
    Ok(())
}
