//! The work that everybody does.

use serde::Serialize;

/// Arguments of the small call, about 160 bytes encoded.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Small {
    n: i64,
    text: &'static str,
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
    /// How many workers.
    pub workers: usize,
}

impl Setting {
    /// The benchmarks' adapter.
    pub fn adapter(&self) -> String {
        format!("{}/bench_adapter.py", Self::python_dir())
    }

    /// Where the benchmarks' Python files are.
    pub fn python_dir() -> &'static str {
        concat!(env!("CARGO_MANIFEST_DIR"), "/python")
    }
}
