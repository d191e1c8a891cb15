//! Shared memory under settings that change, pools that go, and quotas that are used up.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use snakepit::{Array, Config, ErrorKind, PoolConfig, PoolMemory, PoolReport, Snakepit, Value};

use crate::events::Events;
use crate::support::{PATIENCE, adapter, python, stop, until, wait};

/// One worker of `arrays.py` for each pool, with these settings of its shared memory.
fn config(pools: &[(&str, &str)]) -> Config {
    let tables = pools.iter().map(|(name, shm)| {
        let (adapter, python) = (adapter("arrays.py"), python());
        let python = python.display();
        format!(
            "[pool.{name}]\nworkers = 1\nadapter = '{adapter}'\npython = '{python}'\n\
             [pool.{name}.shm]\n{shm}\n"
        )
    });
    Config::from_toml(&tables.collect::<String>()).unwrap()
}

fn start(pools: &[(&str, &str)]) -> Snakepit {
    wait(Snakepit::builder().config(config(pools)).start()).unwrap()
}

/// Two mebibytes.
fn matrix() -> Array {
    Array::from_vec(vec![0.5; 256 * 1024], [256, 1024]).unwrap()
}

fn echo(snakepit: &Snakepit, pool: &str) -> Result<Array, snakepit::Error> {
    wait(snakepit.call("echo").pool(pool).args((matrix(),)).execute())
}

fn memory(snakepit: &Snakepit, pool: &str) -> PoolMemory {
    snakepit.shared_memory().pool(pool).unwrap().clone()
}

fn pid(snakepit: &Snakepit) -> u32 {
    let Some(PoolReport::Running { workers, .. }) = snakepit.stats().pools.into_iter().next()
    else {
        panic!("it does not run")
    };
    workers[0].info.pid.unwrap()
}

#[test]
fn a_changed_quota_counts_at_once_and_another_mode_or_threshold_rolls_the_workers() {
    let snakepit = start(&[("default", "quota = '64MiB'")]);
    // Goes by other settings; says whether there is another worker.
    let change = |shm: &str| {
        let before = pid(&snakepit);
        let reloaded = wait(snakepit.reload(config(&[("default", shm)]))).unwrap();
        assert!(reloaded.is_complete(), "{reloaded:?}");
        assert_eq!(reloaded.pools[0].new_workers, pid(&snakepit) != before, "{shm}");
        reloaded.pools[0].new_workers
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = || {
            while !over.load(Ordering::Relaxed) {
                let call = snakepit.call("describe").args((matrix(),)).queue_timeout(PATIENCE);
                let seen: Value = wait(call.execute()).unwrap();
                assert_eq!(seen.get("sum").unwrap().as_f64(), Some(131_072.0));
            }
        };
        let calls = scope.spawn(load);
        assert!(echo(&snakepit, "default").unwrap().is_shared());

        assert!(!change("quota = '128KiB'"), "no worker is replaced for a quota");
        assert_eq!(memory(&snakepit, "default").quota_bytes, 128 << 10);
        assert!(!echo(&snakepit, "default").unwrap().is_shared());
        let error = snakepit.share("default", &matrix()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ShmUnavailable, "{error:?}");
        assert!(!change("quota = '64MiB'"));
        assert!(echo(&snakepit, "default").unwrap().is_shared());

        assert!(change("threshold = '16MiB'\nquota = '64MiB'"));
        assert!(!echo(&snakepit, "default").unwrap().is_shared());
        assert!(change("mode = 'off'"));
        assert!(!echo(&snakepit, "default").unwrap().is_shared());
        assert!(snakepit.share("default", &matrix()).is_err());
        assert!(change("mode = 'strict'\nquota = '64MiB'"));
        assert!(echo(&snakepit, "default").unwrap().is_shared());
        over.store(true, Ordering::Relaxed);
        calls.join().unwrap();
    });
    assert!(!change("mode = 'strict'\nquota = '128KiB'"));
    let error = echo(&snakepit, "default").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShmUnavailable, "{error:?}");
    stop(snakepit);
}

#[test]
fn a_fallback_is_told_of_with_pool_size_and_reason_and_nothing_else_is() {
    let events = Events::collected();
    let short = "quota = '128KiB'";
    let pools = [("shm-short", short), ("shm-ample", ""), ("shm-off", "mode = 'off'")];
    let snakepit = start(&pools);
    for (pool, _) in pools {
        assert_eq!(echo(&snakepit, pool).unwrap(), matrix());
        let made: Value =
            wait(snakepit.call("filled").pool(pool).args(([256, 1024], 2.0)).execute()).unwrap();
        assert_eq!(made.get("array").unwrap().as_ndarray().unwrap().shape(), [256, 1024]);
        // What is small was never meant to.
        let small: Vec<u8> =
            wait(snakepit.call("echo").pool(pool).args((vec![7_u8; 100],)).execute()).unwrap();
        assert_eq!(small.len(), 100);
    }
    let told = || events.of("shm-short");
    let fallbacks = memory(&snakepit, "shm-short").fallbacks;
    // The argument, the result, and the array that the tool asked for and returned.
    assert!(fallbacks >= 3, "{fallbacks}");
    until("an event is missing", || told().len() as u64 >= fallbacks);
    for event in told() {
        assert_eq!(
            (&event["event_name"], &event["target"]),
            (&json!("shm.fallback"), &json!("snakepit::shm"))
        );
        assert_eq!(
            (&event["bytes"], &event["refused"]),
            (&json!(2 << 20), &json!(false)),
            "{event}"
        );
        assert!(event["reason"].as_str().unwrap().contains("is used up"), "{event}");
    }
    assert_eq!(events.of("shm-ample"), Vec::<serde_json::Value>::new());
    assert_eq!(events.of("shm-off"), Vec::<serde_json::Value>::new());
    stop(snakepit);
}

#[test]
fn what_a_pool_kept_is_given_back_when_it_is_stopped() {
    let snakepit = start(&[("stays", ""), ("goes", "")]);
    for pool in ["stays", "goes"] {
        assert!(echo(&snakepit, pool).unwrap().is_shared());
        until("nothing of it is kept", || memory(&snakepit, pool).free_bytes > 0);
    }
    let held = echo(&snakepit, "goes").unwrap();
    let reloaded = wait(snakepit.reload(config(&[("stays", "")]))).unwrap();
    assert!(reloaded.is_complete(), "{reloaded:?}");
    // One value is still read here, in one segment.
    until("it is kept for nobody", || memory(&snakepit, "goes").free_bytes == 0);
    until("a worker's memory is left", || memory(&snakepit, "goes").in_use_bytes == 2 << 20);
    assert_eq!(held, matrix());
    drop(held);
    assert_eq!(memory(&snakepit, "goes").in_use_bytes, 0);
    let stays = memory(&snakepit, "stays");
    assert!(stays.free_bytes > 0, "another pool's is not touched");
    let all = snakepit.shared_memory();
    assert_eq!(all.held_bytes, stays.free_bytes + stays.in_use_bytes, "it is not gone");

    let by_hand = PoolConfig::builder("").adapter(adapter("arrays.py")).python(python()).workers(1);
    wait(snakepit.start_pool("goes", by_hand)).unwrap();
    assert!(echo(&snakepit, "goes").unwrap().is_shared(), "it does not begin anew");
    wait(snakepit.stop_pool("goes", PATIENCE)).unwrap();
    until("it is kept for nobody", || {
        let goes = memory(&snakepit, "goes");
        goes.free_bytes + goes.in_use_bytes == 0
    });
    stop(snakepit);
}
