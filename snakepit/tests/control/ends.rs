//! How a host ends, and what it leaves behind: nothing.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use serde_json::{Value, json};

use crate::{Host, Place, is_alive, parent, signal, until};

#[test]
fn a_signal_ends_it_in_good_order() {
    for name in ["TERM", "INT"] {
        let place = Place::new();
        let host = place.run("demo.toml", &[("default", "plain.py", 2)]);
        let pids = place.pids(&[]);
        host.signal(name);
        let (status, rest) = host.end();
        assert_eq!(status.code(), Some(0), "{name}");
        assert_eq!(rest, format!("stopping: SIG{name}\nstopped\n"));
        assert!(!place.socket("demo").exists());
        assert!(!pids.into_iter().any(is_alive));
    }
}

#[test]
fn a_drained_host_ends() {
    let place = Place::new();
    let host = place.run("demo.toml", &[("a", "plain.py", 1), ("b", "plain.py", 1)]);
    let pids = place.pids(&[]);
    assert_eq!(place.prints(&["drain"]), "drained a, b\n");
    let (status, rest) = host.end();
    assert_eq!((status.code(), rest.as_str()), (Some(0), "stopping: drained\nstopped\n"));
    assert!(!place.socket("demo").exists() && !pids.into_iter().any(is_alive));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = Place::new();
    let mut host = place.run_with(
        "demo.toml",
        &[("default", "slow_to_end.py:Slow", 1)],
        &["--shutdown-timeout", "50s"],
    );
    let pids = place.pids(&[]);
    host.signal("TERM");
    assert_eq!(host.line(), "stopping: SIGTERM\n");
    assert!(is_alive(pids[0]), "its teardown takes a minute");
    let stats = place.json(&["stats"]);
    assert_eq!(stats["pools"][0]["state"], "draining", "it can be watched while it ends");
    host.signal("TERM");
    let (status, rest) = host.end();
    assert_eq!((status.code(), rest.as_str()), (Some(143), ""));
    assert!(!place.socket("demo").exists());
    until("the worker goes with its host", || !pids.iter().copied().any(is_alive));
}

#[test]
fn a_signal_while_it_starts_ends_it() {
    let place = Place::new();
    let settings = place.settings("demo.toml", &[("default", "slow_to_start.py", 1)]);
    let mut command = place.cli(&["run", "--config", settings.to_str().unwrap()]);
    let host = Host::spawn(&mut command, place.path().join("log"));
    until("the socket is open", || place.socket("demo").exists());
    let error = place.error(4, &["workers"]);
    assert_eq!(error["message"], "the host is starting");
    host.signal("INT");
    let (status, rest) = host.end();
    assert_eq!((status.code(), rest.as_str()), (Some(130), ""));
    assert!(!place.socket("demo").exists());
}

#[test]
fn workers_that_do_not_end_in_time_are_ended() {
    let place = Place::new();
    let more = ["--shutdown-timeout", "1s"];
    let host = place.run_with("demo.toml", &[("default", "slow_to_end.py:Slow", 1)], &more);
    let pids = place.pids(&[]);
    host.signal("TERM");
    // No call was cut off.
    let (status, _) = host.end();
    assert_eq!(status.code(), Some(0));
    assert!(!pids.into_iter().any(is_alive));
}

/// Nobody calls a tool of such a host, so no call of it can be cut off; but its zygote is the only
/// one who can say that a worker is gone.
#[test]
fn a_host_that_cannot_end_in_good_order_says_so_and_leaves_nothing() {
    let place = Place::new();
    let more = ["--shutdown-timeout", "1s", "--json"];
    let mut host = place.run_with("demo.toml", &[("default", "plain.py", 1)], &more);
    let worker = place.pids(&[])[0];
    let zygote = parent(worker);
    assert_ne!(zygote, host.child.id(), "it was forked");
    signal(zygote, "STOP");
    host.signal("TERM");
    assert!(host.line().contains("SIGTERM"));
    assert_eq!(host.line(), "{\"stopped\":{\"in_order\":false}}\n");
    let log = host.log.clone();
    assert_eq!(host.end().0.code(), Some(1));
    let log = std::fs::read_to_string(log).unwrap();
    let error: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["kind"], "drain_timeout", "{log}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("were not gone after 1s"), "{message}");
    until("both are gone", || !is_alive(worker) && !is_alive(zygote));
    assert!(!place.socket("demo").exists());
}

#[test]
fn a_killed_host_leaves_a_socket_that_its_successor_takes() {
    let place = Place::new();
    let pools = [("default", "plain.py", 1)];
    let host = place.run("demo.toml", &pools);
    let pids = place.pids(&[]);
    host.signal("KILL");
    host.end();
    until("the worker goes with its host", || !pids.iter().copied().any(is_alive));
    assert!(place.socket("demo").exists(), "nobody was left to remove it");
    let error = place.error(4, &["workers"]);
    assert!(error["message"].as_str().unwrap().starts_with("no host runs"), "{error}");
    let error = place.error(4, &["workers", "--instance", "demo"]);
    assert_eq!(error["message"], "no host named `demo` runs");
    let host = place.run("demo.toml", &pools);
    assert_eq!(place.pids(&[]).len(), 1);
    host.signal("TERM");
    host.end();
    assert!(!place.socket("demo").exists());
}

#[test]
fn for_programs_its_life_is_one_object_a_line() {
    let place = Place::new();
    let pools = [("default", "plain.py", 1), ("broken", "import_error.py", 1)];
    let mut host = place.run_with("demo.toml", &pools, &["--json"]);
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let ready = &event(&host.ready)["ready"];
    assert_eq!((&ready["instance"], &ready["pid"]), (&json!("demo"), &json!(host.child.id())));
    assert_eq!(ready["socket"], place.socket("demo").to_str().unwrap());
    assert_eq!(ready["pools"], json!([{"pool": "default", "workers": 1}]));
    assert_eq!(ready["failed"][0]["pool"], "broken");
    assert_eq!(ready["failed"][0]["error"]["kind"], "adapter_failed");
    host.signal("TERM");
    assert_eq!(event(&host.line()), json!({"stopping": {"reason": "SIGTERM"}}));
    assert_eq!(event(&host.line()), json!({"stopped": {"in_order": true}}));
    let log = host.log();
    let logged: Vec<Value> = log.lines().map(event).collect();
    let is_ready = |line: &&Value| line["message"] == "worker ready";
    let worker = logged.iter().find(is_ready).unwrap_or_else(|| panic!("{log}"));
    assert_eq!((&worker["pool"], &worker["level"]), (&json!("default"), &json!("INFO")));
}

#[test]
fn the_service_manager_is_told() {
    let place = Place::new();
    let manager = UnixDatagram::bind(place.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let told = || {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let settings = place.settings("demo.toml", &[("default", "plain.py", 1)]);
    let mut command = place.cli(&["run", "--config", settings.to_str().unwrap()]);
    command.env("NOTIFY_SOCKET", place.path().join("notify"));
    let host = Host::spawn(&mut command, place.path().join("log"));
    assert_eq!(told(), "READY=1");
    host.signal("TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(host.end().0.code(), Some(0));
}

#[test]
fn as_pid_1_it_hears_signals() {
    let place = Place::new();
    let settings = place.settings("demo.toml", &[("default", "plain.py", 1)]);
    let run = place.cli(&["run", "--config", settings.to_str().unwrap()]);
    // A process namespace of its own, as in a container; the user namespace is for those who are not
    // root.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]);
    command.arg(run.get_program()).args(run.get_args());
    command.env("XDG_RUNTIME_DIR", place.path()).env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
    let mut host = Host::spawn(&mut command, place.path().join("log"));
    let ready = host.line();
    assert!(ready.starts_with("ready"), "does `unshare` work here? {}", host.log());
    let unshare = host.child.id();
    let children = format!("/proc/{unshare}/task/{unshare}/children");
    let init: u32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    assert!(status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")));
    signal(init, "TERM");
    let (status, rest) = host.end();
    assert_eq!((status.code(), rest.as_str()), (Some(0), "stopping: SIGTERM\nstopped\n"));
}
