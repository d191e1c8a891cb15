//! Compares two builds of `snakepit-drive`: takes samples of both in turn, in pairs, from fresh
//! processes, and has the statistics judge. Knows nothing of how the builds were made.
//!
//! Invariant: a change blocks only when it was found twice, the second time with the order of each
//! pair swapped, so that who comes first cannot be the reason.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use crate::bounds::GateRules;
use crate::report::{Better, Table};
use crate::stats::{Verdict, judge};

/// How long a sample is to take: long beside a scheduler's turn, short beside a machine's mood.
const SAMPLE_US: f64 = 60_000.0;
/// Calls before anything is measured of a process.
const WARM_UP: usize = 300;
/// Samples of each process, of which the median counts.
const SAMPLES: usize = 3;

/// One build.
#[derive(Clone, Debug)]
pub struct Build {
    /// Its `snakepit-drive`.
    pub drive: PathBuf,
    /// An interpreter with its worker package.
    pub python: PathBuf,
    /// The adapter, the same for both.
    pub adapter: PathBuf,
    /// Variables of its process.
    pub variables: Vec<(String, String)>,
}

/// What came of one workload.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The workload's id.
    pub workload: String,
    /// Both builds' samples, of the last look at it.
    pub table: Table,
    /// What was found, and what was found with the order swapped if the first was a slowdown.
    pub verdicts: Vec<Verdict>,
}

impl Outcome {
    /// Whether head may not land like this.
    pub fn blocks(&self) -> bool {
        self.verdicts.len() == 2 && self.verdicts.iter().all(|verdict| verdict.slower)
    }
}

/// Measures each workload that has a threshold, and tells of each outcome as it comes.
///
/// # Errors
/// When a build does not run.
pub fn compare(
    base: &Build,
    head: &Build,
    rules: &GateRules,
    mut tell: impl FnMut(&Outcome),
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (workload, threshold) in &rules.thresholds {
        let (mut verdicts, mut table) = (Vec::new(), None);
        for base_first in [true, false] {
            let pairs = pairs(base, head, workload, rules.pairs, base_first)?;
            let verdict = judge(&pairs, *threshold, rules.significance);
            verdicts.push(verdict);
            table = Some(table_of(workload, &pairs));
            if !verdict.slower {
                break;
            }
        }
        let table = table.context("each workload is looked at")?;
        let outcome = Outcome { workload: workload.clone(), table, verdicts };
        tell(&outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn table_of(workload: &str, pairs: &[(f64, f64)]) -> Table {
    let mut table = Table::new(workload, "µs per call", Better::Less);
    for (base, head) in pairs {
        table.add("base", *base);
        table.add("head", *head);
    }
    table.conclude();
    table
}

/// Microseconds per call of both builds, base first, each pair from two fresh processes: where a
/// process lies in memory can make it faster for as long as it lives.
fn pairs(
    base: &Build,
    head: &Build,
    workload: &str,
    count: usize,
    base_first: bool,
) -> Result<Vec<(f64, f64)>> {
    let mut pairs = Vec::new();
    for pair in 0..count {
        let (mut one, mut other) = (Drive::start(base)?, Drive::start(head)?);
        let calls = one.calls(workload)?.min(other.calls(workload)?);
        let (mut base_us, mut head_us) = (Vec::new(), Vec::new());
        for sample in 0..SAMPLES {
            // Who comes first changes with each pair and each sample of it.
            if ((pair + sample) % 2 == 0) == base_first {
                base_us.push(one.sample(workload, calls)?);
                head_us.push(other.sample(workload, calls)?);
            } else {
                head_us.push(other.sample(workload, calls)?);
                base_us.push(one.sample(workload, calls)?);
            }
        }
        pairs.push((crate::stats::median(&base_us), crate::stats::median(&head_us)));
    }
    Ok(pairs)
}

/// A running build.
struct Drive {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    program: PathBuf,
}

impl Drive {
    fn start(build: &Build) -> Result<Self> {
        let mut command = Command::new(&build.drive);
        command.arg(&build.python).arg(&build.adapter).envs(build.variables.iter().cloned());
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let program = build.drive.clone();
        let mut child = spawned.with_context(|| format!("{} does not start", program.display()))?;
        let orders = Some(child.stdin.take().context("no stdin")?);
        let answers = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, orders, answers, program })
    }

    /// How many calls make a sample, after some that warm up.
    fn calls(&mut self, workload: &str) -> Result<usize> {
        let us = self.sample(workload, WARM_UP)?;
        Ok((SAMPLE_US / us) as usize + 1)
    }

    fn sample(&mut self, workload: &str, calls: usize) -> Result<f64> {
        #[derive(Deserialize)]
        struct Answer {
            us_per_call: f64,
        }
        let orders = self.orders.as_mut().context("it was stopped")?;
        let gone = || format!("{} ended in the middle", self.program.display());
        writeln!(orders, "{}", json!({"workload": workload, "calls": calls})).with_context(gone)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Answer = serde_json::from_str(&line).with_context(gone)?;
        Ok(answer.us_per_call)
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // It ends when there are no more orders; killed, its workers would have to notice.
        self.orders = None;
        // Its samples have been read: how it ends is of no interest.
        let _ = self.child.wait();
    }
}

/// Instructions of one call, as callgrind counts them: of many calls less those of few, so that
/// starting and ending do not count. None where there is no valgrind.
///
/// # Errors
/// When the program does not run, or callgrind says nothing that can be read.
pub fn instructions(count: &Path) -> Result<Option<f64>> {
    const FEW: u64 = 200;
    const MANY: u64 = 1_200;
    let collected = |calls: u64| -> Result<Option<u64>> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        let output = match command.arg(count).arg(calls.to_string()).output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            output => output?,
        };
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find_map(|line| line.split_once("Collected :"));
        let said = || format!("callgrind did not count: {}", text.trim());
        Ok(Some(line.with_context(said)?.1.trim().parse().with_context(said)?))
    };
    let (few, many) = (collected(FEW)?, collected(MANY)?);
    let calls = (MANY - FEW) as f64;
    Ok(few.zip(many).map(|(few, many)| (many as f64 - few as f64) / calls))
}
