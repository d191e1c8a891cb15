//! Values that are larger than the pool allows, on both sides.

use serde_json::json;
use snakepit::{ErrorKind, Value};

use crate::support::{assert_serves, builder, stop, wait};

#[test]
fn both_ways_are_refused_and_the_pool_serves_on() {
    let pool = builder("misbehaving.py").default_pool(|pool| pool.max_payload(64 << 10));
    let snakepit = wait(pool.start()).unwrap();

    let large = "x".repeat(65 << 10);
    let error = wait(snakepit.execute::<Value>("echo", json!({"value": large}))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PayloadTooLarge, "{error:?}");
    assert_serves(&snakepit);

    let error = wait(snakepit.execute::<Value>("big", json!({"length": 65 << 10}))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PayloadTooLarge, "{error:?}");
    assert_serves(&snakepit);

    let fits = wait(snakepit.execute::<Value>("big", json!({"length": 60 << 10}))).unwrap();
    assert_eq!(fits.as_bytes().unwrap().len(), 60 << 10);
    stop(snakepit);
}
