//! New settings for a running host: what they change, and what not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use snakepit::{
    Config, Error, ErrorKind, PoolConfig, PoolReport, ReloadOutcome, Reloaded, Snakepit,
};

use crate::support::{PATIENCE, adapter, free_threaded, python, stop, until, wait};

/// A directory with a settings file.
struct Settings(tempfile::TempDir);

impl Settings {
    fn new(pools: &[(&str, &str)]) -> Self {
        let settings = Self(tempfile::tempdir().unwrap());
        settings.write(pools);
        settings
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("pools.toml")
    }

    /// A table for each pool: one worker of an adapter, and what else it says.
    fn write(&self, pools: &[(&str, &str)]) {
        let python = python();
        let tables = pools.iter().map(|(name, keys)| {
            let keys = if keys.contains("adapter =") {
                (*keys).to_owned()
            } else {
                format!("adapter = '{}'\n{keys}", adapter("plain.py"))
            };
            let interpreter = match keys.contains("python =") {
                true => String::new(),
                false => format!("python = '{}'\n", python.display()),
            };
            let workers = if keys.contains("workers =") { "" } else { "workers = 1\n" };
            format!("[pool.{name}]\n{interpreter}{workers}{keys}\n")
        });
        std::fs::write(self.file(), tables.collect::<String>()).unwrap();
    }

    fn start(&self) -> Snakepit {
        wait(Snakepit::from_file(self.file())).unwrap()
    }
}

fn pids(snakepit: &Snakepit, pool: &str) -> Vec<u32> {
    let report = snakepit.stats().pools.into_iter().find(|report| report.pool() == pool).unwrap();
    let PoolReport::Running { workers, .. } = report else { panic!("{report:?}") };
    workers.iter().map(|worker| worker.info.pid.unwrap()).collect()
}

fn outcomes(reloaded: &Reloaded) -> BTreeMap<&str, ReloadOutcome> {
    reloaded.pools.iter().map(|pool| (pool.pool.as_str(), pool.outcome)).collect()
}

fn who(snakepit: &Snakepit, pool: &str) -> Json {
    wait(snakepit.call("who").pool(pool).execute()).unwrap()
}

#[test]
fn each_pool_becomes_what_the_file_says_and_the_others_are_not_touched() {
    let settings =
        Settings::new(&[("same", ""), ("size", ""), ("kind", "env = { A = '1' }"), ("old", "")]);
    let snakepit = settings.start();
    let by_hand = PoolConfig::builder("").adapter(adapter("plain.py")).python(python()).workers(1);
    wait(snakepit.start_pool("by-hand", by_hand)).unwrap();
    let pools = ["same", "size", "kind", "by-hand"];
    let before = pools.map(|pool| pids(&snakepit, pool));
    let [old] = pids(&snakepit, "old")[..] else { panic!("one worker") };
    settings.write(&[
        ("same", ""),
        ("size", "workers = 2\nqueue = 7\nlifecycle = { ttl = '2h', max_surge = 2 }"),
        ("kind", "env = { SNAKEPIT_TEST_VALUE = 'new' }"),
        ("new", "profile = 'process'"),
    ]);
    let reloaded = wait(snakepit.reload_file()).unwrap();
    use ReloadOutcome::{Changed, Started, Stopped, Unchanged};
    let expected = [
        ("kind", Changed),
        ("new", Started),
        ("old", Stopped),
        ("same", Unchanged),
        ("size", Changed),
    ];
    assert_eq!(outcomes(&reloaded), BTreeMap::from(expected), "{reloaded:?}");
    assert!(reloaded.is_complete());
    let [kind, .., size] = &reloaded.pools[..] else { panic!("five pools") };
    assert!(kind.new_workers && !size.new_workers);
    assert_eq!(kind.keys, ["env.A", "env.SNAKEPIT_TEST_VALUE"]);
    assert_eq!(size.keys, ["lifecycle.max_surge", "lifecycle.ttl", "queue", "workers"]);

    assert_eq!(snakepit.pools(), ["by-hand", "kind", "new", "same", "size"]);
    let [same, mut more, kind, by_hand] = pools.map(|pool| pids(&snakepit, pool));
    assert_eq!((&same, &by_hand), (&before[0], &before[3]), "not touched");
    until("it has grown", || {
        more = pids(&snakepit, "size");
        more.len() == 2
    });
    assert!(more.contains(&before[1][0]), "one joined the one that was there");
    assert_ne!(kind, before[2]);
    assert_eq!(who(&snakepit, "kind")["env"], "new");
    assert!(!Path::new(&format!("/proc/{old}")).exists());
    assert_eq!(snakepit.pool_config("size").unwrap().queue(), 7);
    assert!(who(&snakepit, "new")["pid"].is_u64());
    // The same again touches nothing.
    let again = wait(snakepit.reload_file()).unwrap();
    assert!(again.pools.iter().all(|pool| pool.outcome == Unchanged), "{again:?}");
    stop(snakepit);
}

#[test]
fn under_load_no_call_is_lost_or_done_twice() {
    let place = tempfile::tempdir().unwrap();
    let ledger = place.path().join("ledger");
    let keys = |round: usize| {
        format!(
            "adapter = '{}'\nworkers = {}\nqueue = {}\nenv = {{ ROUND = '{}' }}",
            adapter("ledger.py"),
            1 + round % 3,
            100 + round,
            round / 2,
        )
    };
    let settings = Settings::new(&[("default", &keys(0))]);
    let snakepit = settings.start();
    let (over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let load = || {
            while !over.load(Ordering::Relaxed) {
                let number = made.fetch_add(1, Ordering::Relaxed);
                let noted: (usize, usize) =
                    wait(snakepit.execute("note", json!({"ledger": ledger, "number": number})))
                        .unwrap();
                assert_eq!(noted.0, number);
            }
        };
        let callers = [(); 4].map(|()| scope.spawn(load));
        for round in 1..=8 {
            settings.write(&[("default", &keys(round))]);
            let reloaded = wait(snakepit.reload_file()).unwrap();
            let [change] = &reloaded.pools[..] else { panic!("{reloaded:?}") };
            assert_eq!(change.outcome, ReloadOutcome::Changed, "{change:?}");
            assert_eq!(change.new_workers, round % 2 == 0, "{change:?}");
        }
        over.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
    let ledger = std::fs::read_to_string(ledger).unwrap();
    let mut noted: Vec<usize> = ledger.lines().map(|line| line.trim().parse().unwrap()).collect();
    noted.sort_unstable();
    assert!(noted.iter().copied().eq(0..made.load(Ordering::Relaxed)), "each once");
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    let pool = &stats["pools"][0];
    assert_eq!((&pool["failed"], &pool["saturated"]), (&json!(0), &json!(0)), "{pool}");
    assert!(pool["recycles"]["reload"].as_u64().unwrap() >= 4, "{pool}");
    stop(snakepit);
}

#[test]
fn what_workers_print_and_where_calls_go_changes_under_workers_that_stay() {
    let keys = |logs: &str, strategy: &str| {
        let adapter = adapter("keyed.py");
        format!(
            "adapter = '{adapter}'\nprofile = 'thread'\nthreads = 2\nworkers = 2\n\
             {logs}\nstrategy = '{strategy}'"
        )
    };
    let settings = Settings::new(&[("default", &keys("", "spread"))]);
    let snakepit = settings.start();
    let before = pids(&snakepit, "default");
    settings.write(&[("default", &keys("logs.tail = 0", "fill"))]);
    let reloaded = wait(snakepit.reload_file()).unwrap();
    let [change] = &reloaded.pools[..] else { panic!("{reloaded:?}") };
    assert_eq!((change.outcome, change.new_workers), (ReloadOutcome::Changed, false));
    assert_eq!(change.keys, ["logs.tail", "strategy"]);
    assert_eq!(pids(&snakepit, "default"), before);
    let mut streams: Vec<_> =
        (0..2).map(|_| wait(snakepit.execute_stream::<u64>("silent", ())).unwrap()).collect();
    assert!(streams.iter_mut().all(|items| wait(items.next()).unwrap().is_ok()));
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    let busy = [0, 1].map(|n| stats["pools"][0]["workers"][n]["in_flight"].as_u64().unwrap());
    assert_eq!(busy.iter().max(), Some(&2), "both at one: {busy:?}");
    drop(streams);
    let lost = wait(snakepit.execute::<()>("give_up", ["that is all"])).unwrap_err();
    assert!(!lost.message().contains("last on stderr"), "nothing was kept: {lost}");
    stop(snakepit);
}

#[test]
fn settings_that_are_not_valid_change_nothing_and_all_problems_are_told() {
    let settings = Settings::new(&[("a", ""), ("b", "")]);
    let snakepit = settings.start();
    let before = [pids(&snakepit, "a"), pids(&snakepit, "b")];
    let refused = |text: &str| {
        std::fs::write(settings.file(), text).unwrap();
        let error = wait(snakepit.reload_file()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert_eq!([pids(&snakepit, "a"), pids(&snakepit, "b")], before, "nothing has changed");
        assert_eq!(snakepit.pools(), ["a", "b"]);
        error
    };
    let error = refused("[pool.a]\nadapter = 'x.py'\nworkers = 0\nqeue = 3\n");
    for path in ["pool.a.workers", "pool.a.qeue"] {
        assert!(error.details().contains_key(path), "{path}: {error:?}");
    }
    assert!(error.message().contains("pools.toml:3:"), "{error}");
    let error = refused("[pool.a]\nadapter = 'x.py'\n[pool.c]\nadapter = 'y.py'\n");
    assert!(error.message().contains("x.py") && error.message().contains("y.py"), "{error}");
    refused("not TOML");
    std::fs::remove_file(settings.file()).unwrap();
    assert_eq!(wait(snakepit.reload_file()).unwrap_err().kind(), ErrorKind::InvalidConfig);
    stop(snakepit);
    let pool = PoolConfig::builder("default").adapter(adapter("plain.py")).python(python());
    let config = Config::new([pool.workers(1).build().unwrap()]).unwrap();
    let fileless = wait(Snakepit::builder().config(config.clone()).start()).unwrap();
    let error = wait(fileless.reload_file()).unwrap_err();
    assert!(error.message().contains("not started from a settings file"), "{error}");
    assert!(wait(fileless.reload(config)).unwrap().is_complete());
    let other = fileless.clone();
    stop(fileless);
    assert_eq!(wait(other.reload_file()).unwrap_err().kind(), ErrorKind::PoolClosed);
}

#[test]
fn a_pool_whose_new_workers_do_not_start_goes_on_with_the_old_ones() {
    let settings = Settings::new(&[("a", "workers = 2"), ("b", "")]);
    let snakepit = settings.start();
    let before = pids(&snakepit, "a");
    let broken = |name: &str| format!("workers = 3\nqueue = 5\nadapter = '{}'", adapter(name));
    for name in ["import_error.py", "setup_error.py"] {
        settings.write(&[("a", &broken(name)), ("b", "queue = 6")]);
        let reloaded = wait(snakepit.reload_file()).unwrap();
        assert!(!reloaded.is_complete());
        let [a, b] = &reloaded.pools[..] else { panic!("{reloaded:?}") };
        let error: &Error = a.error.as_ref().unwrap();
        assert_eq!((a.outcome, error.kind()), (ReloadOutcome::Failed, ErrorKind::AdapterFailed));
        assert_eq!(snakepit.pool_config("b").unwrap().queue(), 6, "{b:?}");
        assert_eq!(pids(&snakepit, "a"), before, "the same workers");
        assert_eq!(snakepit.pool_config("a").unwrap().workers(), 2, "and settings");
        assert!(before.contains(&(who(&snakepit, "a")["pid"].as_u64().unwrap() as u32)));
    }
    settings.write(&[("a", "workers = 2"), ("b", "")]);
    let reloaded = wait(snakepit.reload_file()).unwrap();
    assert_eq!(reloaded.pools[0].outcome, ReloadOutcome::Unchanged, "as it runs, so it is");
    assert_eq!(pids(&snakepit, "a"), before);
    stop(snakepit);
}

#[test]
fn a_pool_that_the_file_leaves_out_ends_the_calls_it_has() {
    let settings = Settings::new(&[("kept", ""), ("old", "stream_credit = 1")]);
    let snakepit = settings.start();
    // Its tool waits for whoever takes the items.
    let counting = snakepit.call("count").pool("old").args([20]);
    let mut counting = wait(counting.stream::<u64>()).unwrap();
    assert_eq!(wait(counting.next()).unwrap().unwrap(), 1);
    settings.write(&[("kept", "")]);
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| wait(snakepit.reload_file()).unwrap());
        until("it takes no more calls", || {
            let reports = serde_json::to_value(snakepit.stats()).unwrap();
            let mut reports = reports["pools"].as_array().unwrap().iter();
            reports.any(|report| report["pool"] == "old" && report["state"] == "draining")
        });
        let late = wait(snakepit.call("add").pool("old").args([1]).execute::<u64>()).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::PoolClosed, "{late:?}");
        assert!(!reload.is_finished(), "a call is under way");
        for number in 2..=20 {
            assert_eq!(wait(counting.next()).unwrap().unwrap(), number);
        }
        assert!(wait(counting.next()).is_none());
        let reloaded = reload.join().unwrap();
        assert_eq!(outcomes(&reloaded)["old"], ReloadOutcome::Stopped);
        assert!(reloaded.is_complete(), "{reloaded:?}");
    });
    assert_eq!(snakepit.pools(), ["kept"]);
    stop(snakepit);
}

#[test]
fn a_pool_that_had_not_started_tries_again() {
    let settings = Settings::new(&[("a", ""), ("b", "")]);
    let file = settings.0.path().join("late.py");
    std::fs::write(&file, "raise RuntimeError('not yet')").unwrap();
    let keys = format!("adapter = '{}'", file.display());
    settings.write(&[("a", ""), ("b", &keys)]);
    let snakepit = settings.start();
    let reloaded = wait(snakepit.reload_file()).unwrap();
    assert_eq!(reloaded.pools[1].outcome, ReloadOutcome::Failed, "{reloaded:?}");
    std::fs::copy(adapter("plain.py"), file).unwrap();
    let reloaded = wait(snakepit.reload_file()).unwrap();
    assert_eq!(reloaded.pools[1].outcome, ReloadOutcome::Started, "{reloaded:?}");
    assert!(who(&snakepit, "b")["pid"].is_u64());
    // One that was drained stays so until its settings change.
    wait(snakepit.drain("b", PATIENCE)).unwrap();
    let reloaded = wait(snakepit.reload_file()).unwrap();
    assert_eq!(reloaded.pools[1].outcome, ReloadOutcome::Unchanged);
    settings.write(&[("a", ""), ("b", &format!("{keys}\nqueue = 3"))]);
    let reloaded = wait(snakepit.reload_file()).unwrap();
    assert_eq!(reloaded.pools[1].outcome, ReloadOutcome::Started);
    stop(snakepit);
}

#[test]
fn a_pool_may_change_its_profile_and_its_interpreter() {
    let process = format!("adapter = '{}'", adapter("together.py"));
    let settings = Settings::new(&[("default", &process)]);
    let snakepit = settings.start();
    let thread = format!(
        "{process}\nprofile = 'thread'\nthreads = 3\npython = '{}'",
        free_threaded().display()
    );
    settings.write(&[("default", &thread)]);
    let reloaded = wait(snakepit.reload_file()).unwrap();
    assert!(reloaded.is_complete() && reloaded.pools[0].new_workers, "{reloaded:?}");
    assert!(snakepit.thread_profile("default").unwrap());
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    assert_eq!(stats["pools"][0]["capacity"], 3, "{stats}");
    assert_eq!(stats["pools"][0]["workers"][0]["profile"], "thread");
    stop(snakepit);
}

#[test]
fn limits_that_change_hold_for_workers_that_serve() {
    let settings = Settings::new(&[("default", "")]);
    let snakepit = settings.start();
    let before = pids(&snakepit, "default");
    settings.write(&[("default", "lifecycle = { ttl = '1s' }\ntimeouts = { call = '100ms' }")]);
    let reloaded = wait(snakepit.reload_file()).unwrap();
    assert!(!reloaded.pools[0].new_workers, "{reloaded:?}");
    let late = wait(snakepit.execute::<Json>("nap", [30])).unwrap_err();
    assert_eq!(late.kind().code(), "call_timeout");
    until("the worker is too old now", || pids(&snakepit, "default") != before);
    wait(snakepit.shutdown(Duration::from_secs(30))).unwrap();
}
