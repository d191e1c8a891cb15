//! Many calls at once.

use serde_json::{Value as Json, json};
use snakepit::ErrorKind;

use crate::support::{builder, stop, wait};

#[test]
fn results_keep_the_order_of_the_calls_and_failures_their_place() {
    let snakepit = wait(builder("plain.py").workers(2).start()).unwrap();
    let calls = (0..50).map(|n| match n {
        7 => snakepit.call("fail").args(["seven"]),
        8 => snakepit.call("echo").pool("nowhere"),
        n => snakepit.call("add").args((n, 1)),
    });
    let results = wait(snakepit.execute_batch::<i64>(calls));
    assert_eq!(results.len(), 50);
    for (n, result) in results.into_iter().enumerate() {
        match n {
            7 => assert_eq!(result.unwrap_err().kind(), ErrorKind::Python),
            8 => assert_eq!(result.unwrap_err().kind(), ErrorKind::PoolNotFound),
            n => assert_eq!(result.unwrap(), n as i64 + 1),
        }
    }
    stop(snakepit);
}

#[test]
fn batch_larger_than_the_queue_is_no_problem() {
    let pool = builder("plain.py").default_pool(|pool| pool.queue(4).prefetch(2));
    let snakepit = wait(pool.start()).unwrap();
    let calls = (0..2000).map(|n| snakepit.call("echo").args([n]));
    let results: Result<Vec<i64>, _> = wait(snakepit.execute_batch(calls)).into_iter().collect();
    assert_eq!(results.unwrap(), (0..2000).collect::<Vec<_>>());
    stop(snakepit);
}

#[test]
fn batch_outlasts_the_queue_timeout_and_the_calls_own_deadlines() {
    let pool = builder("plain.py").default_pool(|pool| {
        let millis = std::time::Duration::from_millis;
        pool.queue_timeout(millis(50)).call_timeout(millis(1000))
    });
    let snakepit = wait(pool.start()).unwrap();
    // Three times the deadline of a single one of them.
    let calls = (0..30).map(|_| snakepit.call("nap").args([0.1]));
    let results = wait(snakepit.execute_batch::<f64>(calls));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    stop(snakepit);
}

#[test]
fn results_come_as_they_end_and_calls_can_be_added() {
    let snakepit = wait(builder("plain.py").workers(2).start()).unwrap();
    let calls = [3.0, 0.0].map(|seconds| snakepit.call("nap").args([seconds]));
    let mut batch = snakepit.execute_batch_unordered::<Json>(calls);
    assert_eq!(wait(batch.next()).unwrap().0, 1, "the quick one is first");
    assert!(batch.has_room());
    let position = batch.push(snakepit.call("add").args(json!({"a": 1})));
    let (next, result) = wait(batch.next()).unwrap();
    assert_eq!((next, result.unwrap()), (position, json!(2)));
    assert_eq!(wait(batch.next()).unwrap().0, 0);
    assert!(wait(batch.next()).is_none());
    stop(snakepit);
}
