//! What a settings file says of the host itself, under options and environment; and how the commands
//! find it by the same.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Host, Place, parent, signal, support, until};

/// Writes a settings file with a table `host` and one pool.
fn file(place: &Place, name: &str, host: &str, adapter: &str, pool: &str) -> PathBuf {
    let path = place.path().join(name);
    let (adapter, class) = adapter.split_once(':').unwrap_or((adapter, ""));
    let class = if class.is_empty() { String::new() } else { format!(":{class}") };
    let text = format!(
        "[host]\n{host}\n[pool.default]\nadapter = '{}{class}'\npython = '{}'\nworkers = 1\n{pool}\n",
        support::adapter(adapter),
        support::python().display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts `snakepit run` and gives what it says when it is ready.
fn run(place: &Place, file: &Path, more: &[&str], env: &[(&str, &str)]) -> (Host, Value) {
    let mut command = place.cli(&["run", "--json", "--config", file.to_str().unwrap()]);
    command.args(more).envs(env.iter().copied());
    let mut host = Host::spawn(&mut command, place.path().join("host.log"));
    let line = host.line();
    let told: Value =
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}{}", host.log()));
    (host, told["ready"].clone())
}

/// How many workers a command sees.
fn sees(place: &Place, arguments: &[&str], env: &[(&str, &str)]) -> usize {
    let mut command = place.cli(arguments);
    let output = command.arg("--json").envs(env.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().len()
}

#[test]
fn host_instance() {
    let place = Place::new();
    let file = file(&place, "demo.toml", "instance = 'of-file'", "plain.py", "");
    let config = file.to_str().unwrap();
    let (_first, ready) = run(&place, &file, &[], &[]);
    assert_eq!(ready["instance"], "of-file");
    assert_eq!(ready["socket"], json!(place.socket("of-file")));
    let env = [("SNAKEPIT_HOST__INSTANCE", "of-variable")];
    let (_second, ready) = run(&place, &file, &[], &env);
    assert_eq!(ready["instance"], "of-variable", "the environment is over the file");
    let (_third, ready) = run(&place, &file, &["--instance", "of-option"], &env);
    assert_eq!(ready["instance"], "of-option", "an option is over both");
    for arguments in [&["workers", "--instance", "of-option"][..], &["workers", "--config", config]]
    {
        assert_eq!(sees(&place, arguments, &[]), 1, "{arguments:?}");
    }
    assert_eq!(sees(&place, &["workers"], &env), 1, "a command reads the environment, too");
    let error = place.error(2, &["workers"]);
    assert!(error["message"].as_str().unwrap().contains("several hosts run"), "{error}");
}

#[test]
fn host_socket_dir() {
    let place = Place::new();
    let file = file(&place, "demo.toml", "socket_dir = 'sockets'", "plain.py", "");
    let (_host, ready) = run(&place, &file, &[], &[]);
    let directory = place.path().join("sockets");
    assert_eq!(ready["socket"], json!(directory.join("demo.sock")), "beside the file");
    assert!(directory.join("demo.sock").exists() && !place.socket("demo").exists());
    assert_eq!(sees(&place, &["workers", "--config", file.to_str().unwrap()], &[]), 1);
    let variable = [("SNAKEPIT_HOST__SOCKET_DIR", directory.to_str().unwrap())];
    assert_eq!(sees(&place, &["workers"], &variable), 1, "the only one there");
    assert_eq!(sees(&place, &["workers", "--instance", "demo"], &variable), 1);
    place.error(4, &["workers"]);
}

#[test]
fn host_control_socket() {
    let place = Place::new();
    let none = file(&place, "none.toml", "control_socket = 'off'", "plain.py", "");
    let (_host, ready) = run(&place, &none, &[], &[]);
    assert_eq!((&ready["instance"], &ready["socket"]), (&Value::Null, &Value::Null));
    let error = place.error(4, &["workers", "--config", none.to_str().unwrap()]);
    assert!(error["message"].as_str().unwrap().contains("no control socket"), "{error}");
    place.error(4, &["workers"]);

    let own = file(&place, "own.toml", "control_socket = './own.sock'", "plain.py", "");
    let (_own, ready) = run(&place, &own, &[], &[]);
    assert_eq!(ready["socket"], json!(place.path().join("own.sock")));
    assert_eq!(sees(&place, &["workers", "--config", own.to_str().unwrap()], &[]), 1);

    let elsewhere = place.path().join("else.sock");
    let option = ["--socket", elsewhere.to_str().unwrap()];
    let (_else, ready) = run(&place, &none, &option, &[]);
    assert_eq!(ready["socket"], json!(elsewhere), "an option is over the file");
}

#[test]
fn host_log() {
    let place = Place::new();
    let file_of = |level: &str| {
        file(&place, "demo.toml", &format!("log = '{level}'"), "plain.py", "queue = 5")
    };
    let is_told = |host: &Host| host.log().contains("worker ready");
    let path = file_of("error");
    let (host, _) = run(&place, &path, &[], &[]);
    assert!(!is_told(&host), "{}", host.log());
    file_of("info");
    let reloaded = place.json(&["reload"]);
    assert_eq!((&reloaded["host"], &reloaded["restart"]), (&json!(["host.log"]), &json!([])));
    place.prints(&["recycle", "default"]);
    until("the new level holds", || is_told(&host));
    drop(host);
    let path = file_of("error");
    let (host, _) = run(&place, &path, &["-v", "--instance", "loud"], &[]);
    assert!(is_told(&host), "an option is over the file");
    drop(host);
    let variable = [("RUST_LOG", "info")];
    let (host, _) = run(&place, &path, &["--instance", "louder"], &variable);
    assert!(is_told(&host), "the environment, too");
}

#[test]
fn host_watch() {
    let place = Place::new();
    let write = |watch: &str, queue: usize| {
        let pool = format!("queue = {queue}");
        file(&place, "demo.toml", &format!("watch = {watch}"), "plain.py", &pool)
    };
    let path = write("true", 1);
    let (mut host, _) = run(&place, &path, &[], &[]);
    write("true", 2);
    let told: Value = serde_json::from_str(&host.line()).unwrap();
    assert_eq!(told["reloaded"]["pools"][0]["keys"], json!(["queue"]));
    // It watches no more, and again when it is told to.
    write("false", 2);
    let told: Value = serde_json::from_str(&host.line()).unwrap();
    assert_eq!(told["reloaded"]["host"], json!(["host.watch"]));
    write("true", 3);
    let reloaded = place.json(&["reload"]);
    assert_eq!(reloaded["pools"][0]["outcome"], "changed", "nobody had read it: {reloaded}");
    // What was written before it watched again is read once more.
    let told: Value = serde_json::from_str(&host.line()).unwrap();
    assert_eq!(told["reloaded"]["pools"][0]["outcome"], "unchanged");
    write("true", 4);
    let told: Value = serde_json::from_str(&host.line()).unwrap();
    assert_eq!(told["reloaded"]["pools"][0]["keys"], json!(["queue"]));
}

#[test]
fn host_shutdown_timeout() {
    let place = Place::new();
    let path = file(&place, "demo.toml", "shutdown_timeout = '1100ms'", "plain.py", "");
    let (mut host, _) = run(&place, &path, &[], &[]);
    // Nobody else can say that its worker is gone.
    let zygote = parent(place.pids(&[])[0]);
    signal(zygote, "STOP");
    host.signal("TERM");
    assert!(host.line().contains("SIGTERM"));
    assert!(host.line().contains("\"in_order\":false"));
    let log = host.log.clone();
    assert_eq!(host.end().0.code(), Some(1));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.lines().last().unwrap().contains("1.1s"), "{log}");
}

#[test]
fn host_adopt_orphans() {
    let place = Place::new();
    let ledger = place.path().join("orphan");
    let pool = format!("env = {{ SNAKEPIT_TEST_LEDGER = '{}' }}", ledger.display());
    let orphan = || {
        let text = std::fs::read_to_string(&ledger).unwrap();
        parent(text.trim().parse().unwrap())
    };
    for adopt in [true, false] {
        let keys = format!("adopt_orphans = {adopt}");
        let path = file(&place, "demo.toml", &keys, "orphan.py:Parent", &pool);
        let (host, _) = run(&place, &path, &[], &[]);
        assert_eq!(orphan() == host.child.id(), adopt, "{}", orphan());
        host.signal("TERM");
        host.end();
    }
}

#[test]
fn what_only_a_restart_takes_up_is_told_of_until_then() {
    let place = Place::new();
    let path = file(&place, "demo.toml", "instance = 'one'", "plain.py", "");
    let (mut host, _) = run(&place, &path, &[], &[]);
    file(&place, "demo.toml", "instance = 'two'\nshutdown_timeout = '20s'", "plain.py", "");
    let reloaded = place.json(&["reload", "--instance", "one"]);
    let keys = json!(["host.instance", "host.shutdown_timeout"]);
    assert_eq!((&reloaded["host"], &reloaded["restart"]), (&keys, &json!(["host.instance"])));
    let again = place.json(&["reload", "--instance", "one"]);
    assert_eq!((&again["host"], &again["restart"]), (&json!([]), &json!(["host.instance"])));
    host.signal("HUP");
    let told: Value = serde_json::from_str(&host.line()).unwrap();
    assert_eq!(told["reloaded"]["restart"], json!(["host.instance"]));
    assert!(host.log().contains("waits for a restart"), "{}", host.log());
}
