//! The thread-safety checker in real workers: asked for by the pool's environment, heard of by the
//! caller, on stderr and in a file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use snakepit_core::ErrorKind;
use snakepit_core::testkit::Told;
use snakepit_profile_process::{ProcessOptions, StartMethod};
use support::{adapter, call, python, start};

fn shared(check: &str, report: &tempfile::TempDir) -> ProcessOptions {
    let mut options = ProcessOptions::new(python(), adapter("shared.py:Shared"));
    options.worker.env = vec![
        ("SNAKEPIT_THREAD_CHECK".to_owned(), check.to_owned()),
        ("SNAKEPIT_THREAD_REPORT".to_owned(), report.path().display().to_string()),
    ];
    options
}

/// The one report that was written.
fn report(directory: &tempfile::TempDir) -> Value {
    let files: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [path] = &files[..] else { panic!("not one report but {files:?}") };
    assert!(path.display().to_string().contains("thread-check-Shared-"), "{path:?}");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn a_strict_worker_fails_the_call_and_reports_both_stacks() {
    for method in [StartMethod::Zygote, StartMethod::Spawn] {
        let directory = tempfile::tempdir().unwrap();
        let mut options = shared("strict", &directory);
        options.start = method;
        let worker = start(options).await.unwrap();
        assert_eq!(call(&worker, "careful", json!({})).value::<u32>().await, 1);
        let error = call(&worker, "careless", json!({})).error().await;
        assert_eq!(error.kind(), ErrorKind::Python);
        let raised = error.python().unwrap();
        assert!(raised.is_a("ThreadSafetyError"), "{raised:?}");
        assert!(raised.message.contains("two threads use `total`"), "{}", raised.message);
        assert!(raised.frames.iter().all(|frame| frame.file.ends_with("shared.py")), "{raised:?}");
        // Before the worker ends, because it may be killed.
        let found = report(&directory);
        assert_eq!(found["findings"][0]["name"], "total");
        assert_eq!(found["findings"][0]["first"]["locks"], json!(["state"]));
        let stack = &found["findings"][0]["second"]["stack"];
        assert_eq!(stack.as_array().unwrap().last().unwrap()["function"], "careless");
        worker.stop(Duration::from_secs(20)).await;
    }
}

#[tokio::test]
async fn a_warning_worker_answers_and_says_it_on_stderr() {
    let told = Told::default();
    let _listening = told.listen();
    let directory = tempfile::tempdir().unwrap();
    let worker = start(shared("warn", &directory)).await.unwrap();
    assert_eq!(call(&worker, "careless", json!({})).value::<u32>().await, 1);
    worker.stop(Duration::from_secs(20)).await;
    let told = told.text();
    for part in ["ThreadSafetyWarning", "two threads use `total`", "in careless", "in _add"] {
        assert!(told.contains(part), "no `{part}` in: {told}");
    }
    assert_eq!(report(&directory)["mode"], "warn");
}

#[tokio::test]
async fn a_mode_that_does_not_exist_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let error = start(shared("always", &directory)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    assert!(error.message().contains("`always`"), "{error}");
    assert!(error.help().unwrap().contains("warn or strict"), "{error:?}");
}
