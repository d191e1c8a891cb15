//! What workers are made from. Plain data.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use snakepit_bridge::Memory;
use snakepit_lifecycle::process::Output;

/// How the workers of one pool are launched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// The interpreter.
    pub python: PathBuf,
    /// Directory of the worker package, put in front of the interpreter's own path; `None` when
    /// the interpreter has the package installed.
    pub worker_package: Option<PathBuf>,
    /// The adapter: `module`, `module:Class`, `file.py` or `file.py:Class`.
    pub adapter: String,
    /// Keyword arguments for the adapter's constructor.
    pub adapter_args: Option<serde_json::Map<String, serde_json::Value>>,
    /// Environment variables; `{index}` in a value becomes the worker's index, which no other
    /// living worker of the pool has.
    pub env: Vec<(String, String)>,
    /// Working directory; `None` takes the host's.
    pub cwd: Option<PathBuf>,
    /// Time between two signs of life.
    pub heartbeat: Duration,
    /// Largest payload in either direction, in bytes.
    pub max_payload_bytes: u64,
    /// Time a worker has to become ready.
    pub start_timeout: Duration,
    /// What becomes of what workers print. Changes hold for those that run.
    pub output: Output,
    /// The pool's shared memory; `None` has everything travel inline.
    pub memory: Option<Arc<Memory>>,
}

impl WorkerOptions {
    /// The defaults: a beat each second, payloads up to 1 GiB, a minute to start.
    pub fn new(python: impl Into<PathBuf>, adapter: impl Into<String>) -> Self {
        Self {
            python: python.into(),
            worker_package: None,
            adapter: adapter.into(),
            adapter_args: None,
            env: Vec::new(),
            cwd: None,
            heartbeat: Duration::from_secs(1),
            max_payload_bytes: 1024 * 1024 * 1024,
            start_timeout: Duration::from_secs(60),
            output: Output::default(),
            memory: None,
        }
    }
}
