//! The command as users run it, against real Python.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod bad_settings;
mod compat;
mod config;
mod doctor;
mod errors;
mod exec;
mod interrupted;
mod logs;
mod map;
mod python;
mod setup;
mod tools;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A command line with the test interpreter and one of the test adapters.
fn snakepit(command: &str, adapter: &str) -> Command {
    let mut line = support::cli();
    line.args([command, "--adapter", &support::adapter(adapter), "--python"]);
    line.arg(support::python());
    line
}

/// The free-threaded interpreter to test with.
fn free_threaded() -> std::path::PathBuf {
    let path = match std::env::var_os("SNAKEPIT_TEST_PYTHON_FREE_THREADED") {
        Some(path) => path.into(),
        None => {
            let venvs = support::python().ancestors().nth(3).unwrap().to_owned();
            venvs.join("free-threaded/bin/python")
        }
    };
    assert!(path.exists(), "{} is not there: run `cargo xtask setup`", path.display());
    path
}

/// A command's whole standard output, as JSON.
fn json(output: &Output) -> Value {
    serde_json::from_str(stdout(output))
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

/// The finding on a topic, among those of `doctor` and `python validate`.
fn finding<'a>(whole: &'a Value, topic: &str) -> &'a Value {
    let found = whole["findings"].as_array().unwrap();
    found.iter().find(|finding| finding["topic"] == topic).unwrap_or_else(|| panic!("{whole}"))
}

/// Runs a command with this text on standard input.
fn run_with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // The command may end without reading it all.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The last line of standard error, as JSON.
fn last_json(output: &Output) -> Value {
    let line = stderr(output).lines().last().expect("something on standard error");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
