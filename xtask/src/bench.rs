//! `cargo xtask bench`: builds the benchmarks, runs them with progress shown, and keeps what they
//! report. Knows where reports are kept and who makes them; what is measured and how it looks is
//! `snakepit-bench`'s business.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::run;
use crate::setup::{self, Interpreters};
use crate::workspace::Workspace;

/// The curated copy, written by `--publish` alone.
const PUBLISHED: &str = "docs/benchmarks.md";

/// Samples of each contender with `--full`.
const FULL_SAMPLES: &str = "9";

/// What to measure, or what to do with reports.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// Sections to run; all of them if none is named
    sections: Vec<String>,
    /// Fewer and shorter samples, for a look within five minutes
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Nearly twice the samples, for narrower intervals
    #[arg(long)]
    full: bool,
    /// What others offer beside ours, installed for it below target/
    #[arg(long)]
    peers: bool,
    /// Write the report to docs/benchmarks.md, too
    #[arg(long)]
    publish: bool,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Show what became of the figures of an earlier report
    Compare {
        /// The earlier report: a file, or a folder of target/bench
        earlier: PathBuf,
        /// The later one; the latest if it is not named
        later: Option<PathBuf>,
    },
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let kept = Kept::of(workspace);
    match &arguments.task {
        Some(Task::Compare { earlier, later }) => {
            build(workspace)?;
            let later = later.clone().unwrap_or_else(|| kept.latest());
            let mut command = program(workspace, "snakepit-report");
            command.arg("compare").args([kept.report(earlier), kept.report(&later)]);
            run::checked(command)
        }
        None => measure(workspace, &kept, arguments),
    }
}

fn measure(workspace: &Workspace, kept: &Kept, arguments: &Arguments) -> Result<()> {
    run::announce("setup");
    setup::run(workspace, Interpreters::Both)?;
    build(workspace)?;
    let started = Instant::now();
    let folder = kept.begin()?;
    let report = folder.join("report.json");
    let mut load = program(workspace, "snakepit-load");
    load.args(&arguments.sections).arg("--json").arg(&report);
    load.args(["--reproduce", &arguments.command()]);
    load.args(arguments.quick.then_some("--quick"));
    if arguments.full {
        load.args(["--samples", FULL_SAMPLES]);
    }
    if arguments.peers {
        crate::peers::install(workspace)?;
        load.arg("--peers");
    }
    run::announce("measuring; what is shown meanwhile is in the report");
    // A missed gate is a result: the report is written all the same, and then the command fails.
    let status = load.status().context("snakepit-load does not start")?;
    if !report.is_file() {
        bail!("snakepit-load ended with {status} and left no report");
    }
    let (markdown, page) = (folder.join("report.md"), folder.join("report.html"));
    let mut render = program(workspace, "snakepit-report");
    render.arg("render").arg(&report).arg("--markdown").arg(&markdown).arg("--html").arg(&page);
    run::checked(render)?;
    kept.point(&folder)?;
    eprintln!("bench: {:.0} s, {}", started.elapsed().as_secs_f64(), page.display());
    if arguments.publish {
        fs::copy(&markdown, workspace.root.join(PUBLISHED))?;
        eprintln!("bench: {PUBLISHED} is this report");
    }
    if !status.success() {
        bail!("gates were missed or sections failed; the report says which");
    }
    Ok(())
}

fn build(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["build", "--release", "--package", "snakepit-bench", "--bins"]);
    run::step("build", command)
}

/// A program of the benchmarks that was built.
fn program(workspace: &Workspace, name: &str) -> Command {
    workspace.command(workspace.target.join("release").join(name))
}

impl Arguments {
    /// The command that makes such a report again.
    fn command(&self) -> String {
        let mut words = vec!["cargo xtask bench".to_owned()];
        words.extend(self.sections.iter().cloned());
        let options = [("--quick", self.quick), ("--full", self.full), ("--peers", self.peers)];
        words.extend(options.iter().filter(|option| option.1).map(|option| option.0.to_owned()));
        words.join(" ")
    }
}

/// Where reports are kept: a folder for each run, numbered, and a name for the latest.
struct Kept {
    folder: PathBuf,
}

impl Kept {
    fn of(workspace: &Workspace) -> Self {
        Self { folder: workspace.target.join("bench") }
    }

    fn latest(&self) -> PathBuf {
        self.folder.join("latest")
    }

    /// A folder for a new run.
    fn begin(&self) -> Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
        let last = fs::read_dir(&self.folder)?.filter_map(|e| number(e.ok()?)).max().unwrap_or(0);
        let folder = self.folder.join(format!("{:04}", last + 1));
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    fn point(&self, folder: &Path) -> Result<()> {
        let latest = self.latest();
        if latest.is_symlink() {
            fs::remove_file(&latest)?;
        }
        let name = folder.file_name().context("a folder of ours has a name")?;
        Ok(std::os::unix::fs::symlink(name, latest)?)
    }

    /// The report that is meant by a file, a folder, or the name of a folder of ours.
    fn report(&self, named: &Path) -> PathBuf {
        let ours = self.folder.join(named);
        let place = if named.exists() { named.to_owned() } else { ours };
        if place.is_dir() { place.join("report.json") } else { place }
    }
}
