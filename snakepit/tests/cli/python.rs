//! `snakepit python`, on interpreters of both kinds.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{cli, python};
use crate::{finding, free_threaded, json, stderr, stdout};

fn run(arguments: &[&str], interpreter: &Path) -> Output {
    cli().arg("python").args(arguments).arg("--python").arg(interpreter).output().unwrap()
}

/// What the compat crate tests with: it answers as that version does.
fn stand_in(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../snakepit-compat/tests/programs").join(name)
}

#[test]
fn interpreters_of_both_kinds_are_told_apart_by_asking_them() {
    let mut command = cli();
    command.args(["python", "detect"]);
    command.env("SNAKEPIT_PYTHON", python()).env("SNAKEPIT_PYTHON_FREE_THREADED", free_threaded());
    let output = command.arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let all = json(&output);
    let named = |place: &str| -> Value {
        let found = all.as_array().unwrap().iter().find(|one| one["place"] == place);
        found.unwrap_or_else(|| panic!("{all}")).clone()
    };
    let ordinary = named("SNAKEPIT_PYTHON");
    assert_eq!(ordinary["interpreter"]["gil_enabled"], true);
    assert_eq!(ordinary["virtual_environment"], true);
    let free = named("SNAKEPIT_PYTHON_FREE_THREADED");
    assert_eq!(
        (&free["interpreter"]["free_threaded"], &free["interpreter"]["gil_enabled"]),
        (&true.into(), &false.into())
    );
    assert!(free["abi_tag"].as_str().unwrap().ends_with('t'), "{free}");

    // The same build with its GIL on is not free of it.
    let output = command.env("PYTHON_GIL", "1").output().unwrap();
    let found = json(&output).as_array().unwrap().clone();
    let free = found.iter().find(|one| one["place"] == "SNAKEPIT_PYTHON_FREE_THREADED").unwrap();
    assert_eq!(free["interpreter"]["gil_enabled"], true);
}

#[test]
fn threads_are_recommended_where_interpreter_cores_and_libraries_allow() {
    let recommended = |interpreter: &Path, arguments: &[&str]| {
        let output = run(&[&["recommend", "--json"], arguments].concat(), interpreter);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        json(&output)
    };
    let free = free_threaded();
    let found = recommended(&free, &["--cores", "4", "numpy", "requests"]);
    assert_eq!(found["profile"], "thread", "{found}");
    let found = recommended(&free, &["--cores", "4", "numpy", "pandas"]);
    assert_eq!(found["profile"], "process");
    assert!(found["reasons"][0].as_str().unwrap().starts_with("pandas"), "{found}");
    assert_eq!(recommended(&free, &["--cores", "1", "numpy"])["profile"], "process");
    assert_eq!(recommended(&python(), &["--cores", "4", "numpy"])["profile"], "process");
}

#[test]
fn environment_of_each_kind_is_ready_for_its_profile() {
    let output = run(&["validate", "--json"], &python());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(finding(&json(&output), "worker package")["level"], "fine");

    let thread = ["validate", "--profile", "thread", "--json"];
    let output = run(&thread, &free_threaded());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(finding(&json(&output), "free threading")["level"], "fine");

    // It serves there, and says what is missing.
    let output = run(&thread, &python());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let whole = json(&output);
    let found = finding(&whole, "free threading");
    assert_eq!(found["level"], "warning");
    assert!(found["remedy"].as_str().unwrap().contains("setup --free-threaded"), "{found}");
}

#[test]
fn environment_without_the_worker_package_is_told_how_to_get_it() {
    let directory = tempfile::tempdir().unwrap();
    let environment = directory.path().join("env");
    let mut make = Command::new(python());
    make.args(["-m", "venv", "--without-pip"]).arg(&environment);
    assert!(make.status().unwrap().success());
    let mut command = cli();
    command.args(["python", "validate", "--python"]).arg(environment.join("bin/python"));
    let output = command.env("SNAKEPIT_CACHE_DIR", directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("snakepit setup --python"), "{}", stdout(&output));
    assert!(stdout(&output).ends_with("not ready: 1 fatal\n"), "{}", stdout(&output));
}

#[test]
fn interpreter_that_does_not_serve_is_a_finding_with_its_remedy() {
    for (program, remedy) in [("python-3.13t", "3.14"), ("python-3.10", "3.11 or later")] {
        let output = run(&["validate", "--profile", "thread", "--json"], &stand_in(program));
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let whole = json(&output);
        let found = finding(&whole, "interpreter");
        assert_eq!(found["level"], "fatal");
        assert!(found["remedy"].as_str().unwrap().contains(remedy), "{found}");
    }
}
