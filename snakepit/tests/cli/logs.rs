//! What becomes of what workers print, as a pool's `logs` say.

use crate::stderr;
use crate::support::{adapter, cli, python};

/// What is told on standard error while a tool of a pool with these keys runs.
fn told(keys: &str, tool: &str, arguments: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pools.toml");
    let text = format!(
        "[pool.default]\nadapter = '{}'\npython = '{}'\n{keys}\n",
        adapter("keyed.py"),
        python().display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = cli();
    command.env("RUST_LOG", "snakepit::worker=trace").args(["exec", "--config"]).arg(&file);
    let output = command.args([tool, arguments]).output().unwrap();
    stderr(&output).to_owned()
}

const BOTH: &str = r#"{"out": ["to stdout"], "err": ["to stderr"]}"#;

#[test]
fn logs_stdout_and_stderr() {
    let level = |told: &str, line: &str| {
        let line = told.lines().find(|told| told.contains(line));
        line.map(|line| {
            let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
            *levels.iter().find(|level| line.contains(*level)).unwrap_or_else(|| panic!("{line}"))
        })
    };
    let usual = told("", "mutter", BOTH);
    assert_eq!(level(&usual, "to stdout"), Some("INFO"), "{usual}");
    assert_eq!(level(&usual, "to stderr"), Some("INFO"), "{usual}");
    let other = told("logs = { stdout = 'off', stderr = 'error' }", "mutter", BOTH);
    assert_eq!(level(&other, "to stdout"), None, "{other}");
    assert_eq!(level(&other, "to stderr"), Some("ERROR"), "{other}");
}

#[test]
fn logs_lines_per_second_and_max_line() {
    let lines: Vec<String> = (0..50).map(|n| format!("line {n}: {}", "x".repeat(200))).collect();
    let arguments = serde_json::json!({ "out": lines, "err": [] }).to_string();
    let told = told("logs = { lines_per_second = 5, max_line = '64B' }", "mutter", &arguments);
    assert!(told.contains("lines left out: more than 5 a second"), "{told}");
    assert!(told.contains("xxx … (line cut)") && !told.contains(&"x".repeat(64)), "{told}");
}

#[test]
fn logs_tail() {
    let last = r#"{"last": "that is all"}"#;
    let usual = told("", "give_up", last);
    assert!(usual.contains("last on stderr: that is all"), "{usual}");
    let none = told("logs.tail = 0", "give_up", last);
    assert!(none.contains("exit") && !none.contains("last on stderr"), "{none}");
}
