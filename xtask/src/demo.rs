//! `cargo xtask demo`: the command line at work on real data, from a fresh checkout. Owns the three
//! commands, an example with pools of both profiles, and the check of what they gave; the example
//! adapters own the work.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;
use crate::setup::{self, Interpreters};
use crate::workspace::{Venv, Workspace};

const ADAPTER: &str = "examples/digits/adapter.py:DigitsClassifier";
/// What the command line ends with when a call failed.
const CALL_FAILED: i32 = 1;
/// scikit-learn documents 0.97 for this model and split; less means that answers went astray.
const ACCURACY_FLOOR: f64 = 0.95;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    run::announce("setup");
    setup::run(workspace, Interpreters::Both)?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "snakepit", "--bins", "--example", "profiles"]);
    run::step("building the command line and an example", build)?;

    let files = workspace.made.join("demo");
    fs::create_dir_all(&files)?;
    let (calls, labels) = (files.join("held-out.jsonl"), files.join("labels.txt"));
    let predictions = files.join("predictions.jsonl");
    let mut held_out = workspace.command(workspace.program(Venv::Gil, "python"));
    held_out.arg("examples/digits/held_out.py").arg(&calls).arg(&labels);
    run::checked(held_out)?;

    let mut map = snakepit(workspace, "map");
    map.args(["--workers", "2", "--overwrite", "--output"])
        .arg(&predictions)
        .arg("predict")
        .arg(&calls);
    show("a model in two workers answers a file of calls", &map);
    run::checked(map)?;
    report_accuracy(&predictions, &labels)?;

    let mut stream = snakepit(workspace, "exec");
    stream.args(["--stream", "--progress", "evaluate"]);
    show("a tool streams its results, and how far it is", &stream);
    run::checked(stream)?;

    let mut broken = snakepit(workspace, "exec");
    broken.args(["predict", r#"{"pixels": [1, 2, 3]}"#]);
    show("a Python error arrives with its traceback (this call is meant to fail)", &broken);
    let status = broken.status().context("the command line does not start")?;
    if status.code() != Some(CALL_FAILED) {
        bail!("a call that raises must end with exit code {CALL_FAILED}, not with {status}");
    }
    println!("\nexit code {CALL_FAILED}, as it should be");

    println!("\n── the same work in a pool of processes and in one of threads, in one program");
    let example = workspace.target.join("release").join("examples").join("profiles");
    let mut profiles = workspace.command(example);
    profiles.args([Venv::Gil, Venv::FreeThreaded].map(|venv| workspace.program(venv, "python")));
    run::checked(profiles)
}

fn snakepit(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = workspace.command(workspace.target.join("release").join("snakepit"));
    command
        .args([subcommand, "--adapter", ADAPTER, "--python"])
        .arg(workspace.program(Venv::Gil, "python"));
    command
}

/// Prints a command as a user would type it.
fn show(what: &str, command: &Command) {
    let mut line = "snakepit".to_owned();
    let mut arguments = command.get_args().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if argument == "--python" {
            arguments.next();
            continue;
        }
        let quote = if argument.contains([' ', '{']) { "'" } else { "" };
        let argument = match Path::new(argument.as_ref()) {
            path if path.is_absolute() => path.file_name().unwrap_or_default().to_string_lossy(),
            _ => argument.as_ref().into(),
        };
        line.push_str(&format!(" {quote}{argument}{quote}"));
    }
    println!("\n── {what}\n$ {line}");
}

fn report_accuracy(predictions: &Path, labels: &Path) -> Result<()> {
    let predictions = fs::read_to_string(predictions)?;
    let labels = fs::read_to_string(labels)?;
    let (count, expected) = (predictions.lines().count(), labels.lines().count());
    if count != expected {
        bail!("{expected} calls gave {count} results");
    }
    let right = predictions.lines().zip(labels.lines()).filter(|(a, b)| a.trim() == *b).count();
    let accuracy = right as f64 / expected as f64;
    println!("accuracy on {expected} held-out images: {:.2} %", accuracy * 100.0);
    if accuracy < ACCURACY_FLOOR {
        bail!("the accuracy is below {ACCURACY_FLOOR}: answers do not belong to their calls");
    }
    Ok(())
}
