//! Pools of thread workers on real interpreters.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use snakepit_bridge::LinkServer;
use snakepit_core::{
    CallHandle, Clock, Codec, Error, Payload, Pool, PoolOptions, Profile, Request, WorkerStatus,
};
use snakepit_lifecycle::{Supervisor, SupervisorOptions};
use snakepit_profile_thread::{ThreadOptions, ThreadProfile};
use tokio::runtime::Handle;

/// Time that is far more than any of these takes and still an end.
pub const LONG: Duration = Duration::from_secs(60);

/// The interpreter without a GIL that setup has made, or that of `SNAKEPIT_TEST_PYTHON_FREE_THREADED`.
pub fn free_threaded() -> PathBuf {
    interpreter("SNAKEPIT_TEST_PYTHON_FREE_THREADED", "free-threaded")
}

/// The ordinary one.
pub fn with_gil() -> PathBuf {
    interpreter("SNAKEPIT_TEST_PYTHON", "gil")
}

fn interpreter(variable: &str, venv: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| workspace.join("target"));
    let path = target.join(format!("snakepit/venvs/{venv}/bin/python"));
    assert!(path.exists(), "no interpreter at {}: run `cargo xtask setup`", path.display());
    path
}

pub fn adapter(name: &str) -> String {
    format!("{}/tests/adapters/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Free-threaded workers whose tools run side by side.
pub fn side_by_side(threads: usize) -> ThreadOptions {
    ThreadOptions::new(free_threaded(), adapter("side_by_side.py"), threads)
}

/// A running pool.
pub struct Running {
    pub pool: Pool,
    pub supervisor: Supervisor,
    pub profile: ThreadProfile,
}

pub async fn start(options: ThreadOptions, workers: usize) -> Result<Running, Error> {
    start_with(options, workers, |_| {}).await
}

pub async fn start_with(
    options: ThreadOptions,
    workers: usize,
    change: impl FnOnce(&mut PoolOptions),
) -> Result<Running, Error> {
    let runtime = Handle::current();
    let links = Arc::new(LinkServer::start(runtime.clone()));
    let profile = ThreadProfile::new(options, links, runtime.clone())?;
    let mut options = PoolOptions::new("pool");
    change(&mut options);
    let pool = Pool::new(options, Clock::system(), &runtime);
    let starting = Supervisor::start(
        pool.clone(),
        Arc::new(profile.clone()) as Arc<dyn Profile>,
        SupervisorOptions::new(workers),
        &runtime,
    );
    let supervisor = tokio::time::timeout(LONG, starting).await.unwrap()?;
    Ok(Running { pool, supervisor, profile })
}

impl Running {
    pub fn submit(&self, command: &str, arguments: Value) -> CallHandle {
        self.submit_for(command, arguments, None)
    }

    pub fn submit_for(
        &self,
        command: &str,
        arguments: Value,
        timeout: Option<Duration>,
    ) -> CallHandle {
        let mut request = request(command, arguments);
        request.timeout = timeout;
        self.pool.submit(request).unwrap()
    }

    pub async fn call<T: DeserializeOwned>(&self, command: &str, arguments: Value) -> T {
        value(self.submit(command, arguments)).await
    }

    pub fn worker(&self) -> WorkerStatus {
        self.pool.workers().into_iter().next().unwrap()
    }

    /// Looks until a worker is as it should be.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let look = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(LONG, look).await.is_ok(), "it never was so: {what}");
    }

    pub async fn shutdown(self) {
        self.supervisor.shutdown(LONG).await.unwrap();
        tokio::time::timeout(LONG, self.profile.all_gone()).await.unwrap();
    }
}

pub fn request(command: &str, arguments: Value) -> Request {
    Request::new(command, Payload::encode(Codec::MsgPack, &arguments).unwrap())
}

pub async fn value<T: DeserializeOwned>(call: CallHandle) -> T {
    let completed = tokio::time::timeout(LONG, call).await.unwrap();
    completed.unwrap().payload.decode().unwrap()
}

/// Waits until a tool has shown that it was entered.
pub async fn shown(path: &Path) {
    let look = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, look).await.is_ok(), "the tool was never entered");
}

/// Builds the extension that turns the GIL on, with the system's C compiler; gives its directory.
pub fn needs_gil() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let ask = "import sysconfig as s; print(s.get_path('include'), s.get_config_var('EXT_SUFFIX'))";
    let said = Command::new(free_threaded()).args(["-c", ask]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let (include, suffix) = said.trim().rsplit_once(' ').unwrap();
    let library = directory.path().join(format!("needs_gil{suffix}"));
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-I", include, "-o"])
        .arg(&library)
        .arg(adapter("needs_gil.c"))
        .status();
    assert!(built.expect("a C compiler named `cc` is needed").success());
    directory
}
