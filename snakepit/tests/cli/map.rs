//! `snakepit map`.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::{last_json, run_with_input, snakepit, stderr, stdout};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn results_keep_the_order_of_the_input() {
    // Each tenth call is slow, so those behind it end before it.
    let seconds = |n: i32| {
        if n % 10 == 0 { 0.2 } else { 0.001 * f64::from(n) }
    };
    let input: String = (0..40).map(|n| format!("[{}]\n", seconds(n))).collect();
    let mut command = snakepit("map", "plain.py");
    command.args(["--workers", "3", "--concurrency", "8", "nap"]);
    let output = run_with_input(&mut command, &input);
    let slept: Vec<f64> =
        lines(stdout(&output)).iter().map(|line| line.as_f64().unwrap()).collect();
    assert_eq!(slept, (0..40).map(seconds).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert!(said.contains("40 done, 0 failed"), "{said}");
}

#[test]
fn failures_keep_their_line_and_are_collected() {
    let directory = tempfile::tempdir().unwrap();
    let failures = directory.path().join("failures.jsonl");
    let input = "[1]\n{oops\n\n{\"a\": \"x\"}\n[2, 3]\n";
    let mut command = snakepit("map", "plain.py");
    command.args(["--json", "--workers", "1", "add", "--failures"]).arg(&failures);
    let output = run_with_input(&mut command, input);
    assert_eq!(output.status.code(), Some(1));

    let out = lines(stdout(&output));
    assert_eq!((out.len(), &out[0], &out[3]), (4, &Value::from(2), &Value::from(5)));
    assert_eq!((&out[1]["line"], &out[2]["line"]), (&Value::from(2), &Value::from(4)));
    assert_eq!(out[2]["error"]["details"]["parameter"], "a");

    let failed = lines(&std::fs::read_to_string(&failures).unwrap());
    assert_eq!((&failed[0]["line"], &failed[0]["input"]), (&2.into(), &"{oops".into()));
    assert_eq!(failed[1]["input"], serde_json::json!({"a": "x"}));

    let summary = &last_json(&output)["summary"];
    assert_eq!(
        (&summary["done"], &summary["failed"], &summary["workers"]),
        (&2.into(), &2.into(), &1.into())
    );
    assert!(summary["latency_ms"]["p99"].as_f64().unwrap() > 0.0, "{summary}");
}

#[test]
fn many_short_calls_go_through() {
    let input: String = (0..20_000).map(|n| format!("[{n}]\n")).collect();
    let mut command = snakepit("map", "plain.py");
    let output = run_with_input(command.args(["--workers", "2", "add"]), &input);
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(stdout(&output), expected, "{}", stderr(&output));
}

#[test]
fn resumed_run_completes_the_output() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in"), directory.path().join("out"));
    std::fs::write(&input, (0..10).map(|n| format!("[{n}]\n")).collect::<String>()).unwrap();
    // Six complete lines and half of the seventh, as an interrupted run leaves them.
    std::fs::write(&output, "1\n2\n3\n4\n5\n6\n7").unwrap();
    let map = |options: &[&str]| {
        let mut command = snakepit("map", "plain.py");
        command.args(["--json", "--workers", "1", "--output"]).arg(&output);
        command.args(options).arg("add").arg(&input).output().unwrap()
    };
    let refused = map(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(last_json(&refused)["error"]["help"].as_str().unwrap().contains("--resume"));

    let resumed = map(&["--resume"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    let summary = &last_json(&resumed)["summary"];
    assert_eq!((&summary["skipped"], &summary["done"]), (&6.into(), &4.into()));

    assert_eq!(last_json(&map(&["--resume"]))["summary"]["done"], 0, "nothing is left to do");
    assert_eq!(last_json(&map(&["--overwrite"]))["summary"]["done"], 10);
}

#[test]
fn results_appear_while_the_input_is_still_open() {
    let mut child = snakepit("map", "plain.py")
        .args(["--workers", "1", "add"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    for n in 0..3 {
        writeln!(stdin, "[{n}]").unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        assert_eq!(line, format!("{}\n", n + 1));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn reader_that_goes_away_ends_the_run_quietly() {
    let mut child = snakepit("map", "plain.py")
        .args(["--workers", "1", "add"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // Never ends by itself; writing fails once the command is gone.
    while stdin.write_all(b"[1]\n").is_ok() {}
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert!(
        !stderr(&output).contains("error") && !stderr(&output).contains("panic"),
        "{}",
        stderr(&output)
    );
}
