//! Real Python workers start, serve and stop.

mod support;

use std::time::Duration;

use serde_json::json;
use snakepit_core::{CancelReason, ErrorKind, Profile, WorkerExit};
use snakepit_profile_process::ProcessOptions;
use support::{call, profile, python, rough, start};

#[tokio::test]
async fn a_worker_serves_calls_and_errors_and_stops_when_asked() {
    let options = ProcessOptions::new(python(), "snakepit.showcase");
    let worker = start(options).await.unwrap();
    let info = worker.info();
    assert_eq!(info.id.as_str(), "pool.0.0");
    assert!(info.tools.iter().any(|tool| tool.name == "add"));
    assert!(info.metadata["python.version"].starts_with("3."));

    let sum: i64 = call(&worker, "add", json!({"a": 2, "b": 3})).value().await;
    assert_eq!(sum, 5);
    let arguments = json!({"kind": "ValueError", "message": "on purpose"});
    let error = call(&worker, "error", arguments).error().await;
    assert_eq!(error.kind(), ErrorKind::Python);
    assert!(error.python().unwrap().is_a("ValueError"));
    let error = call(&worker, "no such tool", json!({})).error().await;
    assert_eq!(error.kind(), ErrorKind::UnknownCommand);

    let large = "x".repeat(3_000_000);
    let echoed: String = call(&worker, "echo", json!({"value": large})).value().await;
    assert_eq!(echoed, large);

    let exit = worker.stop(Duration::from_secs(20)).await;
    assert!(matches!(exit, WorkerExit::Stopped), "{exit:?}");
    assert!(matches!(worker.exited().await, WorkerExit::Stopped));
}

#[tokio::test]
async fn a_call_cancelled_while_its_arguments_are_sent_leaves_the_link_whole() {
    let worker = start(ProcessOptions::new(python(), "snakepit.showcase")).await.unwrap();
    let large = "x".repeat(32 << 20);
    let sent = call(&worker, "echo", json!({"value": large}));
    worker.cancel(sent.id(), CancelReason::Dropped);
    worker.flush();
    let sum: i64 = call(&worker, "add", json!({"a": 2, "b": 3})).value().await;
    assert_eq!(sum, 5);
    let error = sent.error().await;
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let sum: i64 = call(&worker, "add", json!({"a": 3, "b": 4})).value().await;
    assert_eq!(sum, 7);
}

#[tokio::test]
async fn adapter_arguments_and_environment_arrive() {
    let mut options = rough();
    options.worker.adapter_args = json!({"greeting": "grüß dich"}).as_object().cloned();
    options.worker.env = vec![
        ("DEVICE".to_owned(), "{index}".to_owned()),
        ("OMP_NUM_THREADS".to_owned(), "4".to_owned()),
    ];
    let worker = profile(options).start(support::seat(3)).await.unwrap();
    assert_eq!(call(&worker, "greet", json!({})).value::<String>().await, "grüß dich");
    for (name, value) in [
        ("DEVICE", Some("3")),
        ("OMP_NUM_THREADS", Some("4")),
        ("OPENBLAS_NUM_THREADS", Some("1")),
        ("SNAKEPIT_PYTHONPATH_ADDED", None),
    ] {
        let found: Option<String> =
            call(&worker, "environment", json!({"name": name})).value().await;
        assert_eq!(found.as_deref(), value, "{name}");
    }
}

#[tokio::test]
async fn a_package_outside_the_interpreter_is_found_and_not_handed_on() {
    // An interpreter of its own, which has no worker package.
    let directory = tempfile::tempdir().unwrap();
    let made = std::process::Command::new(python())
        .args(["-m", "venv", "--without-pip"])
        .arg(directory.path())
        .status();
    assert!(made.unwrap().success());
    let bare = directory.path().join("bin/python");
    let mut options = rough();
    options.worker.python.clone_from(&bare);
    let error = start(options.clone()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::WorkerPackageMissing, "{error:?}");
    assert!(error.help().unwrap().contains("snakepit setup"));

    let place = "import os, snakepit; print(os.path.dirname(os.path.dirname(snakepit.__file__)))";
    let place = std::process::Command::new(python()).args(["-c", place]).output().unwrap();
    options.worker.worker_package = Some(String::from_utf8(place.stdout).unwrap().trim().into());
    let worker = start(options).await.unwrap();
    assert_eq!(call(&worker, "greet", json!({})).value::<String>().await, "hello");
    for name in ["PYTHONPATH", "SNAKEPIT_PYTHONPATH_ADDED"] {
        let found: Option<String> =
            call(&worker, "environment", json!({"name": name})).value().await;
        assert_eq!(found, std::env::var(name).ok(), "{name} is not for the adapter's children");
    }
}
