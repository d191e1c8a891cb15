//! Adapters that say themselves how they are.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use snakepit::Snakepit;

use crate::support::{builder, stop, until, wait};

const INTERVAL: Duration = Duration::from_millis(200);

fn start(chart: &Path, says: &str) -> Snakepit {
    std::fs::write(chart, says).unwrap();
    let arguments = json!({ "chart": chart });
    let builder = builder("ailing.py:Patient")
        .default_pool(|pool| pool.adapter_args(arguments).health_interval(INTERVAL).jitter(0.0));
    wait(builder.start()).unwrap()
}

fn pool(snakepit: &Snakepit) -> Json {
    serde_json::to_value(snakepit.stats()).unwrap()["pools"][0].take()
}

fn times_asked(snakepit: &Snakepit) -> u64 {
    wait(snakepit.execute("times_asked", ())).unwrap()
}

#[test]
fn a_check_runs_in_the_worker_and_is_no_call_and_never_beside_one() {
    let directory = tempfile::tempdir().unwrap();
    let snakepit = start(&directory.path().join("chart"), "well");
    let pid: u32 = wait(snakepit.execute("work", [0.7])).unwrap();
    until("it is asked", || times_asked(&snakepit) >= 3);
    let calls = pool(&snakepit)["submitted"].as_u64();
    let asked = times_asked(&snakepit);
    until("it is asked again", || {
        std::thread::sleep(INTERVAL);
        times_asked(&snakepit) >= asked + 3
    });
    let report = pool(&snakepit);
    assert!(report["submitted"].as_u64() > calls);
    assert_eq!(report["workers"][0]["served"], report["submitted"], "calls of ours only");
    assert_eq!(report["workers"][0]["pid"], pid);
    assert_eq!(
        (&report["failed_checks"], &report["recycles"]["unhealthy"]),
        (&json!(0), &json!(0))
    );
    stop(snakepit);
}

#[test]
fn a_worker_that_raises_or_says_false_is_replaced_and_a_slow_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let chart = directory.path().join("chart");
    for ill in ["no database", "false"] {
        let snakepit = start(&chart, ill);
        let before: u32 = wait(snakepit.execute("work", [0.0])).unwrap();
        until("it is replaced", || pool(&snakepit)["recycles"]["unhealthy"].as_u64() >= Some(1));
        std::fs::write(&chart, "well").unwrap();
        assert!(pool(&snakepit)["failed_checks"].as_u64() >= Some(3));
        let after: u32 = wait(snakepit.execute("work", [0.0])).unwrap();
        assert_ne!(before, after);
        assert_eq!(pool(&snakepit)["failed"], 0);
        stop(snakepit);
    }
    let snakepit = start(&chart, "slow");
    until("the check has begun", || std::fs::read_to_string(&chart).unwrap() == "well");
    let waits = Instant::now();
    wait(snakepit.execute::<u32>("work", [0.0])).unwrap();
    assert!(waits.elapsed() > Duration::from_millis(300), "no call runs beside a check");
    assert_eq!(pool(&snakepit)["recycles"]["unhealthy"], 0);
    stop(snakepit);
}
