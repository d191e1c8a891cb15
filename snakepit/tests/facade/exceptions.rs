//! Exceptions of Python's as errors of Rust's: nothing that Python would tell is lost.

use snakepit::{Error, ErrorKind, PythonKind, RetryAdvice, Severity, Snakepit};

use crate::support::{start, stop, wait};

fn raised(snakepit: &Snakepit, name: &str) -> Error {
    wait(snakepit.execute::<()>("run", (name, false))).unwrap_err()
}

fn error(snakepit: &Snakepit, tool: &str) -> Error {
    wait(snakepit.execute::<()>(tool, ())).unwrap_err()
}

#[test]
fn tracebacks_read_as_pythons_own() {
    let snakepit = start("raising.py");
    for name in [
        "plain",
        "noted",
        "caused",
        "while_handling",
        "suppressed",
        "caused_elsewhere",
        "group",
        "group_with_cause",
    ] {
        let expected: String = wait(snakepit.execute("run", (name, true))).unwrap();
        let error = raised(&snakepit, name);
        let traceback = error.python().unwrap().traceback();
        assert_eq!(traceback.trim_end(), expected, "{name}");
        let form = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<Error>(&form).unwrap(), error, "{name}");
    }
    stop(snakepit);
}

#[test]
fn an_exception_has_its_type_arguments_frames_and_notes() {
    let snakepit = start("raising.py");
    let error = raised(&snakepit, "plain");
    assert_eq!((error.kind(), error.severity()), (ErrorKind::Python, Severity::Major));
    assert_eq!(error.advice(), RetryAdvice::Failover);
    assert_eq!(error.python_kind(), Some(PythonKind::ValueError));
    let exception = error.python().unwrap();
    assert_eq!(exception.args, ["'as asked'", "7"]);
    assert!(exception.is_a("Exception"), "{:?}", exception.bases);
    let last = exception.frames.last().unwrap();
    assert!(last.file.ends_with("raising.py") && last.line > 0, "{last:?}");
    assert_eq!((&*last.function, &*last.source), ("plain", "raise ValueError(\"as asked\", 7)"));
    let noted = raised(&snakepit, "noted");
    assert_eq!(noted.python().unwrap().notes, ["first note", "second note,\nof two lines"]);
    assert_eq!(noted.python_kind(), Some(PythonKind::KeyError));
    stop(snakepit);
}

#[test]
fn exceptions_that_misbehave_are_described_all_the_same() {
    let snakepit = start("raising.py");
    let odd = error(&snakepit, "odd");
    let exception = odd.python().unwrap();
    assert_eq!((&*exception.type_name, &*exception.message), ("OddError", "<unprintable>"));
    let circular = error(&snakepit, "circular");
    let second = circular.python().unwrap().cause.as_ref().unwrap();
    assert_eq!((&*second.message, &second.cause), ("second", &None));
    assert_serves_run(&snakepit);
    stop(snakepit);
}

/// Without a limit in all, 32 members to a group on 12 levels would be told one by one, and the `repr`
/// of the outermost group's arguments alone would never end.
#[test]
fn a_crowd_of_exceptions_is_told_within_limits() {
    let snakepit = start("raising.py");
    let error = wait(snakepit.execute::<()>("crowd", (40, 12))).unwrap_err();
    let exception = error.python().unwrap();
    assert!(exception.notes.iter().any(|note| note.contains("left out")), "{:?}", exception.notes);
    let form = serde_json::to_string(&error).unwrap();
    assert!(form.len() < 4 << 20, "{}", form.len());

    let deep = wait(snakepit.execute::<()>("recurse", [500])).unwrap_err();
    let frames = &deep.python().unwrap().frames;
    assert_eq!(frames.len(), 16 + 1 + 48);
    assert!(frames[16].function.contains("frames left out"), "{:?}", frames[16]);
    assert_serves_run(&snakepit);
    stop(snakepit);
}

fn assert_serves_run(snakepit: &Snakepit) {
    assert!(wait(snakepit.execute::<String>("run", ("plain", true))).unwrap().contains("as asked"));
}
