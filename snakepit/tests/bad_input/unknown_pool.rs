//! A pool that does not exist, and one that is broken beside one that is well.

use serde_json::Value;
use snakepit::config::PoolConfig;
use snakepit::{ErrorKind, PoolReport};

use crate::support::{adapter, assert_serves, builder, python, start, stop, wait};

#[test]
fn unknown_pool_lists_those_that_exist() {
    let snakepit = start("plain.py");
    let call = snakepit.call("echo").pool("defualt");
    let error = wait(call.execute::<Value>()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PoolNotFound);
    assert!(error.message().contains("defualt"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("default")), "{error:?}");
    stop(snakepit);
}

#[test]
fn broken_pool_stops_no_healthy_one() {
    let broken = PoolConfig::builder("broken").adapter(adapter("import_error.py"));
    let broken = broken.python(python()).workers(1).build().unwrap();
    let snakepit = wait(builder("plain.py").pool(broken).start()).unwrap();
    assert_serves(&snakepit);
    let error = wait(snakepit.call("echo").pool("broken").execute::<Value>()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    let stats = snakepit.stats();
    assert!(matches!(&stats.pools[0], PoolReport::Failed { pool, .. } if pool == "broken"));
    stop(snakepit);
}
