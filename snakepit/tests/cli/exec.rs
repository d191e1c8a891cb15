//! `snakepit exec`.

use crate::{last_json, run_with_input, snakepit, stderr, stdout};

#[test]
fn result_is_compact_json_where_nobody_looks() {
    let output =
        snakepit("exec", "plain.py").args(["add", r#"{"a": 5, "b": 3}"#]).output().unwrap();
    assert_eq!((stdout(&output), output.status.code()), ("8\n", Some(0)), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let output =
        snakepit("exec", "plain.py").args(["echo", r#"[{"b": [1, null], "a": "ü"}]"#]).output();
    assert_eq!(stdout(&output.unwrap()), "{\"b\":[1,null],\"a\":\"ü\"}\n", "keys keep their order");
}

#[test]
fn arguments_come_from_standard_input_and_from_a_file() {
    let output = run_with_input(snakepit("exec", "plain.py").args(["add", "-"]), "{\"a\": 1}\n");
    assert_eq!(stdout(&output), "2\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "[40, 2]").unwrap();
    let argument = format!("@{}", file.path().display());
    let output = snakepit("exec", "plain.py").args(["add", &argument]).output().unwrap();
    assert_eq!(stdout(&output), "42\n");
}

#[test]
fn integers_of_any_width_pass_unharmed() {
    let wide = "123456789012345678901234567890";
    let argument = format!("[{wide}]");
    let output = snakepit("exec", "plain.py").args(["echo", &argument]).output().unwrap();
    assert_eq!(stdout(&output).trim(), wide);
    let output =
        snakepit("exec", "plain.py").args(["power", r#"{"base": -2, "exponent": 101}"#]).output();
    assert_eq!(stdout(&output.unwrap()).trim(), "-2535301200456458802993406410752");
}

#[test]
fn stream_prints_a_line_for_each_item() {
    let output =
        snakepit("exec", "plain.py").args(["--stream", "count", r#"{"to": 3}"#]).output().unwrap();
    assert_eq!((stdout(&output), output.status.code()), ("1\n2\n3\n", Some(0)));
}

#[test]
fn progress_goes_to_standard_error() {
    let mut command = snakepit("exec", "plain.py");
    let output = command.args(["--progress", "steps", "[3]"]).output().unwrap();
    assert_eq!(stdout(&output), "3\n");
    assert!(stderr(&output).contains("3/3 step 3"), "{}", stderr(&output));
    let mut command = snakepit("exec", "plain.py");
    let output = command.args(["--progress", "--json", "steps", "[3]"]).output().unwrap();
    assert_eq!(last_json(&output)["progress"]["message"], "step 3");
}

#[test]
fn settings_come_from_a_file_and_options_change_them() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(crate::support::adapter("plain.py"), directory.path().join("local.py")).unwrap();
    let file = directory.path().join("pools.toml");
    let text = "[pool.greeters]\nadapter = 'local.py:Configured'\npython = '/nonexistent'\n\
                adapter_args = { greeting = 'hi' }\n";
    std::fs::write(&file, text).unwrap();
    let mut command = crate::support::cli();
    command.args(["exec", "--pool", "greeters", "greet", r#"["you"]"#, "--config"]).arg(&file);
    let output = command.arg("--python").arg(crate::support::python()).output().unwrap();
    assert_eq!(stdout(&output), "\"hi you\"\n", "{}", stderr(&output));
}

#[test]
fn deadline_ends_the_call() {
    let mut command = snakepit("exec", "plain.py");
    let output = command.args(["--json", "--timeout", "200ms", "nap", "[30]"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(last_json(&output)["error"]["kind"], "call_timeout");
}

#[test]
fn a_call_may_name_its_worker() {
    let call = |worker: &str| {
        let mut command = snakepit("exec", "plain.py");
        command.args(["--workers", "2", "--worker", worker, "--json", "add", "[5, 3]"]);
        command.output().unwrap()
    };
    assert_eq!(stdout(&call("default.1.0")), "8\n");
    let gone = call("default.2.0");
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(last_json(&gone)["error"]["kind"], "worker_not_found");
}
