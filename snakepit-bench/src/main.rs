//! `snakepit-load`: the load benchmark. Each section prints what it measures and what that is
//! compared with, and goes into a report; several sections run one after the other, each in a process
//! of its own, so that none finds what another has left behind. A gate that is missed, or a section
//! that fails, makes the exit code 1.

mod alloc;
mod prompt;
mod sections;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use snakepit_bench::report::{self, Report};
use snakepit_bench::workload::Setting;

use sections::{Run, Section};

/// Samples of each contender unless it is said: enough for an interval, and for a run of everything in
/// less than half an hour.
const SAMPLES: usize = 5;

#[derive(Parser)]
#[command(about = "Measures Snakepit beside what Python offers by itself")]
struct Options {
    /// Sections to run; all of them if none is named.
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// Write the report to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The interpreter; by default the environment that `cargo xtask setup` made.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The interpreter without a GIL; by default from the other environment that setup made.
    #[arg(long)]
    free_threaded: Option<PathBuf>,
    /// Workers in each pool.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Samples of each contender.
    #[arg(long, default_value_t = SAMPLES)]
    samples: usize,
    /// Fewer and shorter samples.
    #[arg(long)]
    quick: bool,
    /// Others beside us, too.
    #[arg(long)]
    peers: bool,
    /// The interpreter that has their packages; by default the environment that `cargo xtask bench
    /// --peers` made.
    #[arg(long)]
    peers_python: Option<PathBuf>,
    /// How the report says it can be made again; by default this command.
    #[arg(long, hide = true)]
    reproduce: Option<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let setting = options.setting()?;
    let pythons = [("python", setting.python.as_path())];
    let free_threaded =
        setting.free_threaded.as_deref().map(|python| ("python-free-threaded", python));
    let pythons: Vec<(&str, &Path)> = pythons.into_iter().chain(free_threaded).collect();
    let command = options.reproduce.clone().unwrap_or_else(|| options.command(&options.sections));
    let mut report = Report::new(report::Run::begin(command, &pythons));
    let sections = if options.sections.is_empty() {
        Section::all(options.peers)
    } else {
        options.sections.clone()
    };
    let begin = Instant::now();
    for (place, section) in sections.iter().enumerate() {
        let began = Instant::now();
        let mut measured = if let [only] = sections[..] {
            in_this_process(&options, &setting, only)?
        } else {
            eprintln!(
                "── {}/{}: {} ({:.0} s so far)",
                place + 1,
                sections.len(),
                section.name(),
                begin.elapsed().as_secs_f64()
            );
            in_a_process(&options, *section)?
        };
        measured.id = section.name();
        measured.command = options.command(&[*section]);
        measured.seconds = began.elapsed().as_secs_f64();
        report.sections.push(measured);
        report.run.seconds = begin.elapsed().as_secs_f64();
        // After each section: a run that is ended early keeps what it has.
        options.json.as_deref().map(|file| report.write(file)).transpose()?;
    }
    if let Some(beside) = report::original::section(&report)? {
        report.sections.push(beside);
        options.json.as_deref().map(|file| report.write(file)).transpose()?;
    }
    Ok(verdict(&report))
}

/// Measures a section here.
fn in_this_process(
    options: &Options,
    setting: &Setting,
    section: Section,
) -> Result<report::Section> {
    let (samples, scale) = if options.quick { (3, 0.3) } else { (options.samples, 1.0) };
    let mut run = Run::new(setting.clone(), samples, scale);
    run.peers = options.peers_python.clone().or_else(peers_environment);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Err(error) = runtime.block_on(section.run(&mut run)) {
        run.failure(&format!("{error:#}"));
    }
    Ok(run.section)
}

/// Has a process of its own measure a section; whatever becomes of it, there is something to report.
fn in_a_process(options: &Options, section: Section) -> Result<report::Section> {
    let directory = std::env::temp_dir().join(format!("snakepit-load-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let file = directory.join(format!("{}.json", section.name()));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(options.arguments(&[section])).arg("--json").arg(&file);
    let status = command.status().context("the section's process does not start")?;
    let mut reported =
        Report::read(&file).ok().and_then(|report| report.sections.into_iter().next());
    std::fs::remove_dir_all(&directory)?;
    let measured = reported.get_or_insert_default();
    // A missed gate or a failure also gives 1, and is in the report.
    if !status.success() && status.code() != Some(1) || measured.parts.is_empty() {
        measured.failures.push(format!("the section's process ended with {status}"));
    }
    Ok(reported.unwrap_or_default())
}

fn verdict(report: &Report) -> ExitCode {
    let missed = report.gates().filter(|(_, gate)| !gate.kept);
    let missed = missed.map(|(section, gate)| format!("missed: {}: {}", section.id, gate.claim));
    let failed = report.failures();
    let failed = failed.map(|(section, failure)| format!("failed: {}: {failure}", section.id));
    let lines: Vec<String> = missed.chain(failed).collect();
    if lines.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\n{} missed or failed:\n{}", lines.len(), lines.join("\n"));
    ExitCode::FAILURE
}

impl Options {
    fn setting(&self) -> Result<Setting> {
        let python = match &self.python {
            Some(python) => python.clone(),
            None => environment("gil").context(
                "no environment for the benchmarks: run `cargo xtask setup`, or name one with \
                 --python",
            )?,
        };
        let free_threaded = self.free_threaded.clone().or_else(|| environment("free-threaded"));
        Ok(Setting { python, free_threaded, workers: self.workers })
    }

    /// What has been said on the command line, for other sections.
    fn arguments(&self, sections: &[Section]) -> Vec<String> {
        let mut arguments: Vec<String> = sections.iter().map(|section| section.name()).collect();
        for (name, path) in [
            ("--python", &self.python),
            ("--free-threaded", &self.free_threaded),
            ("--peers-python", &self.peers_python),
        ] {
            if let Some(path) = path {
                arguments.extend([name.to_owned(), path.display().to_string()]);
            }
        }
        for (name, value, default) in
            [("--workers", self.workers, 2), ("--samples", self.samples, SAMPLES)]
        {
            if value != default {
                arguments.extend([name.to_owned(), value.to_string()]);
            }
        }
        arguments.extend(self.quick.then(|| "--quick".to_owned()));
        arguments
    }

    /// The command that does it again.
    fn command(&self, sections: &[Section]) -> String {
        let program = "cargo run --release -p snakepit-bench --bin snakepit-load --".to_owned();
        let words = std::iter::once(program).chain(self.arguments(sections));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// The interpreter with the peers' packages.
fn peers_environment() -> Option<PathBuf> {
    let python =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-peers/bin/python"));
    python.exists().then(|| python.to_owned())
}

/// The interpreter of an environment that setup made, which is always below the checkout.
fn environment(name: &str) -> Option<PathBuf> {
    let made = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/snakepit/venvs"));
    let python = made.join(name).join("bin/python");
    python.exists().then_some(python)
}
