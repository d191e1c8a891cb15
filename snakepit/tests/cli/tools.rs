//! `snakepit tools`.

use serde_json::Value;

use crate::{snakepit, stdout};

#[test]
fn table_reads_like_functions_and_json_has_the_schemas() {
    let output = snakepit("tools", "plain.py").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let table = stdout(&output);
    let add = table.lines().find(|line| line.starts_with("add(")).unwrap();
    assert!(add.contains("add(a: integer, b: integer = 1) -> integer"), "{add}");
    assert!(add.ends_with("Adds two integers."), "{add}");
    assert!(table.contains("-> stream of integer"), "{table}");

    let output = snakepit("tools", "plain.py").arg("--json").output().unwrap();
    let tools: Vec<Value> = serde_json::from_str(stdout(&output)).unwrap();
    let add = tools.iter().find(|tool| tool["name"] == "add").unwrap();
    assert_eq!(add["parameters"]["required"], serde_json::json!(["a"]));
}
