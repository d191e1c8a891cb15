//! `snakepit compat`. What is known is checked in the compat crate; here, that commands ask for it
//! and end as they should.

use std::process::Output;

use crate::support::{self, cli};
use crate::{free_threaded, json, stderr, stdout};

fn compat(arguments: &[&str]) -> Output {
    cli().arg("compat").args(arguments).output().unwrap()
}

#[test]
fn check_ends_well_only_for_libraries_that_are_known_to_be_safe() {
    assert_eq!(compat(&["check", "numpy", "scikit_learn"]).status.code(), Some(0));
    for library in ["pandas", "lxml", "numpy==2.0.0", "no-such-library"] {
        let output = compat(&["check", "numpy", library]);
        assert_eq!(output.status.code(), Some(1), "{library}: {}", stdout(&output));
        assert!(stdout(&output).contains("because"), "{}", stdout(&output));
    }
    assert_eq!(
        compat(&["check", "--profile", "process", "no-such-library"]).status.code(),
        Some(0)
    );
    assert_eq!(compat(&["check", "--abi", "cp312", "lxml"]).status.code(), Some(0));
    for wrong in [["check", "--abi=t314", "numpy"], ["check", "--profile=fibre", "numpy"]] {
        assert_eq!(compat(&wrong).status.code(), Some(2));
    }
    assert_eq!(compat(&["check", "../x"]).status.code(), Some(2));
}

#[test]
fn check_tells_programs_all_that_is_known() {
    let output = compat(&["check", "--json", "lxml==6.1.3"]);
    let verdict = &json(&output)[0];
    assert_eq!((&verdict["rating"], &verdict["abi"]), (&"unsupported".into(), &"cp314t".into()));
    assert_eq!(verdict["library"]["import"]["module"], "lxml.etree", "{verdict}");
}

#[test]
fn list_can_be_narrowed() {
    let output = compat(&["list"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).lines().count() > 45, "{}", stdout(&output));
    let output = compat(&["list", "--json", "--gil", "on", "--wheels"]);
    let names: Vec<String> = json(&output)
        .as_array()
        .unwrap()
        .iter()
        .map(|library| library["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.contains(&"lxml".to_owned()), "{names:?}");
    assert!(!names.contains(&"numpy".to_owned()), "{names:?}");
}

#[test]
fn report_reads_files_names_and_environments() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("requirements.txt");
    std::fs::write(&file, "numpy==2.5.5\nlxml>=6 # old habit\n-e .\n").unwrap();
    let output = compat(&["report", "-r", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    let order = ["lxml", "numpy", "not looked at: -e ."].map(|part| text.find(part).unwrap());
    assert!(order.is_sorted(), "{text}");

    let output = compat(&["report", "--json", "numpy", "requests"]);
    assert_eq!((output.status.code(), &json(&output)["rating"]), (Some(0), &"safe".into()));

    // What tests and examples use is installed in both environments, under their own ABIs.
    for (interpreter, free) in [(support::python(), false), (free_threaded(), true)] {
        let interpreter = interpreter.to_str().unwrap().to_owned();
        let output = compat(&["report", "--json", "--installed", "--python", &interpreter]);
        let report = json(&output);
        let abi = report["abi"].as_str().unwrap();
        assert_eq!(abi.ends_with('t'), free, "{abi}");
        let verdicts = report["verdicts"].as_array().unwrap();
        let numpy = verdicts.iter().find(|verdict| verdict["name"] == "numpy").unwrap();
        assert!(numpy["version"].is_string(), "{numpy}");
        assert!(verdicts.iter().all(|verdict| verdict["name"] != "snakepit-worker"), "{report}");
    }
}

#[test]
fn report_on_nothing_or_on_what_is_no_file_is_wrong_usage() {
    assert_eq!(compat(&["report"]).status.code(), Some(2));
    let output = compat(&["report", "-r", "/nonexistent/requirements.txt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nonexistent/requirements.txt"), "{}", stderr(&output));
}
