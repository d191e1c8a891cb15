//! Real Python workers, and a way to call them without a pool.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

pub mod host;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use snakepit_bridge::LinkServer;
use snakepit_core::testkit::Calls;
use snakepit_core::{Error, Profile, Seat, Worker};
use snakepit_profile_process::{ProcessOptions, ProcessProfile};
use tokio::runtime::Handle;

pub use snakepit_core::testkit::{InFlight, LONG};

/// The interpreter of the tests: `SNAKEPIT_TEST_PYTHON`, or the one that setup has made.
pub fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("SNAKEPIT_TEST_PYTHON") {
        return path.into();
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| workspace.join("target"));
    let path = target.join("snakepit/venvs/gil/bin/python");
    assert!(path.exists(), "no interpreter at {}: run `cargo xtask setup`", path.display());
    path
}

pub fn adapter(name: &str) -> String {
    format!("{}/tests/adapters/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub fn rough() -> ProcessOptions {
    ProcessOptions::new(python(), adapter("rough.py:Rough"))
}

/// The adapter that knows what it has inherited.
pub fn template() -> ProcessOptions {
    ProcessOptions::new(python(), adapter("template.py"))
}

pub fn profile(options: ProcessOptions) -> ProcessProfile {
    let runtime = Handle::current();
    let links = Arc::new(LinkServer::start(runtime.clone()));
    ProcessProfile::new(options, links, runtime).unwrap()
}

pub fn seat(index: usize) -> Seat {
    Seat { pool: "pool".into(), index, incarnation: 0 }
}

pub async fn start(options: ProcessOptions) -> Result<Arc<dyn Worker>, Error> {
    tokio::time::timeout(LONG, profile(options).start(seat(0))).await.unwrap()
}

/// Submits a call with keyword arguments.
pub fn call(worker: &Arc<dyn Worker>, command: &str, arguments: serde_json::Value) -> InFlight {
    Calls::of(worker).call(command, arguments)
}

/// A named pipe that one side opens for writing as its sign that it has come so far.
pub struct Sign {
    directory: tempfile::TempDir,
}

impl Sign {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sign = Self { directory };
        let made = std::process::Command::new("mkfifo").arg(sign.path()).status();
        assert!(made.unwrap().success());
        sign
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("sign")
    }

    /// Waits until it was opened; what can be read is written until the other side is gone.
    pub async fn opened(&self) -> std::fs::File {
        let path = self.path();
        let open = tokio::task::spawn_blocking(move || std::fs::File::open(path).unwrap());
        tokio::time::timeout(LONG, open).await.unwrap().unwrap()
    }
}

/// The process that made this worker of the `template` adapter.
pub async fn parent(worker: &Arc<dyn Worker>) -> u32 {
    let pids: serde_json::Value = call(worker, "pids", serde_json::json!({})).value().await;
    pids["parent"].as_u64().unwrap().try_into().unwrap()
}

pub fn kill(pid: u32, signal: &str) {
    let status = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(status.unwrap().success());
}
