//! `snakepit setup`. What it installs is checked in the compat crate; here, that the command asks for
//! it and says what came of it.

use crate::support::cli;
use crate::{last_json, stderr};

#[test]
fn interpreter_that_is_not_there_is_named() {
    let output =
        cli().args(["setup", "--json", "--python", "/nonexistent/python"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let error = &last_json(&output)["error"];
    assert_eq!(error["kind"], "interpreter_not_found");
    assert!(error["message"].as_str().unwrap().contains("/nonexistent/python"), "{error}");
}

#[test]
fn directory_without_a_wheel_is_named_and_nothing_else_is_tried() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = cli();
    command.args(["setup", "--python"]).arg(crate::support::python());
    command.env("SNAKEPIT_CACHE_DIR", directory.path().join("cache"));
    let output = command.arg("--wheel").arg(directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("has no worker wheel"), "{}", stderr(&output));
}
