//! What the tests against real Python share: the interpreter, the adapters, a running pool.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use snakepit::{Builder, Error, Snakepit};

/// Long enough for a slow machine; only a test that fails waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The interpreter to test with.
pub(crate) fn python() -> PathBuf {
    interpreter("SNAKEPIT_TEST_PYTHON", "gil")
}

/// The free-threaded interpreter to test with.
pub(crate) fn free_threaded() -> PathBuf {
    interpreter("SNAKEPIT_TEST_PYTHON_FREE_THREADED", "free-threaded")
}

fn interpreter(variable: &str, environment: &str) -> PathBuf {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => {
            // The directory for tests' files lies directly in the target directory.
            let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
            target.join(format!("snakepit/venvs/{environment}/bin/python"))
        }
    };
    assert!(path.exists(), "{} is not there: run `cargo xtask setup`", path.display());
    path
}

/// One of the adapters in `tests/adapters`.
pub(crate) fn adapter(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapters");
    directory.join(name).to_str().unwrap().to_owned()
}

/// A pool with one worker that runs one of the adapters, still to be started.
pub(crate) fn builder(name: &str) -> Builder {
    Snakepit::builder().adapter(adapter(name)).python(python()).workers(1)
}

/// A started pool with one worker.
pub(crate) fn start(name: &str) -> Snakepit {
    wait(builder(name).start()).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The error of a pool that cannot start.
pub(crate) fn start_error(builder: Builder) -> Error {
    match wait(builder.start()) {
        Ok(_) => panic!("the pool started"),
        Err(error) => error,
    }
}

/// Ends a pool the way programs do.
pub(crate) fn stop(snakepit: Snakepit) {
    wait(snakepit.shutdown(PATIENCE)).unwrap();
}

/// Waits for a future without any runtime.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}

/// Looks again and again until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts that the pool still serves.
pub(crate) fn assert_serves(snakepit: &Snakepit) {
    let call = snakepit.call("echo").args(["still here"]).queue_timeout(PATIENCE);
    assert_eq!(wait(call.execute::<String>()).unwrap(), "still here");
}

/// The `snakepit` command, without the caller's own settings.
pub(crate) fn cli() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snakepit"));
    command.env_remove("RUST_LOG").env_remove("NO_COLOR").env_remove("SNAKEPIT_PYTHON");
    command
}
