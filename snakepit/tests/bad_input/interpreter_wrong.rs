//! A program that is no Python, and a Python that is too old.

use std::os::unix::fs::PermissionsExt;

use snakepit::{Error, ErrorKind};

use crate::support::{builder, start_error};

fn error_with_interpreter(script: &str) -> Error {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("python");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    start_error(builder("plain.py").python(path))
}

#[test]
fn shell_script_is_no_interpreter_and_what_it_said_is_shown() {
    let error = error_with_interpreter("#!/bin/sh\necho this is not python\n");
    assert_eq!(error.kind(), ErrorKind::InterpreterUnsupported);
    assert!(error.message().contains("this is not python"), "{error}");
}

#[test]
fn interpreter_that_crashes_is_named_with_its_signal() {
    let error = error_with_interpreter("#!/bin/sh\nkill -SEGV $$\n");
    assert_eq!(error.kind(), ErrorKind::InterpreterUnsupported);
    assert!(error.message().contains("11"), "{error}");
}
