//! What a run was made with: command, commit, machine, versions. Asks the machine and git; a fact
//! that cannot be had is left out and never guessed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was run, when and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The command that makes such a report again.
    pub command: String,
    /// When it began, by the wall clock, in RFC 3339.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The commit that was measured.
    pub commit: Option<String>,
    /// Whether files differed from that commit.
    pub changed: Option<bool>,
    /// Where it was measured.
    pub machine: Machine,
    /// Versions, by name.
    pub versions: BTreeMap<String, String>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The processor's name.
    pub processor: Option<String>,
    /// How many of its cores this process may use.
    pub cores: usize,
    /// Memory in all.
    pub memory_bytes: Option<u64>,
    /// System and kernel.
    pub system: Option<String>,
    /// How many threads wanted to run over the last minute before it began: what others did.
    pub load_before: Option<f64>,
}

impl Run {
    /// What can be said at the begin of a run.
    pub fn begin(command: String, pythons: &[(&str, &Path)]) -> Self {
        let commit = first_line("git", &["rev-parse", "HEAD"]);
        let changed = output("git", &["status", "--porcelain"]).map(|text| !text.is_empty());
        let mut versions = BTreeMap::new();
        versions.insert("snakepit".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let build = if cfg!(debug_assertions) { "dev" } else { "release" };
        versions.insert("build".to_owned(), build.to_owned());
        let rustc = first_line("rustc", &["--version"]);
        versions.extend(rustc.map(|v| ("rustc".to_owned(), v.replacen("rustc ", "", 1))));
        for (name, python) in pythons {
            let version = "import sys; print(sys.version.split(' (')[0])";
            let program = python.to_string_lossy();
            versions
                .extend(first_line(&program, &["-c", version]).map(|v| ((*name).to_owned(), v)));
        }
        // The form that people read; no crate is needed for one date.
        let started = first_line("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).unwrap_or_default();
        Self { command, started, seconds: 0.0, commit, changed, machine: Machine::here(), versions }
    }
}

impl Machine {
    /// The machine this runs on.
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kib =
            after(&meminfo, "MemTotal").and_then(|v| v.split(' ').next()?.parse::<u64>().ok());
        Self {
            processor: after(&cpuinfo, "model name"),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            memory_bytes: kib.map(|kib| kib << 10),
            system: first_line("uname", &["-srm"]),
            load_before: load.split(' ').next().and_then(|first| first.parse().ok()),
        }
    }
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    output(program, arguments)?.lines().next().map(str::to_owned)
}

/// What a program prints, if it is there and succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
