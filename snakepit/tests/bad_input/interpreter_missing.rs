//! An interpreter that is not there, or is not a program.

use snakepit::ErrorKind;

use crate::support::{builder, start_error};

#[test]
fn path_without_an_interpreter_is_named() {
    let error = start_error(builder("plain.py").python("/nonexistent/python3"));
    assert_eq!(error.kind(), ErrorKind::InterpreterNotFound);
    assert!(error.message().contains("/nonexistent/python3"), "{error}");
}

#[test]
fn name_that_is_not_on_the_path_is_named() {
    let error = start_error(builder("plain.py").python("no-such-python"));
    assert_eq!(error.kind(), ErrorKind::InterpreterNotFound);
    assert!(error.message().contains("no-such-python"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("SNAKEPIT_PYTHON")), "{error:?}");
}

#[test]
fn file_that_may_not_be_run_is_no_interpreter() {
    let error = start_error(builder("plain.py").python(crate::support::adapter("plain.py")));
    assert_eq!(error.kind(), ErrorKind::InterpreterNotFound);
    assert!(error.message().contains("not an executable"), "{error}");
}
