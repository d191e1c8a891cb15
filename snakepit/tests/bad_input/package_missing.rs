//! An interpreter without the worker package.

use std::process::Command;

use snakepit::ErrorKind;

use crate::support::{builder, python, start_error};

#[test]
fn environment_without_the_package_says_how_to_install_it() {
    let directory = tempfile::tempdir().unwrap();
    let environment = directory.path().join("venv");
    // Made from the interpreter under the test environment, whose own packages it does not see.
    let made = Command::new(python())
        .args(["-c", "import subprocess, sys; sys.exit(subprocess.call([sys._base_executable, *sys.argv[1:]]))"])
        .args(["-m", "venv", "--without-pip"])
        .arg(&environment)
        .status()
        .unwrap();
    assert!(made.success());
    let python = environment.join("bin/python");

    // A package in the user's cache would serve: this environment has none of any kind.
    let output = crate::support::cli()
        .env("SNAKEPIT_CACHE_DIR", directory.path().join("cache"))
        .env_remove("SNAKEPIT_WORKER_PACKAGE")
        .args(["exec", "--json", "--adapter", &crate::support::adapter("plain.py"), "--python"])
        .arg(&python)
        .arg("echo")
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(said["error"]["kind"], "worker_package_missing", "{said}");
    let help = said["error"]["help"].as_str().unwrap();
    assert!(help.contains("snakepit setup --python") && help.contains("venv/bin/python"), "{help}");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn directory_that_holds_no_package_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let pool = builder("plain.py").default_pool(|pool| pool.worker_package(directory.path()));
    let error = start_error(pool);
    assert_eq!(error.kind(), ErrorKind::WorkerPackageMissing);
    assert!(error.message().contains(directory.path().to_str().unwrap()), "{error}");
}
