//! Running hosts and the commands that speak to them: real processes, real sockets, real Python.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod ends;
mod library;
mod refusals;
mod reload;
mod settings;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use support::PATIENCE;

/// A directory for one user's hosts, short enough for sockets.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where the socket of an instance is.
    fn socket(&self, instance: &str) -> PathBuf {
        self.path().join("snakepit").join(format!("{instance}.sock"))
    }

    /// The command line of a user of this place.
    fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = support::cli();
        command.env("XDG_RUNTIME_DIR", self.path()).env_remove("NOTIFY_SOCKET").args(arguments);
        command
    }

    /// Runs a command to its end.
    fn output(&self, arguments: &[&str]) -> Output {
        self.cli(arguments).output().unwrap()
    }

    /// What a command that goes well prints.
    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same with `--json`.
    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        serde_json::from_str(&self.prints(&all)).unwrap()
    }

    /// The error of a command that fails with this exit code.
    fn error(&self, code: i32, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.output(&all);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        let last = stderr.lines().last().unwrap_or_else(|| panic!("{arguments:?} says nothing"));
        serde_json::from_str::<Value>(last).unwrap()["error"].take()
    }

    /// Writes a settings file with a pool for each name, adapter and number of workers.
    fn settings(&self, file: &str, pools: &[(&str, &str, usize)]) -> PathBuf {
        let python = support::python();
        let pools = pools.iter().map(|(name, adapter, workers)| {
            // What follows a colon is a class.
            let (file, class) = adapter.split_once(':').unwrap_or((adapter, ""));
            let class = if class.is_empty() { String::new() } else { format!(":{class}") };
            format!(
                "[pool.{name}]\nadapter = '{}{class}'\npython = '{}'\nworkers = {workers}\n",
                support::adapter(file),
                python.display()
            )
        });
        let path = self.path().join(file);
        std::fs::write(&path, pools.collect::<String>()).unwrap();
        path
    }

    /// Starts `snakepit run` and waits until it is ready.
    fn run(&self, file: &str, pools: &[(&str, &str, usize)]) -> Host {
        self.run_with(file, pools, &[])
    }

    fn run_with(&self, file: &str, pools: &[(&str, &str, usize)], more: &[&str]) -> Host {
        let settings = self.settings(file, pools);
        let mut command = self.cli(&["run", "--config", settings.to_str().unwrap()]);
        let mut host = Host::spawn(command.args(more), self.path().join(format!("{file}.log")));
        let ready = host.line();
        assert!(ready.contains("ready"), "{ready}{}", host.log());
        host.ready = ready;
        host
    }

    /// Starts `snakepit run` with a settings file that is there.
    fn run_file(&self, file: &Path, more: &[&str]) -> Host {
        let mut command = self.cli(&["run", "--config", file.to_str().unwrap()]);
        let mut host = Host::spawn(command.args(more), self.path().join("host.log"));
        let ready = host.line();
        assert!(ready.contains("ready"), "{ready}{}", host.log());
        host.ready = ready;
        host
    }

    /// The process ids of the workers, in the order of the table.
    fn pids(&self, more: &[&str]) -> Vec<u32> {
        let workers = self.json(&[&["workers"], more].concat());
        let workers = workers.as_array().unwrap().iter();
        workers.map(|worker| worker["pid"].as_u64().unwrap() as u32).collect()
    }
}

/// A `snakepit run`; killed if the test does not end it.
struct Host {
    child: Child,
    out: BufReader<ChildStdout>,
    ready: String,
    log: PathBuf,
}

impl Host {
    fn spawn(command: &mut Command, log: PathBuf) -> Self {
        let stderr = std::fs::File::create(&log).unwrap();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, ready: String::new(), log }
    }

    /// The next line it prints; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end; gives what it still printed.
    fn end(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.out, &mut rest).unwrap();
        (status, rest)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Both fail for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The process that made this one.
fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which is in brackets: the state, and the parent.
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

fn is_alive(pid: u32) -> bool {
    // A process that nobody has reaped yet does nothing any more.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !matches!(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()), None | Some('Z'))
}

/// Looks again and again until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
