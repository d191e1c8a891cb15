//! From a seat to a ready worker: descriptors, the process, the race between its hello and its end.
//!
//! Owns the command line of a worker and the errors of one that does not become ready. What a
//! process is made by is `make`'s business alone; everything after it only needs a `Child`. Whether
//! there is a zygote to fork it from is `template`'s.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use snakepit_bridge::{Attaching, Link, LinkOptions, socket_pair};
use snakepit_core::{CallId, Error, ErrorKind, Phase, Seat, WorkerId};
use snakepit_lifecycle::process::{
    Child, ChildSpec, ExitReport, ForkError, ForkSpec, system_error,
};
use snakepit_shm::ControlReader;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::Parts;
use crate::environment;
use crate::options::{ProcessOptions, StartMethod};
use crate::worker::ProcessWorker;

/// Where a worker finds its link, its liveness socket and its control page.
pub(crate) const LINK_FD: i32 = 3;
pub(crate) const LIVENESS_FD: i32 = 4;
pub(crate) const CONTROL_FD: i32 = 5;

/// How many zygotes may be lost over one worker. The first may have been killed just now; an
/// adapter that ends every one that forks is told so.
const ZYGOTES: usize = 2;

/// How long one half of a dying worker may lag behind the other: its last frames behind its exit,
/// or its exit behind the end of its link.
const LAG: Duration = Duration::from_secs(2);

/// Starts the worker of a seat and waits until it is ready.
pub(crate) async fn launch(parts: &Parts, seat: &Seat) -> Result<ProcessWorker, Error> {
    let deadline = Instant::now() + parts.options.start_timeout;
    let Made { child, start, attaching, liveness } = make(parts, seat, deadline).await?;
    match timeout_at(deadline, race(&child, attaching, &seat.worker_id())).await {
        Ok(link) => Ok(ProcessWorker::new(link?, child, start, liveness, parts)),
        // Dropping the child ends it.
        Err(_) => Err(not_ready(&seat.worker_id(), &parts.options, &child.stderr_tail())),
    }
}

/// The error of a worker that took too long.
pub(crate) fn not_ready(worker: &WorkerId, options: &ProcessOptions, stderr: &[String]) -> Error {
    let message = format!("worker {worker} was not ready within {:?}", options.start_timeout);
    let error = Error::new(ErrorKind::Timeout(Phase::Start), message)
        .with_help("raise the pool's `start_timeout`, or do less in the adapter's setup");
    describe(error, worker, stderr)
}

/// A process, and the host's ends of what connects it.
struct Made {
    child: Child,
    start: StartMethod,
    attaching: Attaching,
    liveness: OwnedFd,
}

/// A worker's ends of what connects it, under the numbers it expects.
type Ends = [(OwnedFd, i32); 3];

async fn make(parts: &Parts, seat: &Seat, deadline: Instant) -> Result<Made, Error> {
    let options = &parts.options;
    let worker = seat.worker_id();
    let control = ControlReader::create().map_err(no_descriptors)?;
    let (host_link, worker_link) = socket_pair().map_err(no_descriptors)?;
    let (host_liveness, worker_liveness) = UnixStream::pair().map_err(no_descriptors)?;
    let control_page = control.as_fd().try_clone_to_owned().map_err(no_descriptors)?;
    let ends = [
        (worker_link.into(), LINK_FD),
        (worker_liveness.into(), LIVENESS_FD),
        (control_page, CONTROL_FD),
    ];

    let calls = control.clone();
    let mut link = LinkOptions::new(seat.pool.clone(), worker, control);
    link.heartbeat = options.heartbeat;
    link.max_payload_bytes = options.max_payload_bytes;
    let attaching = parts.links.adopt(host_link, link)?;
    let args = arguments(options, seat)?;
    let (child, start) = match fork(parts, seat, &args, &ends, &calls, deadline).await? {
        Some(child) => (child, StartMethod::Zygote),
        None => (spawn(parts, seat, args, ends, calls).await?, StartMethod::Spawn),
    };
    Ok(Made { child, start, attaching, liveness: host_liveness.into() })
}

/// The error of a host that cannot make what connects a worker.
pub(crate) fn no_descriptors(error: std::io::Error) -> Error {
    system_error("cannot make the descriptors of a worker", &error)
}

/// The worker's own arguments.
fn arguments(options: &ProcessOptions, seat: &Seat) -> Result<Vec<String>, Error> {
    let mut args = Vec::new();
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--worker-id", seat.worker_id().to_string());
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
    Ok(args)
}

/// Forks the worker, if the pool's adapter lets it.
async fn fork(
    parts: &Parts,
    seat: &Seat,
    args: &[String],
    ends: &Ends,
    calls: &ControlReader,
    deadline: Instant,
) -> Result<Option<Child>, Error> {
    let worker = seat.worker_id();
    let mut spec = ForkSpec::new(seat.pool.clone(), worker.clone()).args(args);
    for (end, number) in ends {
        spec = spec.descriptor(end.as_fd(), *number);
    }
    let calls = calls.clone();
    spec = spec.current_call(move || CallId::new(calls.last_started()?));
    for (name, value) in environment::of_fork(&parts.options.env, seat.index) {
        spec = spec.env(name, value);
    }
    for _ in 0..ZYGOTES {
        let Some(zygote) = parts.template.zygote(parts, seat, deadline).await? else {
            return Ok(None);
        };
        let Ok(forked) = timeout_at(deadline, zygote.fork(&spec)).await else {
            return Err(not_ready(&worker, &parts.options, &[]));
        };
        match forked {
            Ok(child) => return Ok(Some(child)),
            Err(ForkError::Refused(error)) => return Err(error),
            // The next round makes another one.
            Err(_) => {}
        }
    }
    let message = format!("the zygote that was to fork worker {worker} ended, {ZYGOTES} times");
    let error = Error::new(ErrorKind::StartFailed, message)
        .with_help("set the pool's `start = \"spawn\"` if its adapter cannot be forked");
    Err(describe(error, &worker, &[]))
}

/// Starts an interpreter of its own for the worker.
async fn spawn(
    parts: &Parts,
    seat: &Seat,
    args: Vec<String>,
    ends: Ends,
    calls: ControlReader,
) -> Result<Child, Error> {
    let options = &parts.options;
    let mut spec = ChildSpec::new(seat.pool.clone(), seat.worker_id(), &options.python)
        .args(["-m", "snakepit.worker"])
        .args(args);
    for (end, number) in ends {
        spec = spec.descriptor(end, number);
    }
    let package = options.worker_package.as_deref();
    for (name, value) in environment::of_worker(&options.env, package, seat.index)? {
        spec = spec.env(name, value);
    }
    if let Some(cwd) = &options.cwd {
        spec = spec.cwd(cwd);
    }
    spec = spec.current_call(move || CallId::new(calls.last_started()?));
    parts.spawner.spawn(spec, &parts.reaper).await
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

/// The error of a worker, or of its zygote, that ended before it was ready and did not say why.
pub(crate) fn ended_early(report: &ExitReport, worker: &WorkerId) -> Error {
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
