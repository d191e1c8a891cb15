//! Streamed results: order, backpressure, cancellation.

use serde_json::{Value as Json, json};

use crate::support::{assert_serves, start, stop, wait};

#[test]
fn items_come_in_order_and_then_the_end() {
    let snakepit = start("plain.py");
    let mut stream = wait(snakepit.execute_stream::<u64>("count", json!({"to": 1000}))).unwrap();
    let mut items = Vec::new();
    while let Some(item) = wait(stream.next()) {
        items.push(item.unwrap());
    }
    assert_eq!(items, (1..=1000).collect::<Vec<_>>());
    assert!(wait(stream.next()).is_none());
    stop(snakepit);
}

#[test]
fn dropped_stream_frees_its_worker() {
    let snakepit = start("plain.py");
    let mut stream =
        wait(snakepit.execute_stream::<u64>("count", json!({"to": 1_000_000_000}))).unwrap();
    assert_eq!(wait(stream.next()).unwrap().unwrap(), 1);
    drop(stream);
    assert_serves(&snakepit);
    stop(snakepit);
}

#[test]
fn item_of_another_type_is_an_error_and_the_next_one_comes() {
    let snakepit = start("plain.py");
    let mut stream = wait(snakepit.execute_stream::<String>("count", [2])).unwrap();
    assert!(wait(stream.next()).unwrap().is_err());
    assert!(wait(stream.next()).unwrap().is_err());
    assert!(wait(stream.next()).is_none());
    let _: Json = wait(snakepit.execute("echo", ())).unwrap();
    stop(snakepit);
}
