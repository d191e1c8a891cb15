//! Runs a helper program to its end, within a time limit and with bounded output: the only place in
//! this crate that starts a process.
//!
//! Invariant: when `run` returns, the child and its process group are gone, unless a grandchild
//! left the group.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// What is kept of each output stream; a program that prints more gets a closed pipe.
const OUTPUT_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// How long a killed group may take to be reaped before it is left to the reaping thread.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// How a child that ended in time ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Why there is no end to report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("could not be started")]
    Launch(#[source] io::Error),
    #[error("did not end within {} s and was killed", .0.as_secs())]
    TimedOut(Duration),
}

enum Part {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Exit(io::Result<ExitStatus>),
}

/// Runs `command` with no standard input, in a process group of its own.
pub(crate) fn run(command: Command, limit: Duration) -> Result<Finished, RunError> {
    run_watched(command, limit, limit, &mut || {})
}

/// The same, and calls `alive` at each `interval` that passes before the end.
pub(crate) fn run_watched(
    mut command: Command,
    limit: Duration,
    interval: Duration,
    alive: &mut dyn FnMut(),
) -> Result<Finished, RunError> {
    let deadline = Instant::now() + limit;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(RunError::Launch)?;
    let group = Pid::from_raw(child.id().cast_signed());
    let (send, receive) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        let send = send.clone();
        thread::spawn(move || send.send(Part::Stdout(read(pipe))));
    }
    if let Some(pipe) = child.stderr.take() {
        let send = send.clone();
        thread::spawn(move || send.send(Part::Stderr(read(pipe))));
    }
    thread::spawn(move || send.send(Part::Exit(child.wait())));

    let mut stdout = Vec::new();
    let mut stderr = Vec::new();
    let mut status = None;
    let mut next_sign = Instant::now() + interval;
    loop {
        let until = deadline.min(next_sign);
        match receive.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Part::Stdout(bytes)) => stdout = bytes,
            Ok(Part::Stderr(bytes)) => stderr = bytes,
            Ok(Part::Exit(exit)) => status = Some(exit.map_err(RunError::Launch)?),
            // All three threads have reported and hung up.
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if until < deadline => {
                next_sign += interval;
                alive();
            }
            Err(RecvTimeoutError::Timeout) => {
                kill(group, &receive);
                return Err(RunError::TimedOut(limit));
            }
        }
    }
    let status = status.ok_or(RunError::TimedOut(limit))?;
    Ok(Finished {
        status,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

fn read(pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A read error is the end of what can be known; the exit status tells the rest.
    let _ = pipe.take(OUTPUT_LIMIT_BYTES).read_to_end(&mut bytes);
    bytes
}

/// Kills the group and waits until the threads have let go of it.
fn kill(group: Pid, receive: &mpsc::Receiver<Part>) {
    // Fails only if the group is gone already.
    let _ = killpg(group, Signal::SIGKILL);
    let deadline = Instant::now() + KILL_WAIT;
    while receive.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
}

impl Finished {
    /// The last twenty lines of what was printed, errors preferred: for messages.
    pub(crate) fn tail(&self) -> String {
        self.last_lines(20)
    }

    /// As many of the last lines as asked for, errors preferred.
    pub(crate) fn last_lines(&self, count: usize) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = text.trim().lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_and_the_status_are_reported() {
        let finished =
            run(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(10)).unwrap();
        assert_eq!(
            (finished.stdout.as_str(), finished.stderr.as_str(), finished.status.code()),
            ("out\n", "err\n", Some(3))
        );
    }

    #[test]
    fn hanging_child_is_killed_with_its_children() {
        let started = Instant::now();
        let error = run(shell("sleep 60 & sleep 60"), Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, RunError::TimedOut(_)));
        // The background sleep held the pipes open; had it lived, the kill wait would have run out.
        assert!(started.elapsed() < KILL_WAIT, "{:?}", started.elapsed());
    }

    #[test]
    fn watcher_hears_of_a_child_that_takes_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("go");
        let script = format!("until [ -e {} ]; do sleep 0.05; done", file.display());
        let mut signs = 0;
        let mut alive = || {
            signs += 1;
            if signs == 2 {
                std::fs::write(&file, "").unwrap();
            }
        };
        let interval = Duration::from_millis(20);
        let finished = run_watched(shell(&script), Duration::from_secs(60), interval, &mut alive);
        assert!(finished.unwrap().status.success());
        assert!(signs >= 2);
    }

    #[test]
    fn endless_output_is_cut_off() {
        let finished = run(shell("exec yes"), Duration::from_secs(30)).unwrap();
        assert!(!finished.status.success());
        assert_eq!(finished.stdout.len() as u64, OUTPUT_LIMIT_BYTES);
    }
}
