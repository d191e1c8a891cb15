//! Owns the making of a cache entry from a wheel, the package index or a source tree. Where entries
//! lie and when they may be used is `worker_package`'s business.
//!
//! Invariant: an entry is published only after the interpreter has imported it.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache::Cache;
use crate::child;
use crate::fingerprint::Fingerprint;
use crate::interpreter::Interpreter;
use crate::tool::{self, ToolError};
use crate::wheel::{self, BuildError, WheelBuild};
use crate::worker_package::{self, Origin, Record, WorkerPackage};
use crate::{WORKER_DISTRIBUTION, WORKER_VERSION};

/// The version that builds the worker package; `python/pyproject.toml` admits it.
const MATURIN_VERSION: &str = "1.16.0";
const IMPORT_LIMIT: Duration = Duration::from_secs(60);
const IMPORT_CHECK: &str = "\
import sys
sys.path.insert(0, sys.argv[1])
import snakepit
from snakepit import _native
contract = getattr(_native, 'contract', None)
print('snakepit-contract:' + (contract() if callable(contract) else contract or ''))
";

/// Where the worker package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A wheel, or a directory of wheels to choose from.
    Wheel(PathBuf),
    /// The package index that pip is set up for.
    Index,
    /// The `python/` folder of a Snakepit source tree, built with maturin.
    SourceTree(PathBuf),
}

/// The worker package could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// No wheel that fits.
    #[error("{} has no worker wheel of version {WORKER_VERSION} for {abi} on this platform: name another directory, or build from a source tree", .path.display())]
    NoWheel {
        /// The wheel or directory that was named.
        path: PathBuf,
        /// The ABI that was wanted.
        abi: String,
    },
    /// A wheel that cannot be unpacked.
    #[error("{} could not be unpacked: fetch or build it again; {output}", .path.display())]
    Unpack {
        /// The wheel.
        path: PathBuf,
        /// What was said.
        output: String,
    },
    /// The package index.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The build from source.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It is unpacked but the interpreter cannot import it.
    #[error(
        "the worker package does not load in {python}: it was made for another platform or C library, so build it from source; Python said:\n{output}"
    )]
    Import {
        /// The interpreter's path.
        python: String,
        /// What Python printed.
        output: String,
    },
    /// What was unpacked is some other package.
    #[error(
        "{what} is not the Snakepit worker package, although it has its name: name a wheel or a source tree instead"
    )]
    Foreign {
        /// What it was unpacked from.
        what: String,
    },
    /// The cache cannot be used.
    #[error("the cache {} cannot be written: free the disk or name another one with SNAKEPIT_CACHE_DIR", .path.display())]
    Cache {
        /// The cache's directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Source {
    /// The source to use when none was named: the wheels in `SNAKEPIT_WHEELS`, the source tree this
    /// crate was compiled in, else the package index.
    pub fn from_env() -> Self {
        if let Some(wheels) = env::var_os("SNAKEPIT_WHEELS").filter(|value| !value.is_empty()) {
            return Self::Wheel(wheels.into());
        }
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
        match tree.join("pyproject.toml").is_file().then(|| tree.canonicalize()) {
            Some(Ok(tree)) => Self::SourceTree(tree),
            _ => Self::Index,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wheel(path) | Self::SourceTree(path) => path.display().fmt(f),
            Self::Index => write!(f, "the package index's {WORKER_DISTRIBUTION}=={WORKER_VERSION}"),
        }
    }
}

impl WorkerPackage {
    /// Installs the worker package for an interpreter into a cache. Does nothing but look when the
    /// entry is there and was made from the same source; the flag says whether it did more.
    ///
    /// `maturin` is the program to build with; without one, a pinned one is installed privately.
    ///
    /// # Errors
    /// If the source has nothing that fits, or the interpreter cannot import it.
    pub fn install(
        interpreter: &Interpreter,
        source: &Source,
        maturin: Option<&Path>,
        cache: &Cache,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(Self, bool), InstallError> {
        let abi = interpreter.wheel_abi();
        let (source, fingerprint) = settle(source, interpreter)?;
        if let Some((path, record)) = worker_package::entry(cache, &abi)
            && record.fingerprint == fingerprint
        {
            let contract = record.contract;
            return Ok((Self { path, origin: Origin::Cache, contract }, false));
        }

        let in_cache = |source| InstallError::Cache { path: cache.root().to_owned(), source };
        let versions = cache.worker_packages(WORKER_VERSION);
        fs::create_dir_all(&versions).map_err(in_cache)?;
        let stage =
            tempfile::Builder::new().prefix(".stage-").tempdir_in(&versions).map_err(in_cache)?;
        let staged = stage.path().join("package");
        fs::create_dir(&staged).map_err(in_cache)?;
        let unpack = |wheel: &Path| {
            wheel::unpack(wheel, interpreter, &staged)
                .map_err(|output| InstallError::Unpack { path: wheel.to_owned(), output })
        };
        match &source {
            Source::Wheel(wheel) => {
                progress(&format!("unpacking {}", wheel.display()));
                unpack(wheel)?;
            }
            Source::Index => {
                progress(&format!(
                    "fetching {WORKER_DISTRIBUTION} {WORKER_VERSION} from the package index"
                ));
                let requirement = format!("{WORKER_DISTRIBUTION}=={WORKER_VERSION}");
                tool::pip_install(interpreter, &requirement, &staged, stage.path())?;
            }
            Source::SourceTree(tree) => {
                let maturin = match maturin {
                    Some(maturin) => maturin.to_owned(),
                    None => tool::pip_tool(
                        interpreter,
                        "maturin",
                        MATURIN_VERSION,
                        &cache.tools(),
                        progress,
                    )?,
                };
                progress(&format!("building the worker package for {abi}, which takes minutes"));
                let build = WheelBuild {
                    tree,
                    interpreter,
                    maturin: &maturin,
                    target_dir: &cache.build(),
                    out: &stage.path().join("wheels"),
                };
                unpack(&build.run()?)?;
            }
        }
        if !holds_worker(&staged) {
            return Err(InstallError::Foreign { what: source.to_string() });
        }
        progress(&format!("importing it with {interpreter}"));
        let contract = import(interpreter, &staged)?;
        let record = Record {
            version: WORKER_VERSION.to_owned(),
            abi,
            fingerprint,
            tree: match source {
                Source::SourceTree(tree) => Some(tree),
                Source::Wheel(_) | Source::Index => None,
            },
            contract: contract.clone(),
        };
        let path = worker_package::publish(&staged, &record, cache).map_err(in_cache)?;
        Ok((Self { path, origin: Origin::Cache, contract }, true))
    }
}

/// Narrows a source to what will be used, with the fingerprint of it.
fn settle(source: &Source, interpreter: &Interpreter) -> Result<(Source, String), InstallError> {
    match source {
        Source::Index => Ok((Source::Index, "index".to_owned())),
        Source::SourceTree(tree) => {
            let fingerprint = wheel::source_fingerprint(tree)?;
            Ok((source.clone(), fingerprint))
        }
        Source::Wheel(path) => {
            let wheel = if path.is_dir() {
                wheel::choose(path, interpreter)
            } else {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| wheel::fits(name, interpreter)).then(|| path.clone())
            };
            let no_wheel =
                || InstallError::NoWheel { path: path.clone(), abi: interpreter.wheel_abi() };
            let wheel = wheel.ok_or_else(no_wheel)?;
            let content = Fingerprint::new().with_file(&wheel).map_err(|_| no_wheel())?;
            Ok((Source::Wheel(wheel), content.hex()))
        }
    }
}

/// Whether the native half is there. Looked for before anything is imported: a package index may
/// serve somebody else's package under the same name.
fn holds_worker(staged: &Path) -> bool {
    let modules = fs::read_dir(staged.join("snakepit")).into_iter().flatten().flatten();
    modules.into_iter().any(|module| module.file_name().as_encoded_bytes().starts_with(b"_native."))
}

/// Imports the staged package and returns the contract that it names.
fn import(interpreter: &Interpreter, staged: &Path) -> Result<Option<String>, InstallError> {
    let failed = |output| InstallError::Import {
        python: interpreter.executable.display().to_string(),
        output,
    };
    let mut command = Command::new(&interpreter.executable);
    command.args(["-I", "-c", IMPORT_CHECK]).arg(staged);
    let finished = child::run(command, IMPORT_LIMIT).map_err(|error| failed(error.to_string()))?;
    if !finished.status.success() {
        return Err(failed(finished.tail()));
    }
    let mut lines = finished.stdout.lines();
    let contract = lines.find_map(|line| line.strip_prefix("snakepit-contract:"));
    Ok(contract.filter(|contract| !contract.is_empty()).map(str::to_owned))
}
