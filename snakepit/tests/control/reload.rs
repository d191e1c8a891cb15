//! A running host reads its settings file again: by command, by signal, by itself.

use std::path::Path;

use serde_json::json;

use crate::{Place, is_alive, support, until};

/// A table for each pool, with more keys.
fn text(pools: &[(&str, &str, &str)]) -> String {
    let python = support::python();
    let table = |(name, adapter, more): &(&str, &str, &str)| {
        let adapter = support::adapter(adapter);
        format!("[pool.{name}]\nadapter = '{adapter}'\npython = '{}'\n{more}\n", python.display())
    };
    pools.iter().map(table).collect()
}

/// As editors and deployments do it.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[test]
fn a_command_says_what_became_of_each_pool() {
    let place = Place::new();
    let file = place.path().join("demo.toml");
    let keep = ("keep", "plain.py", "workers = 1");
    std::fs::write(
        &file,
        text(&[keep, ("gone", "plain.py", "workers = 1"), ("p", "plain.py", "workers = 1")]),
    )
    .unwrap();
    let host = place.run_file(&file, &[]);
    let kept = place.pids(&["keep"]);
    let gone = place.pids(&["gone"]);
    let rolled = place.pids(&["p"]);
    let p = ("p", "plain.py", "workers = 1\nqueue = 5\nenv = { A = 'b' }");
    std::fs::write(&file, text(&[keep, ("new", "plain.py", "workers = 2"), p])).unwrap();
    let table = place.prints(&["reload"]);
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
    let cells: Vec<String> = lines
        .iter()
        .map(|cells| cells.iter().filter(|c| !c.is_empty()).copied().collect::<Vec<_>>().join("|"))
        .collect();
    let expected = [
        "POOL|OUTCOME|CHANGED",
        "gone|stopped|-",
        "keep|unchanged|-",
        "new|started|-",
        "p|changed|env.A, queue (new workers)",
    ];
    assert_eq!(cells, expected, "{}", host.log());
    assert_eq!(place.pids(&["keep"]), kept);
    assert!(place.pids(&["p"]) != rolled && !is_alive(rolled[0]) && !is_alive(gone[0]));
    assert_eq!(place.pids(&["new"]).len(), 2);
    let log = host.log();
    assert!(log.contains("settings were reloaded") && log.contains("outcome=\"changed\""), "{log}");
    let again = place.json(&["reload"]);
    let change = json!({"pool": "keep", "outcome": "unchanged", "keys": [], "new_workers": false, "error": null});
    assert_eq!(again["pools"][0], change);
}

#[test]
fn what_does_not_start_goes_on_as_it_was_and_the_command_fails() {
    let place = Place::new();
    let file = place.path().join("demo.toml");
    std::fs::write(&file, text(&[("p", "plain.py", "workers = 1")])).unwrap();
    let _host = place.run_file(&file, &[]);
    let before = place.pids(&[]);
    std::fs::write(&file, text(&[("p", "import_error.py", "workers = 1")])).unwrap();
    let output = place.output(&["reload"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("failed") && shown.contains("(adapter_failed)"), "{shown}");
    assert_eq!(place.pids(&[]), before);
    // A file that is not valid is refused with all of its problems.
    std::fs::write(&file, "[pool.p]\nadapter = 'a.py'\nworkers = 0\nqeue = 1\n").unwrap();
    let error = place.error(2, &["reload"]);
    assert_eq!(error["kind"], "invalid_config");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("demo.toml:3:") && message.contains("demo.toml:4:"), "{message}");
    assert_eq!(place.pids(&[]), before);
}

#[test]
fn a_hangup_has_the_file_read_again() {
    let place = Place::new();
    let file = place.path().join("demo.toml");
    std::fs::write(&file, text(&[("p", "plain.py", "workers = 1")])).unwrap();
    let mut host = place.run_file(&file, &["--json"]);
    std::fs::write(&file, text(&[("p", "plain.py", "workers = 1\nqueue = 9")])).unwrap();
    host.signal("HUP");
    let told: serde_json::Value = serde_json::from_str(&host.line()).unwrap();
    let change = &told["reloaded"]["pools"][0];
    assert_eq!((&change["outcome"], &change["keys"]), (&json!("changed"), &json!(["queue"])));
    std::fs::write(&file, "nonsense").unwrap();
    host.signal("HUP");
    let told: serde_json::Value = serde_json::from_str(&host.line()).unwrap();
    assert_eq!(told["not_reloaded"]["error"]["kind"], "invalid_config");
    host.signal("TERM");
    let (status, _) = host.end();
    assert!(status.success(), "it served on: {status}");
}

#[test]
fn a_watched_file_is_read_when_it_is_replaced_or_written() {
    let place = Place::new();
    let file = place.path().join("demo.toml");
    let with = |queue: &str| text(&[("p", "plain.py", &format!("workers = 1\nqueue = {queue}"))]);
    std::fs::write(&file, with("1")).unwrap();
    let mut host = place.run_file(&file, &["--watch", "--json"]);
    let told = |line: String| serde_json::from_str::<serde_json::Value>(&line).unwrap();
    replace(&file, &with("2"));
    let first = told(host.line());
    assert_eq!(first["reloaded"]["pools"][0]["keys"], json!(["queue"]));
    // Once more by writing into it, and with something that is none.
    std::fs::write(&file, "nonsense").unwrap();
    assert!(told(host.line())["not_reloaded"].is_object());
    // Other files of the directory are nobody's business; and the same text is no change.
    std::fs::write(place.path().join("other"), "x").unwrap();
    replace(&file, &with("3"));
    assert_eq!(told(host.line())["reloaded"]["pools"][0]["outcome"], "changed");
    replace(&file, &with("3"));
    // A directory that is swapped under a link, as container platforms do it.
    let swapped = place.path().join("linked");
    for (name, queue) in [("one", "3"), ("two", "4")] {
        std::fs::create_dir_all(swapped.join(name)).unwrap();
        std::fs::write(swapped.join(name).join("demo.toml"), with(queue)).unwrap();
    }
    let link = |name: &str| {
        let new = swapped.join("new");
        std::os::unix::fs::symlink(name, &new).unwrap();
        std::fs::rename(new, swapped.join("data")).unwrap();
    };
    link("one");
    std::os::unix::fs::symlink("data/demo.toml", swapped.join("demo.toml")).unwrap();
    let other = Place::new();
    let mut linked = other.run_file(&swapped.join("demo.toml"), &["--watch", "--json"]);
    link("two");
    assert_eq!(told(linked.line())["reloaded"]["pools"][0]["keys"], json!(["queue"]));
    linked.signal("TERM");
    assert!(linked.end().0.success());
    host.signal("TERM");
    let (status, rest) = host.end();
    assert!(status.success() && !rest.contains("reloaded"), "once each: {rest}");
    until("the socket is gone", || !place.socket("demo").exists());
}
