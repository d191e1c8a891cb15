//! The same API without futures.

use serde_json::json;
use snakepit::blocking::Snakepit;

use crate::support::{PATIENCE, adapter, python};

#[test]
fn blocking_api_has_the_same_shape() {
    let snakepit = Snakepit::builder()
        .adapter(adapter("plain.py"))
        .python(python())
        .workers(1)
        .start()
        .unwrap();
    let sum: i64 = snakepit.execute("add", json!({"a": 5, "b": 3})).unwrap();
    assert_eq!(sum, 8);
    let items: Result<Vec<u64>, _> = snakepit.execute_stream("count", [3]).unwrap().collect();
    assert_eq!(items.unwrap(), [1, 2, 3]);
    let calls = (0..3).map(|n| snakepit.call("add").args((n, n)));
    let sums: Result<Vec<i64>, _> = snakepit.execute_batch(calls).into_iter().collect();
    assert_eq!(sums.unwrap(), [0, 2, 4]);
    let calls = [snakepit.call("add").args((1, 1))];
    let unordered: Vec<_> = snakepit.execute_batch_unordered::<i64, _>(calls).collect();
    assert_eq!(unordered.len(), 1);
    let other = snakepit.clone();
    let sum = std::thread::spawn(move || other.call("add").args((2, 2)).execute::<i64>());
    assert_eq!(sum.join().unwrap().unwrap(), 4);
    let before = snakepit.stats();
    snakepit.recycle("default", None).unwrap();
    let worker = |stats: &snakepit::Stats| match &stats.pools[0] {
        snakepit::PoolReport::Running { workers, .. } => workers[0].info.id.clone(),
        failed => panic!("{failed:?}"),
    };
    assert_ne!(worker(&before), worker(&snakepit.stats()));
    assert!(snakepit.tools("default").unwrap().len() > 5);
    snakepit.shutdown(PATIENCE).unwrap();
}
