//! Owns what is known about one Python interpreter. How it is asked is `probe`'s business.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::probe::{self, ProbeError};

/// A supported Python interpreter, as it described itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Interpreter {
    /// The real executable: a version manager's shim is resolved, a virtual environment's own
    /// `python` is kept, because its packages are found through it.
    pub executable: PathBuf,
    /// The executable that a virtual environment was made from; `executable` itself elsewhere.
    pub base_executable: PathBuf,
    /// The language version.
    pub version: Version,
    /// The implementation's name, such as `cpython`.
    pub implementation: String,
    /// `sys.prefix`.
    pub prefix: PathBuf,
    /// `sys.base_prefix`; differs from `prefix` in a virtual environment.
    pub base_prefix: PathBuf,
    /// Whether this is a free-threaded build (`Py_GIL_DISABLED`).
    pub free_threaded: bool,
    /// Whether the GIL was on when asked. A free-threaded build can run with it, by
    /// `PYTHON_GIL=1` or because an extension wanted it.
    pub gil_enabled: bool,
    /// `sysconfig`'s `SOABI`, such as `cpython-314t-x86_64-linux-gnu`.
    pub soabi: Option<String>,
    /// `sysconfig.get_platform()`, such as `linux-x86_64`.
    pub platform: String,
    /// The folder in which this interpreter, left to itself, finds the `snakepit` worker package.
    pub worker_package: Option<PathBuf>,
}

/// A Python language version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// 3 in 3.14.7.
    pub major: u32,
    /// 14 in 3.14.7.
    pub minor: u32,
    /// 7 in 3.14.7.
    pub micro: u32,
}

impl Interpreter {
    /// Runs an interpreter once and asks it about itself, waiting at most ten seconds.
    ///
    /// A name without a slash is looked up in `PATH`.
    ///
    /// # Errors
    /// If it cannot be run, is no Python, or is one that Snakepit does not support; the error says
    /// which and what to do.
    ///
    /// # Examples
    /// ```no_run
    /// let python = snakepit_compat::Interpreter::probe("python3")?;
    /// assert!(python.version.minor >= 11);
    /// # Ok::<(), snakepit_compat::ProbeError>(())
    /// ```
    pub fn probe(path_or_name: impl AsRef<OsStr>) -> Result<Self, ProbeError> {
        probe::probe(path_or_name.as_ref())
    }

    /// Whether this is a virtual environment's interpreter.
    pub fn is_virtual_environment(&self) -> bool {
        self.prefix != self.base_prefix
    }

    /// The interpreter's own ABI tag, such as `cp311` or `cp314t`.
    pub fn abi_tag(&self) -> String {
        let t = if self.free_threaded { "t" } else { "" };
        format!("cp{}{}{t}", self.version.major, self.version.minor)
    }

    /// The ABI tag of the worker package that fits: one build serves every interpreter with a GIL
    /// (`abi3`), each free-threaded version needs its own.
    pub fn wheel_abi(&self) -> String {
        if self.free_threaded { self.abi_tag() } else { "abi3".to_owned() }
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = if self.free_threaded { "t" } else { "" };
        write!(f, "Python {}{t} ({})", self.version, self.executable.display())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}
