//! Ctrl-C.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::PATIENCE;
use crate::{last_json, snakepit, stdout};

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn map_finishes_what_is_under_way_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut command = snakepit("map", "plain.py");
    command.args(["--json", "--workers", "1", "--concurrency", "2", "--output"]).arg(&out);
    let mut child = start(command.arg("nap"));
    let mut stdin = child.stdin.take().unwrap();
    let input: String = (0..100).map(|_| "[0.3]\n").collect();
    stdin.write_all(input.as_bytes()).unwrap();
    let begun = Instant::now();
    while std::fs::read_to_string(&out).unwrap_or_default().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no first result");
        std::thread::yield_now();
    }
    interrupt(&child);
    // Standard input stays open: the run must end without it.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130));
    let summary = &last_json(&output)["summary"];
    assert_eq!(summary["interrupted"], true);
    let written = std::fs::read_to_string(&out).unwrap();
    assert_eq!(written.lines().count() as u64, summary["done"].as_u64().unwrap());
    assert!((2..=6).contains(&written.lines().count()), "{written}");
    assert!(written.lines().all(|line| line == "0.3"), "{written}");
}

#[test]
fn exec_cancels_its_call() {
    let mut child =
        start(snakepit("exec", "plain.py").args(["--stream", "count", "[1000000, 0.05]"]));
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert_eq!(first, "1\n");
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(stdout(&output), "");
}
