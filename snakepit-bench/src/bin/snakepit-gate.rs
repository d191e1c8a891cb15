//! `snakepit-gate`: says whether head is slower than base, given builds of both. `cargo xtask
//! perf-gate` makes them; the bounds are those of `perf.toml`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use snakepit_bench::bounds::{Bounds, GateRules};
use snakepit_bench::gate::{self, Build, Outcome};
use snakepit_bench::report::{Bound, Gate, Part, Report, Run, Section};

#[derive(Parser)]
#[command(about = "Compares two builds, and fails when head is slower than perf.toml allows")]
struct Options {
    /// The folder with base's snakepit-drive and snakepit-count.
    #[arg(long)]
    base: PathBuf,
    /// An interpreter with base's worker package.
    #[arg(long)]
    base_python: PathBuf,
    /// The folder with head's.
    #[arg(long)]
    head: PathBuf,
    /// An interpreter with head's worker package.
    #[arg(long)]
    head_python: PathBuf,
    /// The adapter that both run.
    #[arg(long)]
    adapter: PathBuf,
    /// Write a report to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let rules = Bounds::read()?.gate;
    let build = |folder: &PathBuf, python: &PathBuf| Build {
        drive: folder.join("snakepit-drive"),
        python: python.clone(),
        adapter: options.adapter.clone(),
        variables: Vec::new(),
    };
    let base = build(&options.base, &options.base_python);
    let head = build(&options.head, &options.head_python);
    let mut part = Part { title: "Head against base".to_owned(), ..Part::default() };
    let mut failures = Vec::new();
    instructions(&options, &rules, &mut part, &mut failures)?;
    let outcomes = gate::compare(&base, &head, &rules, tell)?;
    for outcome in outcomes {
        part.gates.push(judged(&outcome, &rules));
        part.tables.push(outcome.table);
    }
    let blocked = part.gates.iter().any(|gate| !gate.kept);
    if let Some(file) = &options.json {
        let mut report = Report::new(Run::begin(
            "cargo xtask perf-gate".to_owned(),
            &[("python", &options.head_python)],
        ));
        report.sections.push(Section {
            id: "perf-gate".to_owned(),
            command: "cargo xtask perf-gate".to_owned(),
            parts: vec![part],
            failures,
            ..Section::default()
        });
        report.write(file)?;
    }
    println!("{}", if blocked { "BLOCKED: head is slower than base" } else { "passed" });
    Ok(if blocked { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says what became of a workload as soon as that is known.
fn tell(outcome: &Outcome) {
    for (look, verdict) in outcome.verdicts.iter().enumerate() {
        let again = if look == 0 { "" } else { ", order swapped" };
        println!(
            "{}{again}: {:+.1} % per call, p = {:.4}{}",
            outcome.workload,
            100.0 * verdict.change,
            verdict.p,
            if verdict.slower { ", SLOWER" } else { "" }
        );
    }
}

/// The gate of a workload: what it costs more, unless that was chance.
fn judged(outcome: &Outcome, rules: &GateRules) -> Gate {
    let limit = rules.thresholds.get(&outcome.workload).copied().unwrap_or_default();
    let last = outcome.verdicts.last().copied();
    let change = last.map_or(f64::NAN, |verdict| verdict.change);
    let p = last.map_or(f64::NAN, |verdict| verdict.p);
    let claim = format!("{}: cost above base (p = {p:.4})", outcome.workload);
    let gate = Gate::new(&claim, change.into(), Bound::AtMost(limit));
    // A change that may be chance does not block, however large.
    Gate { kept: !outcome.blocks(), ..gate }
}

fn instructions(
    options: &Options,
    rules: &GateRules,
    part: &mut Part,
    failures: &mut Vec<String>,
) -> Result<()> {
    let counts = [&options.base, &options.head].map(|folder| folder.join("snakepit-count"));
    if !counts[0].is_file() {
        let missing = "instructions are not compared: base does not build snakepit-count";
        println!("{missing}");
        failures.push(missing.to_owned());
        return Ok(());
    }
    let [base, head] = counts.map(|count| gate::instructions(&count));
    let (Some(base), Some(head)) = (base?, head?) else {
        let missing = "instructions are not counted: `valgrind` is not on this machine";
        println!("{missing}");
        failures.push(missing.to_owned());
        return Ok(());
    };
    let change = head / base - 1.0;
    let claim = "instructions of a call through the engine, above base";
    let gate = Gate::new(claim, change.into(), Bound::AtMost(rules.instructions));
    println!(
        "engine/call: {base:.0} instructions in base, {head:.0} in head ({:+.2} %){}",
        100.0 * change,
        if gate.kept { "" } else { ", MORE than allowed" }
    );
    part.gates.push(gate);
    Ok(())
}
