//! `snakepit doctor`: that it finds what would keep a pool from starting, and nothing else.

use std::process::Command;

use crate::support::{adapter, cli, python};
use crate::{finding, free_threaded, json, snakepit, stderr, stdout};

#[test]
fn machine_that_runs_these_tests_is_well() {
    let output = snakepit("doctor", "plain.py").arg("--json").output().unwrap();
    let whole = json(&output);
    assert_eq!(output.status.code(), Some(0), "{whole}");
    assert_eq!(whole["ready"], true);
    for topic in ["descriptors", "memfd", "pidfd", "interpreter", "worker package", "adapter"] {
        assert_eq!(finding(&whole, topic)["level"], "fine", "{whole}");
    }
}

#[test]
fn thread_pool_is_looked_at_with_the_interpreter_that_it_takes() {
    let mut command = cli();
    command.args(["doctor", "--json", "--profile", "thread"]);
    command.env("SNAKEPIT_PYTHON", python()).env("SNAKEPIT_PYTHON_FREE_THREADED", free_threaded());
    let output = command.output().unwrap();
    let whole = json(&output);
    assert_eq!(output.status.code(), Some(0), "{whole}");
    let found = finding(&whole, "free threading");
    assert_eq!((&found["level"], &found["message"]), (&"fine".into(), &"the GIL is off".into()));
}

#[test]
fn adapter_that_does_not_import_is_fatal_in_its_own_words() {
    let output = snakepit("doctor", "import_error.py").arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let whole = json(&output);
    let found = finding(&whole, "adapter");
    assert_eq!(found["level"], "fatal");
    assert!(found["message"].as_str().unwrap().contains("no weights"), "{found}");
}

#[test]
fn interpreter_that_is_not_there_is_fatal_and_nothing_is_started_with_it() {
    let output = cli()
        .args(["doctor", "--json", "--python", "/nonexistent/python", "--adapter"])
        .arg(adapter("plain.py"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let whole = json(&output);
    assert!(finding(&whole, "interpreter")["message"].as_str().unwrap().contains("/nonexistent"));
    let topics = whole["findings"].as_array().unwrap();
    assert!(topics.iter().all(|finding| finding["topic"] != "adapter"), "{whole}");
}

#[test]
fn limit_that_is_too_low_for_the_pool_is_fatal_with_the_number_that_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("snakepit.toml");
    let pool = |name: &str, workers: usize| {
        let (adapter, python) = (adapter("plain.py"), python());
        format!("[pool.{name}]\nadapter = {adapter:?}\npython = {python:?}\nworkers = {workers}\n")
    };
    std::fs::write(&settings, pool("a", 90) + &pool("b", 10)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 128 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_snakepit")]);
    command.args(["doctor", "--config"]).arg(&settings);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("at most 128, and 100 workers need about 564"), "{text}");
    assert!(text.contains("-> raise the hard limit (`ulimit -Hn 564`"), "{text}");
    // One worker of each pool was started all the same.
    assert!(text.contains("a: adapter") && text.contains("b: adapter"), "{text}");
}

#[test]
fn settings_that_do_not_hold_are_a_finding() {
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("snakepit.toml");
    std::fs::write(&settings, "[pool.default]\nadapter = \"a.py\"\nworker = 3\n").unwrap();
    let mut command = cli();
    let output = command.args(["doctor", "--json", "--config"]).arg(&settings).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let whole = json(&output);
    let found = finding(&whole, "settings");
    assert!(found["message"].as_str().unwrap().contains("worker"), "{found}");
}
