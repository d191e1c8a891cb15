//! What does not work, and what is said about it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::Place;

/// A user that is not root and owns nothing.
const NOBODY: u32 = 65_534;

fn message(error: &serde_json::Value) -> &str {
    error["message"].as_str().unwrap()
}

fn help(error: &serde_json::Value) -> &str {
    error["help"].as_str().unwrap_or_else(|| panic!("no help: {error}"))
}

#[test]
fn without_a_host_there_is_nobody_to_ask() {
    let place = Place::new();
    for command in [
        &["workers"][..],
        &["stats"],
        &["recycle", "default"],
        &["scale", "default", "2"],
        &["drain"],
    ] {
        let error = place.error(4, command);
        assert!(message(&error).starts_with("no host runs"), "{error}");
        assert!(help(&error).contains("snakepit run --config FILE"), "{error}");
    }
    let error = place.error(4, &["workers", "--socket", "/nonexistent/a.sock"]);
    assert!(message(&error).contains("/nonexistent/a.sock"), "{error}");
    let output = place.output(&["workers"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("no host runs") && text.contains("help: start one"), "{text}");
}

#[test]
fn pools_and_workers_that_are_not_there_have_a_nearest() {
    let place = Place::new();
    let _host = place.run("demo.toml", &[("default", "plain.py", 1), ("vision", "plain.py", 1)]);
    for command in [
        &["workers", "visoin"][..],
        &["stats", "visoin"],
        &["recycle", "visoin"],
        &["drain", "visoin"],
    ] {
        let error = place.error(2, command);
        assert_eq!(error["kind"], "pool_not_found");
        assert_eq!(message(&error), "there is no pool named `visoin`");
        assert_eq!(help(&error), "did you mean `vision`? the pools are: default, vision");
        assert_eq!(error["details"]["pool"], "visoin");
    }
    let error = place.error(2, &["recycle", "default", "default.0.7"]);
    assert_eq!(error["kind"], "worker_not_found");
    assert_eq!(help(&error), "it may have been replaced; did you mean `default.0.0`?");
    let error = place.error(2, &["recycle", "default", "gone"]);
    assert!(help(&error).contains("list the pool's workers"), "{error}");
    assert_eq!(place.pids(&[]).len(), 2, "nothing has happened to them");
}

#[test]
fn of_several_hosts_one_must_be_named() {
    let place = Place::new();
    let one = place.run("one.toml", &[("a", "plain.py", 1)]);
    let two = place.run_with("two.toml", &[("b", "plain.py", 1)], &["--instance", "second"]);
    let error = place.error(2, &["workers"]);
    let expected = format!(
        "several hosts run: one (process {}: a); second (process {}: b)",
        one.child.id(),
        two.child.id()
    );
    assert_eq!(message(&error), expected);
    assert_eq!(help(&error), "name one with `--instance NAME`");
    assert!(place.prints(&["workers", "--instance", "second"]).contains("b.0.0"));
    let socket = place.socket("one");
    assert!(place.prints(&["workers", "--socket", socket.to_str().unwrap()]).contains("a.0.0"));
    let error = place.error(4, &["workers", "--instance", "third"]);
    assert_eq!(help(&error), "those that run are: one, second");
}

#[test]
fn a_second_host_of_the_same_name_is_refused() {
    let place = Place::new();
    let host = place.run("demo.toml", &[("default", "plain.py", 1)]);
    let settings = place.settings("demo.toml", &[("default", "plain.py", 1)]);
    let error = place.error(3, &["run", "--config", settings.to_str().unwrap()]);
    let expected = format!("another host, process {}, has the control socket", host.child.id());
    assert!(message(&error).starts_with(&expected), "{error}");
    assert!(help(&error).contains("--instance NAME"), "{error}");
    assert_eq!(place.pids(&[]).len(), 1, "the first one is as it was");
}

#[test]
fn what_cannot_run_leaves_no_socket() {
    let place = Place::new();
    let run = |settings: &str| ["run", "--config", settings].map(str::to_owned);
    let broken = place.settings("broken.toml", &[("default", "import_error.py", 1)]);
    let line = run(broken.to_str().unwrap());
    let error = place.error(3, &line.each_ref().map(String::as_str));
    assert_eq!(error["kind"], "adapter_failed");
    assert!(!place.socket("broken").exists());
    let wrong = place.path().join("wrong.toml");
    fs::write(&wrong, "[pool.default]\nadapter = 'a.py'\nworker = 1\n").unwrap();
    let line = run(wrong.to_str().unwrap());
    let error = place.error(2, &line.each_ref().map(String::as_str));
    assert!(message(&error).contains("did you mean `workers`?"), "{error}");
    assert!(!place.path().join("snakepit/wrong.sock").exists());
    place.error(2, &["run", "--config", "/nonexistent/settings.toml"]);
}

#[test]
fn names_and_paths_that_cannot_be() {
    let place = Place::new();
    let settings = place.settings("demo.toml", &[("default", "plain.py", 1)]);
    let run = ["run", "--config", settings.to_str().unwrap()];
    let error = place.error(2, &[&run[..], &["--instance", "../demo"]].concat());
    assert_eq!(message(&error), "`../demo` is no name for an instance");
    let long = place.path().join("x".repeat(100));
    let error = place.error(2, &[&run[..], &["--socket", long.to_str().unwrap()]].concat());
    assert!(message(&error).contains("and may have 107"), "{error}");
    assert!(help(&error).contains("XDG_RUNTIME_DIR"), "{error}");
    let taken = place.path().join("file");
    fs::write(&taken, "precious").unwrap();
    let error = place.error(3, &[&run[..], &["--socket", taken.to_str().unwrap()]].concat());
    assert!(message(&error).ends_with("is there already and is no socket"), "{error}");
    assert_eq!(fs::read_to_string(taken).unwrap(), "precious");
}

#[test]
fn a_directory_that_others_can_use_is_refused_by_both_sides() {
    let place = Place::new();
    let settings = place.settings("demo.toml", &[("default", "plain.py", 1)]);
    let directory = place.path().join("snakepit");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    let error = place.error(3, &["run", "--config", settings.to_str().unwrap()]);
    assert!(message(&error).ends_with("is open to other users (mode 755)"), "{error}");
    assert!(help(&error).starts_with("run `chmod 700 "), "{error}");
    let error = place.error(4, &["workers"]);
    assert!(message(&error).ends_with("is open to other users (mode 755)"), "{error}");
    // One in which others could replace the socket is refused wherever it is.
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    let socket = directory.join("own.sock");
    let error = place.error(
        3,
        &["run", "--config", settings.to_str().unwrap(), "--socket", socket.to_str().unwrap()],
    );
    assert!(message(&error).ends_with("is writable by other users (mode 777)"), "{error}");
}

/// Needs root, as CI has: only root can be two users.
#[test]
fn other_users_and_their_sockets_are_refused() {
    let own = Command::new("id").arg("-u").output().unwrap();
    assert_eq!(
        own.stdout, b"0\n",
        "run this test as root, or leave it out with --skip other_users"
    );
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let host = place.run("demo.toml", &[("default", "plain.py", 1)]);
    let socket = place.socket("demo");
    let as_nobody = |arguments: &[&str]| {
        let command = place.path().join("snakepit-command");
        if !command.exists() {
            // Where nobody can run it.
            fs::copy(env!("CARGO_BIN_EXE_snakepit"), &command).unwrap();
        }
        let mut line = Command::new(command);
        line.args(arguments).env("XDG_RUNTIME_DIR", place.path()).uid(NOBODY).gid(NOBODY);
        let output = line.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // The directory is another's.
    let (code, text) = as_nobody(&["workers"]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("belongs to user 0"), "{text}");
    // Named, the directory keeps him out.
    let (code, text) = as_nobody(&["workers", "--socket", socket.to_str().unwrap()]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("Permission denied"), "{text}");
    // Where directory and socket are opened to him, the host does.
    fs::set_permissions(socket.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let (code, text) = as_nobody(&["drain", "--socket", socket.to_str().unwrap()]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("a host serves its own user and root only"), "{text}");
    assert!(host.log().contains("another user at the control socket was refused uid=65534"));
    // A socket that is another's may not be what it seems.
    std::os::unix::fs::chown(&socket, Some(NOBODY), None).unwrap();
    let error = place.error(4, &["workers", "--socket", socket.to_str().unwrap()]);
    assert!(message(&error).ends_with("it belongs to user 65534"), "{error}");
    std::os::unix::fs::chown(&socket, Some(0), None).unwrap();
    fs::set_permissions(socket.parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(place.pids(&[]).len(), 1, "it serves as before");
}
