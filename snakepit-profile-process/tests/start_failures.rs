//! A worker that does not become ready says why, at once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use snakepit_core::{ErrorKind, Phase};
use snakepit_profile_process::ProcessOptions;
use support::{Sign, adapter, python, rough, start};

/// A script in the interpreter's place.
fn impostor(script: &str) -> (tempfile::TempDir, ProcessOptions) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("python");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (directory, ProcessOptions::new(path, "adapter"))
}

#[tokio::test]
async fn an_adapter_that_raises_brings_its_exception() {
    let options = ProcessOptions::new(python(), adapter("broken.py"));
    let error = start(options).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed, "{error:?}");
    assert_eq!(error.python().unwrap().type_name, "RuntimeError");
    assert_eq!(error.python().unwrap().message, "not today");
    assert_eq!(error.details()["worker"], "pool.0.0");
}

#[tokio::test]
async fn an_adapter_that_does_not_exist_is_named() {
    let options = ProcessOptions::new(python(), "no_such_module:Adapter");
    let error = start(options).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed, "{error:?}");
    assert!(error.message().contains("no_such_module"), "{error}");
}

#[tokio::test]
async fn an_interpreter_that_does_not_exist_is_named() {
    let error = start(ProcessOptions::new("/nowhere/python", "adapter")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InterpreterNotFound);
}

#[tokio::test]
async fn an_early_exit_is_told_with_its_code_and_stderr() {
    let (_directory, options) = impostor("echo first >&2; echo 'last words' >&2; exit 9");
    let error = start(options).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.message().contains("exited with code 9"), "{error}");
    assert!(error.message().contains("last words"), "{error}");
    assert_eq!(error.details()["stderr"], "first\nlast words");
}

#[tokio::test]
async fn a_worker_that_says_nothing_runs_into_the_timeout_and_is_ended() {
    use std::io::Read;
    let sign = Sign::new();
    let (_directory, mut options) = impostor("exec 9>$SIGN; echo waiting >&2; exec sleep 1000");
    options.worker.env = vec![("SIGN".to_owned(), sign.path().to_str().unwrap().to_owned())];
    options.worker.start_timeout = Duration::from_secs(1);
    let (error, mut alive) = tokio::join!(start(options), sign.opened());
    let error = error.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Start));
    assert_eq!(error.details()["stderr"], "waiting");
    // The pipe ends when the process that holds it does.
    let end = tokio::task::spawn_blocking(move || alive.read(&mut [0]).unwrap());
    assert_eq!(tokio::time::timeout(support::LONG, end).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn closing_the_link_without_a_word_is_told_with_the_exit() {
    let (_directory, options) = impostor("exec 3>&-; echo odd >&2; exit 4");
    let error = start(options).await.err().unwrap();
    assert!(error.message().contains("exited with code 4"), "{error}");
}

#[tokio::test]
async fn a_worker_that_cannot_find_its_directory_is_told_so() {
    let mut options = rough();
    options.worker.cwd = Some("/nowhere".into());
    assert_eq!(start(options).await.err().unwrap().kind(), ErrorKind::InvalidConfig);
}
