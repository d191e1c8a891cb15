//! A tool that writes to standard output, which carries nothing of ours.

use serde_json::json;

use crate::support::{assert_serves, start, stop, wait};

#[test]
fn output_of_a_tool_disturbs_nothing() {
    let snakepit = start("misbehaving.py");
    // More than a pipe holds, so an unread one would block the worker.
    let lines: u32 = wait(snakepit.execute("shout", json!({"lines": 20_000}))).unwrap();
    assert_eq!(lines, 20_000);
    assert_serves(&snakepit);
    stop(snakepit);
}
