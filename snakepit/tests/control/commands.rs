//! What each command shows and does.

use serde_json::json;

use crate::{Place, is_alive, until};

/// A table's cells, joined; those of some columns, which no two runs share, masked.
fn cells(table: &str, masked: &[&str]) -> Vec<String> {
    let split = |line: &str| -> Vec<String> {
        // Columns stand two spaces apart, and a cell holds single ones only.
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    let header = split(table.lines().next().unwrap());
    let mask = |(column, cell): (usize, String)| {
        let volatile = header.get(column).is_some_and(|name| masked.contains(&name.as_str()));
        if volatile && cell != header[column] && cell != "-" { "_".to_owned() } else { cell }
    };
    let line = |line| split(line).into_iter().enumerate().map(mask).collect::<Vec<_>>().join(" | ");
    table.lines().map(line).collect()
}

#[test]
fn workers_are_shown_with_their_processes() {
    let place = Place::new();
    let host = place.run("demo.toml", &[("a", "plain.py", 1), ("b", "plain.py", 2)]);
    assert_eq!(host.ready, "ready: a (1 worker), b (2 workers); instance demo\n");
    let shown = cells(&place.prints(&["workers"]), &["PID", "AGE", "MEMORY", "LAST SEEN"]);
    let expected = [
        "POOL | WORKER | STATE | INDEX | PID | AGE | SERVED | MEMORY | IN FLIGHT | CAPACITY | LAST SEEN",
        "a | a.0.0 | ready | 0 | _ | _ | 0 | _ | 0 | 1 | _",
        "b | b.0.0 | ready | 0 | _ | _ | 0 | _ | 0 | 1 | _",
        "b | b.1.0 | ready | 1 | _ | _ | 0 | _ | 0 | 1 | _",
    ];
    assert_eq!(shown, expected);

    let workers = place.json(&["workers", "b"]);
    let workers = workers.as_array().unwrap();
    assert_eq!(workers.len(), 2);
    let mut worker = workers[1].clone();
    for (key, at_least) in [("age_seconds", 0.0), ("last_seen_seconds", 0.0), ("memory_bytes", 1e5)]
    {
        let number = worker[key].take().as_f64().unwrap_or_else(|| panic!("{key}: {workers:?}"));
        assert!((at_least..1e9).contains(&number), "{key} is {number}");
    }
    let pid = worker["pid"].take().as_u64().unwrap();
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(command.contains("python"), "{command}");
    assert_eq!(
        worker,
        json!({
            "pool": "b", "id": "b.1.0", "index": 1, "pid": null, "state": "ready",
            "age_seconds": null, "served": 0, "memory_bytes": null, "in_flight": 0, "capacity": 1,
            "last_seen_seconds": null, "recycled": null,
        })
    );
}

#[test]
fn stats_have_a_column_for_each_pool_and_one_for_all() {
    let place = Place::new();
    let pools = [("a", "plain.py", 1), ("b", "plain.py", 2), ("broken", "import_error.py", 1)];
    let host = place.run("demo.toml", &pools);
    assert_eq!(host.ready, "ready: a (1 worker), b (2 workers), broken (failed); instance demo\n");
    assert!(host.log().contains("no weights on this machine"), "{}", host.log());
    place.prints(&["recycle", "b"]);
    let table = place.prints(&["stats"]);
    let expected = [
        "a | b | broken | ALL",
        "state | running | running | failed",
        "workers | 1 | 2 | - | 3",
        "starting | 0 | 0 | - | 0",
        "available | 1 | 2 | - | 3",
        "busy | 0 | 0 | - | 0",
        "queued | 0 | 0 | - | 0",
        "in flight | 0 | 0 | - | 0",
        "requests | 0 | 0 | - | 0",
        "completed | 0 | 0 | - | 0",
        "errors | 0 | 0 | - | 0",
        "cancelled | 0 | 0 | - | 0",
        "queue timeouts | 0 | 0 | - | 0",
        "call timeouts | 0 | 0 | - | 0",
        "saturated | 0 | 0 | - | 0",
        "tool calls | 0 | 0 | - | 0",
        "tool errors | 0 | 0 | - | 0",
        "failed checks | 0 | 0 | - | 0",
        "sessions | 0 | 0 | - | 0",
        "near a limit | 0 | 0 | - | 0",
        "recycles | 0 | 2 | - | 2",
        "manual | 0 | 2 | - | 2",
        "exits | 0 | 2 | - | 2",
        "recycled | 0 | 2 | - | 2",
        "",
    ];
    let (tail, shown) =
        cells(&table, &[]).split_last().map(|(l, f)| (l.clone(), f.to_vec())).unwrap();
    assert_eq!(shown, expected);
    assert!(tail.starts_with("broken did not start: importing the adapter failed"), "{tail}");
    assert!(tail.ends_with("(adapter_failed)"), "{tail}");

    let stats = place.json(&["stats"]);
    assert_eq!(stats["pools"][0]["pool"], "a");
    assert_eq!(
        (&stats["pools"][1]["state"], &stats["total"]["workers"]),
        (&json!("running"), &json!(3))
    );
    assert_eq!(stats["pools"][1]["recycles"]["manual"], 2);
    assert_eq!(stats["total"]["submitted"], 0);
    assert_eq!(stats["pools"][0]["sessions"]["active"], 0);
    let broken = &stats["pools"][2];
    assert_eq!(
        (&broken["state"], &broken["error"]["kind"]),
        (&json!("failed"), &json!("adapter_failed"))
    );
    let one = place.json(&["stats", "b"]);
    assert_eq!(one["pools"].as_array().unwrap().len(), 1);
}

#[test]
fn pools_are_listed_one_to_a_line() {
    let place = Place::new();
    let pools = [("a", "plain.py:Configured", 2), ("broken", "import_error.py", 1)];
    let _host = place.run("demo.toml", &pools);
    let table = place.prints(&["pools"]);
    let adapter = crate::support::adapter("");
    let shown: Vec<_> = cells(&table, &[]).iter().map(|l| l.replace(&adapter, "")).collect();
    let expected = [
        "POOL | STATE | PROFILE | ADAPTER | WORKERS | BUSY | FREE | QUEUED",
        "a | running | process | plain.py:Configured | 2 | 0 | 2 | 0",
        "broken | failed | process | import_error.py | 0 | 0 | 0 | 0",
    ];
    assert_eq!(shown, expected);
    let pools = place.json(&["pools"]);
    assert_eq!((&pools[0]["pool"], &pools[0]["available"]), (&json!("a"), &json!(2)));
    assert_eq!(pools[1]["error"]["kind"], "adapter_failed");
}

#[test]
fn recycle_waits_until_the_old_workers_are_gone() {
    let place = Place::new();
    let host = place.run("demo.toml", &[("default", "plain.py", 2)]);
    let before = place.pids(&[]);
    assert_eq!(place.prints(&["recycle", "default", "default.1.0"]), "recycled default.1.0\n");
    assert!(is_alive(before[0]) && !is_alive(before[1]), "one is gone, and only that one");
    let recycled = place.json(&["recycle", "default"]);
    assert_eq!((&recycled["pool"], &recycled["done"]), (&json!("default"), &json!(true)));
    assert_eq!(recycled["workers"].as_array().unwrap().len(), 2, "{recycled}");
    let after = place.pids(&[]);
    assert!(after.len() == 2 && !after.contains(&before[0]), "{before:?} {after:?}");
    // The event is in the host's log.
    let log = host.log();
    let events: Vec<_> = log.lines().filter(|line| line.contains("worker recycled")).collect();
    assert_eq!(events.len(), 3, "{log}");
    assert!(events[0].contains("worker_id=default.1.0") && events[0].contains("reason=\"manual\""));
}

#[test]
fn recycle_need_not_be_waited_for() {
    let place = Place::new();
    let host = place.run("demo.toml", &[("default", "slow_to_end.py:Slow", 1)]);
    let recycled = place.json(&["recycle", "default", "--no-wait"]);
    assert_eq!(recycled, json!({"pool": "default", "workers": ["default.0.0"], "done": false}));
    let states = || {
        let workers = place.json(&["workers"]);
        let workers = workers.as_array().unwrap().iter();
        workers.map(|worker| worker["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    until("the new one is there beside the old one", || {
        let states = states();
        states.contains(&"stopping".to_owned()) && states.contains(&"ready".to_owned())
    });
    let shown = place.prints(&["workers"]);
    assert!(shown.contains("stopping (manual)"), "{shown}");
    let error = place.error(1, &["recycle", "default", "default.0.0", "--timeout", "100ms"]);
    assert!(error["message"].as_str().unwrap().contains("not replaced after 100ms"), "{error}");
    drop(host);
}

#[test]
fn scale_changes_the_number_of_workers() {
    let place = Place::new();
    let _host = place.run("demo.toml", &[("default", "plain.py", 2)]);
    let before = place.pids(&[]);
    assert_eq!(place.prints(&["scale", "default", "4"]), "scaled default to 4\n");
    let grown = place.pids(&[]);
    assert!(grown.len() == 4 && before.iter().all(|pid| grown.contains(pid)), "{grown:?}");
    let scaled = place.json(&["scale", "default", "1"]);
    assert_eq!(scaled, json!({"pool": "default", "workers": 1, "done": true}));
    let left = place.pids(&[]);
    assert_eq!((left.len(), grown.iter().filter(|pid| is_alive(**pid)).count()), (1, 1));
    let scaled = place.json(&["scale", "default", "2", "--no-wait"]);
    assert_eq!(scaled["done"], false);
    until("it has grown", || place.json(&["stats"])["total"]["workers"] == 2);
    let error = place.error(2, &["scale", "default", "0"]);
    assert!(error["message"].as_str().unwrap().contains("cannot have 0 workers"), "{error}");
    let error = place.error(2, &["scale", "defualt", "2"]);
    assert_eq!(error["help"], "did you mean `default`? the pools are: default");
}

#[test]
fn a_drained_pool_is_over_and_the_others_go_on() {
    let place = Place::new();
    let host = place.run("demo.toml", &[("a", "plain.py", 1), ("b", "plain.py", 1)]);
    let pids = place.pids(&[]);
    assert_eq!(place.prints(&["drain", "a"]), "drained a\n");
    assert!(!is_alive(pids[0]) && is_alive(pids[1]));
    let stats = place.json(&["stats"]);
    assert_eq!(
        (&stats["pools"][0]["state"], &stats["pools"][0]["workers"]),
        (&json!("stopped"), &json!(0))
    );
    assert_eq!(stats["pools"][1]["state"], "running");
    let error = place.error(1, &["recycle", "a"]);
    assert_eq!(error["kind"], "pool_closed");
    assert_eq!(place.json(&["drain", "b"]), json!({"drained": ["b"]}));
    assert_eq!(place.json(&["workers"]), json!([]), "the host itself was not drained");
    drop(host);
}

#[test]
fn shared_memory_is_shown_for_each_pool_and_for_all() {
    let place = Place::new();
    let _host = place.run("demo.toml", &[("a", "plain.py", 1)]);
    let shown = cells(&place.prints(&["shm"]), &["QUOTA"]);
    let expected = [
        "POOL | IN USE | QUOTA | HIGH WATER | KEPT | PLACED | LENT | RECEIVED | FALLBACKS",
        "a | 0.0 KiB | _ | 0.0 KiB | 0.0 KiB | 0 | 0 | 0 | 0",
        "total | 0.0 KiB | _ | 0.0 KiB | 0.0 KiB | 0 | 0 | 0 | 0",
    ];
    assert_eq!(shown, expected);
    let json = place.json(&["shm"]);
    assert_eq!(json["pools"][0]["pool"], "a");
    assert_eq!(json["pools"][0]["quota_bytes"], 256 << 20);
    assert_eq!((&json["segments"], &json["held_bytes"]), (&json!(0), &json!(0)));
}
