//! From a seat to a ready worker: descriptors, the process, the race between its hello and its end.
//!
//! Owns the command line of a worker and the errors of one that does not become ready. What a
//! process is made by is `make`'s business alone; everything after it only needs a `Child`.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use snakepit_bridge::{Attaching, Link, LinkOptions, socket_pair};
use snakepit_core::{CallId, Error, ErrorKind, Phase, Seat, WorkerId};
use snakepit_lifecycle::process::{Child, ChildSpec, ExitReport, system_error};
use snakepit_shm::ControlReader;
use tokio::time::{Duration, timeout};

use crate::Parts;
use crate::environment;
use crate::worker::ProcessWorker;

/// Where a worker finds its link, its liveness socket and its control page.
const LINK_FD: i32 = 3;
const LIVENESS_FD: i32 = 4;
const CONTROL_FD: i32 = 5;

/// How long one half of a dying worker may lag behind the other: its last frames behind its exit,
/// or its exit behind the end of its link.
const LAG: Duration = Duration::from_secs(2);

/// Starts the worker of a seat and waits until it is ready.
pub(crate) async fn launch(parts: &Parts, seat: &Seat) -> Result<ProcessWorker, Error> {
    let (child, attaching, liveness) = make(parts, seat).await?;
    let limit = parts.options.start_timeout;
    match timeout(limit, race(&child, attaching, &seat.worker_id())).await {
        Ok(link) => Ok(ProcessWorker::new(link?, child, liveness, parts)),
        // Dropping the child ends it.
        Err(_) => {
            let worker = seat.worker_id();
            let message = format!("worker {worker} was not ready within {limit:?}");
            let error = Error::new(ErrorKind::Timeout(Phase::Start), message)
                .with_help("raise the pool's `start_timeout`, or do less in the adapter's setup");
            Err(describe(error, &worker, &child.stderr_tail()))
        }
    }
}

/// Makes the process and the host's ends of what connects it.
async fn make(parts: &Parts, seat: &Seat) -> Result<(Child, Attaching, OwnedFd), Error> {
    let options = &parts.options;
    let worker = seat.worker_id();
    let what = format!("cannot make the descriptors of worker {worker}");
    let system = |e: std::io::Error| system_error(&what, &e);
    let control = ControlReader::create().map_err(system)?;
    let (host_link, worker_link) = socket_pair().map_err(system)?;
    let (host_liveness, worker_liveness) = UnixStream::pair().map_err(system)?;
    let control_page = control.as_fd().try_clone_to_owned().map_err(system)?;

    let mut args = vec!["-m".to_owned(), "snakepit.worker".to_owned()];
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--worker-id", worker.to_string());
    option("--pool", seat.pool.to_string());
    option("--adapter", options.adapter.clone());
    option("--link-fd", LINK_FD.to_string());
    option("--liveness-fd", LIVENESS_FD.to_string());
    option("--control-fd", CONTROL_FD.to_string());
    if let Some(adapter_args) = &options.adapter_args {
        let text = serde_json::to_string(adapter_args);
        option(
            "--adapter-args",
            text.map_err(|e| {
                Error::new(
                    ErrorKind::InvalidConfig,
                    format!("cannot write the adapter's arguments: {e}"),
                )
            })?,
        );
    }
    let mut spec = ChildSpec::new(seat.pool.clone(), worker.clone(), &options.python)
        .args(args)
        .descriptor(worker_link.into(), LINK_FD)
        .descriptor(worker_liveness.into(), LIVENESS_FD)
        .descriptor(control_page, CONTROL_FD);
    let inherited = std::env::var_os("PYTHONPATH");
    let package = options.worker_package.as_deref();
    for (name, value) in environment::of_worker(&options.env, package, inherited, seat.index)? {
        spec = spec.env(name, value);
    }
    if let Some(cwd) = &options.cwd {
        spec = spec.cwd(cwd);
    }

    let calls = control.clone();
    spec = spec.current_call(move || CallId::new(calls.last_started()?));
    let mut link = LinkOptions::new(seat.pool.clone(), worker, control);
    link.heartbeat = options.heartbeat;
    link.max_payload_bytes = options.max_payload_bytes;
    let attaching = parts.links.adopt(host_link, link)?;
    let child = parts.spawner.spawn(spec, &parts.reaper).await?;
    Ok((child, attaching, host_liveness.into()))
}

/// Waits for the worker's hello, and no longer than it lives.
async fn race(child: &Child, mut attaching: Attaching, worker: &WorkerId) -> Result<Link, Error> {
    let report = tokio::select! {
        // A hello that came before the end counts as one.
        biased;
        attached = &mut attaching => match attached {
            Ok(link) => return Ok(link),
            // The link ended without a word; the exit says more.
            Err(error) if error.kind() == ErrorKind::StartFailed => {
                match timeout(LAG, child.exited()).await {
                    Ok(report) => report,
                    Err(_) => return Err(describe(error, worker, &child.stderr_tail())),
                }
            }
            Err(error) => return Err(error.with_detail("worker", worker.as_str())),
        },
        report = child.exited() => {
            // What it said before it exited is in the socket: a start failure says more still.
            match timeout(LAG, &mut attaching).await {
                Ok(Err(error)) if error.kind() != ErrorKind::StartFailed => {
                    return Err(error.with_detail("worker", worker.as_str()));
                }
                _ => report,
            }
        }
    };
    Err(ended_early(&report, worker))
}

/// The error of a worker that ended before it was ready and did not say why.
fn ended_early(report: &ExitReport, worker: &WorkerId) -> Error {
    let status = report.status;
    if report.stderr.iter().any(|line| misses_package(line)) {
        let error = Error::new(
            ErrorKind::WorkerPackageMissing,
            "the interpreter has no `snakepit` worker package",
        )
        .with_help("run `snakepit setup --python <interpreter>` to install it");
        return describe(error, worker, &report.stderr);
    }
    let message = match report.stderr.iter().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("worker {worker} {status} before it was ready: {}", line.trim()),
        None => format!("worker {worker} {status} before it was ready, and said nothing"),
    };
    describe(Error::new(ErrorKind::StartFailed, message), worker, &report.stderr)
}

fn describe(error: Error, worker: &WorkerId, stderr: &[String]) -> Error {
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
