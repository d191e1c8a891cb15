//! The work that everybody does.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The arguments of one tool, and what it returns.
pub trait Arguments: Serialize {
    /// Name of the tool.
    const COMMAND: &'static str;
    /// What it returns.
    type Result: DeserializeOwned;
}

/// Arguments of the small call, about 160 bytes encoded.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Small {
    n: i64,
    text: &'static str,
}

/// What the small call returns.
#[derive(Clone, Debug, Deserialize)]
pub struct SmallResult {
    /// One more than was given.
    pub n: i64,
    /// Length of the text.
    pub length: usize,
    /// Its most frequent letter.
    pub most: String,
    /// The text in capitals.
    pub upper: String,
}

impl Arguments for Small {
    const COMMAND: &'static str = "small";
    type Result = SmallResult;
}

impl Arguments for Nap {
    const COMMAND: &'static str = "nap";
    type Result = f64;
}

impl Arguments for Echo {
    const COMMAND: &'static str = "echo";
    type Result = serde_bytes::ByteBuf;
}

/// The small call. `peers.py` has the same text.
pub const SMALL: Small = Small {
    n: 7,
    text: "the quick brown fox jumps over the lazy dog \
           the quick brown fox jumps over the lazy dog \
           the quick brown fox jumps over the lazy dog ",
};

/// Arguments of `nap`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Nap {
    /// How long to sleep, in milliseconds.
    pub ms: f64,
}

/// Arguments of `echo`.
#[derive(Clone, Debug, Serialize)]
pub struct Echo {
    /// Comes back.
    pub data: serde_bytes::ByteBuf,
}

/// What has to be known to start workers.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The interpreter, with the worker package installed.
    pub python: std::path::PathBuf,
    /// The interpreter without a GIL, likewise.
    pub free_threaded: Option<std::path::PathBuf>,
    /// How many workers.
    pub workers: usize,
}

impl Setting {
    /// The benchmarks' adapter.
    pub fn adapter(&self) -> String {
        format!("{}/bench_adapter.py", Self::python_dir())
    }

    /// The adapter that imports numpy.
    pub fn numpy_adapter(&self) -> String {
        format!("{}/bench_numpy.py", Self::python_dir())
    }

    /// The adapter whose calls compute, or read a model.
    pub fn thread_adapter(&self) -> String {
        format!("{}/bench_threads.py", Self::python_dir())
    }

    /// The interpreter without a GIL.
    ///
    /// # Errors
    /// When there is none.
    pub fn free_threaded(&self) -> anyhow::Result<std::path::PathBuf> {
        self.free_threaded.clone().ok_or_else(|| {
            anyhow::anyhow!(
                "no free-threaded environment: run `cargo xtask setup`, or name one with \
                 --free-threaded"
            )
        })
    }

    /// Where the benchmarks' Python files are.
    pub fn python_dir() -> &'static str {
        concat!(env!("CARGO_MANIFEST_DIR"), "/python")
    }
}
