//! What the command says when something is wrong, and its exit codes.

use crate::support::{adapter, cli};
use crate::{last_json, snakepit, stderr, stdout};

#[test]
fn exception_is_shown_with_its_traceback() {
    let output =
        snakepit("exec", "plain.py").args(["fail", r#"{"message": "as asked"}"#]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    for expected in
        ["Traceback (most recent call last)", "plain.py", "KeyError", "ValueError: as asked"]
    {
        assert!(stderr(&output).contains(expected), "{expected}: {}", stderr(&output));
    }
}

#[test]
fn the_line_that_raised_is_shown_with_its_causes_and_the_members_of_a_group() {
    let show = |name: &str| {
        let mut command = snakepit("exec", "raising.py");
        let output = command.args(["run", &format!("[\"{name}\", false]")]).output().unwrap();
        let text = stderr(&output).to_owned();
        // Below the traceback as Python prints it.
        text[text.find("python\n").unwrap_or_else(|| panic!("{text}"))..].to_owned()
    };
    let caused = show("caused");
    let raised = caused.find("raised in `caused`").unwrap_or_else(|| panic!("{caused}"));
    let cause = caused.find("raised in `plain`").unwrap_or_else(|| panic!("{caused}"));
    assert!(raised != cause && caused.contains("ValueError: ('as asked', 7)"), "{caused}");
    assert!(caused.contains("raising.py:") && caused.contains("raise ValueError"), "{caused}");
    let group = show("group");
    for expected in ["raised in `group`", "RuntimeError: for a reason", "inner", "second note"] {
        // Notes belong to the traceback alone.
        assert_eq!(group.contains(expected), expected != "second note", "{expected}: {group}");
    }
}

#[test]
fn for_programs_the_error_is_one_object() {
    let mut command = snakepit("exec", "plain.py");
    let output = command.args(["--json", "fail", r#"{"message": "as asked"}"#]).output().unwrap();
    assert_eq!(stderr(&output).lines().count(), 1);
    let error = &last_json(&output)["error"];
    assert_eq!((&error["kind"], &error["category"]), (&"python".into(), &"python".into()));
    assert_eq!((&error["severity"], &error["retry"]), (&"major".into(), &"failover".into()));
    assert_eq!(error["python"]["kind"], "value_error");
    assert_eq!(error["python"]["cause"]["type_name"], "KeyError");
    let read: snakepit::Error = serde_json::from_value(error.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&read).unwrap(), error);
}

#[test]
fn unknown_command_suggests_the_nearest() {
    let output = snakepit("exec", "plain.py").arg("ad").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("unknown_command"), "{}", stderr(&output));
    assert!(stderr(&output).contains("did you mean `add`?"), "{}", stderr(&output));
}

#[test]
fn wrong_usage_settings_and_input_exit_with_two() {
    let code = |arguments: &[&str]| cli().args(arguments).output().unwrap().status.code();
    let plain = adapter("plain.py");
    assert_eq!(code(&["exec", "--nonsense"]), Some(2));
    assert_eq!(code(&["exec", "add"]), Some(2), "no adapter");
    assert_eq!(code(&["exec", "--adapter", &plain, "add", "{oops"]), Some(2));
    assert_eq!(code(&["exec", "--adapter", &plain, "--timeout", "5", "add"]), Some(2));
    assert_eq!(code(&["exec", "--adapter", "/nonexistent/a.py", "add"]), Some(2));
    assert_eq!(code(&["map", "--adapter", &plain, "add", "/nonexistent/input"]), Some(2));

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "[pool.default]\nadapter = 'a.py'\nworker = 1\nqueue = 'x'\n").unwrap();
    let output = cli().args(["exec", "add", "--config"]).arg(file.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    for expected in ["3:1", "did you mean `workers`?", "4:9", "expected a whole number"] {
        assert!(stderr(&output).contains(expected), "{expected}: {}", stderr(&output));
    }
}

#[test]
fn pool_that_cannot_start_exits_with_three() {
    let output = snakepit("exec", "import_error.py").arg("anything").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    for expected in ["import_error.py", "no weights on this machine", "adapter_failed"] {
        assert!(stderr(&output).contains(expected), "{expected}: {}", stderr(&output));
    }
    let mut command = cli();
    command.args(["exec", "--adapter", &adapter("plain.py"), "--python", "/nonexistent", "add"]);
    assert_eq!(command.output().unwrap().status.code(), Some(3));
}

#[test]
fn output_of_workers_is_shown_when_asked_for() {
    let run = |verbose: &[&str]| {
        let mut command = snakepit("exec", "misbehaving.py");
        command.args(verbose).args(["shout", "[3]"]).output().unwrap()
    };
    let quiet = run(&[]);
    assert_eq!((stdout(&quiet), stderr(&quiet)), ("3\n", ""));
    assert!(stderr(&run(&["-v"])).contains("line 2"));
}
