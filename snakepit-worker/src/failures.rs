//! The errors of workers that do not become ready.

use snakepit_core::{Error, ErrorKind, Phase, WorkerId};
use snakepit_lifecycle::process::{ExitReport, system_error};

use crate::options::WorkerOptions;

/// The error of a worker that took too long.
pub fn not_ready(worker: &WorkerId, options: &WorkerOptions, stderr: &[String]) -> Error {
    let message = format!("worker {worker} was not ready within {:?}", options.start_timeout);
    let error = Error::new(ErrorKind::Timeout(Phase::Start), message)
        .with_help("raise the pool's `start_timeout`, or do less in the adapter's setup");
    with_stderr(error, worker, stderr)
}

/// The error of a host that cannot make what connects a worker.
pub fn no_descriptors(error: std::io::Error) -> Error {
    system_error("cannot make the descriptors of a worker", &error)
}

/// The error of a worker, or of its zygote, that ended before it was ready and did not say why.
pub fn ended_early(report: &ExitReport, worker: &WorkerId) -> Error {
    let status = report.status;
    if report.stderr.iter().any(|line| misses_package(line)) {
        let error = Error::new(
            ErrorKind::WorkerPackageMissing,
            "the interpreter has no `snakepit` worker package",
        )
        .with_help("run `snakepit setup --python <interpreter>` to install it");
        return with_stderr(error, worker, &report.stderr);
    }
    let message = match report.stderr.iter().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("worker {worker} {status} before it was ready: {}", line.trim()),
        None => format!("worker {worker} {status} before it was ready, and said nothing"),
    };
    with_stderr(Error::new(ErrorKind::StartFailed, message), worker, &report.stderr)
}

/// Names the worker in an error, with what it has written to stderr.
pub fn with_stderr(error: Error, worker: &WorkerId, stderr: &[String]) -> Error {
    let error = error.with_detail("worker", worker.as_str());
    if stderr.is_empty() { error } else { error.with_detail("stderr", stderr.join("\n")) }
}

/// Whether a line is Python's complaint that it cannot find the worker package or a part of it.
fn misses_package(line: &str) -> bool {
    let Some((_, name)) = line.split_once("No module named ") else {
        return false;
    };
    let name = name.trim_start_matches('\'');
    let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
    let name = &name[..end.unwrap_or(name.len())];
    name == "snakepit" || name.starts_with("snakepit.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_worker_package_itself_counts_as_missing() {
        for line in [
            "/usr/bin/python3: No module named snakepit",
            "/usr/bin/python3: No module named snakepit.worker",
            "ModuleNotFoundError: No module named 'snakepit._native'",
            "… for 'snakepit.worker' (ModuleNotFoundError: No module named 'snakepit')",
        ] {
            assert!(misses_package(line), "{line}");
        }
        for line in ["No module named 'snakepit_tools'", "No module named numpy", "snakepit"] {
            assert!(!misses_package(line), "{line}");
        }
    }
}
