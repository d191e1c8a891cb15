//! Probing real interpreters, and programs that misbehave in every way seen so far.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use snakepit_compat::{Interpreter, ProbeError, Version};

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

fn refusal(name: &str) -> ProbeError {
    Interpreter::probe(program(name)).expect_err("this program is no usable interpreter")
}

#[test]
fn real_interpreter_describes_itself() {
    let python = Interpreter::probe("python3").unwrap();
    assert_eq!(python.implementation, "cpython");
    assert!(python.version >= Version { major: 3, minor: 11, micro: 0 }, "{}", python.version);
    let soabi = python.soabi.as_deref().unwrap();
    let digits = python.abi_tag().replace("cp", "");
    assert!(soabi.contains(&format!("-{digits}-")), "{soabi} against {digits}");
    assert!(python.platform.contains(std::env::consts::ARCH), "{}", python.platform);
}

#[test]
fn executable_is_the_real_one_and_not_a_shim() {
    let python = Interpreter::probe("python3").unwrap();
    let again = Interpreter::probe(&python.executable).unwrap();
    assert_eq!(again, python);
    // A shim is a script; the real executable is a binary.
    let head = std::fs::read(&python.executable).unwrap();
    assert_ne!(&head[..2], b"#!", "{}", python.executable.display());
}

#[test]
fn virtual_environment_keeps_its_own_path() {
    let base = Interpreter::probe("python3").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let environment = dir.path().canonicalize().unwrap().join("env");
    let made = Command::new(&base.executable)
        .args(["-m", "venv", "--without-pip"])
        .arg(&environment)
        .status()
        .unwrap();
    assert!(made.success());

    let python = Interpreter::probe(environment.join("bin/python")).unwrap();
    assert!(python.is_virtual_environment());
    assert_eq!(python.executable, environment.join("bin/python"));
    assert_eq!(python.prefix, environment);
    assert!(!python.base_executable.starts_with(&environment));
    assert_eq!(python.version, base.version);
}

#[test]
fn own_worker_package_is_reported_but_a_folder_of_that_name_is_not() {
    let base = Interpreter::probe("python3").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let environment = dir.path().join("env");
    let made = Command::new(&base.executable)
        .args(["-m", "venv", "--without-pip"])
        .arg(&environment)
        .status()
        .unwrap();
    assert!(made.success());
    let (major, minor) = (base.version.major, base.version.minor);
    let site = environment.join(format!("lib/python{major}.{minor}/site-packages"));

    let probe = || Interpreter::probe(environment.join("bin/python")).unwrap().worker_package;
    std::fs::create_dir(site.join("snakepit")).unwrap();
    assert_eq!(probe(), None);
    std::fs::write(site.join("snakepit/__init__.py"), "").unwrap();
    assert_eq!(probe().unwrap().canonicalize().unwrap(), site.canonicalize().unwrap());
}

#[test]
fn free_threaded_build_is_told_from_the_answer_and_not_from_the_version() {
    let python = Interpreter::probe(program("python-3.14t")).unwrap();
    assert!(python.free_threaded && !python.gil_enabled);
    assert_eq!((python.abi_tag().as_str(), python.wheel_abi().as_str()), ("cp314t", "cp314t"));
    assert_eq!(python.executable, Path::new("/opt/python3.14t"));
}

#[test]
fn missing_and_unusable_files_are_told_apart() {
    assert!(matches!(refusal("nothing-here"), ProbeError::NotFound(_)));
    assert!(matches!(refusal("no-program"), ProbeError::NotExecutable(_)));
    let by_name = Interpreter::probe("no-such-python-anywhere").unwrap_err();
    assert!(matches!(by_name, ProbeError::NotFound(name) if name == "no-such-python-anywhere"));
}

#[test]
fn program_that_is_not_python_is_quoted() {
    let error = refusal("not-python");
    assert!(
        matches!(&error, ProbeError::NotPython { output, .. } if output == "unknown option: -c")
    );
    assert!(error.to_string().contains("CPython 3.11"), "{error}");
}

#[test]
fn old_versions_are_refused_with_the_version_that_is_needed() {
    for (name, shown) in [("python-2.7", "2.7.18"), ("python-3.10", "3.10.4")] {
        let error = refusal(name);
        assert!(matches!(error, ProbeError::UnsupportedVersion { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(shown) && text.contains("3.11 or later"), "{text}");
    }
}

#[test]
fn free_threaded_3_13_is_refused_with_the_remedy() {
    let error = refusal("python-3.13t");
    assert!(matches!(error, ProbeError::UnsupportedFreeThreading { .. }), "{error}");
    assert!(error.to_string().contains("python3.14t"), "{error}");
}

#[test]
fn other_implementations_are_refused_by_name() {
    let error = refusal("pypy");
    assert!(
        matches!(&error, ProbeError::UnsupportedImplementation { implementation, .. } if implementation == "pypy")
    );
}

#[test]
fn crashing_interpreter_is_reported_with_its_signal() {
    assert!(matches!(refusal("crashes"), ProbeError::Crashed { signal: 11, .. }));
}

#[test]
fn hanging_interpreter_is_killed_with_its_children_at_the_limit() {
    let started = Instant::now();
    let error = refusal("hangs");
    assert!(matches!(error, ProbeError::TimedOut { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(13), "{:?}", started.elapsed());
}
