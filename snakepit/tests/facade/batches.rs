//! Many calls at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
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

/// Arguments that are counted while they are in memory.
struct Counted {
    data: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn batch_holds_no_more_arguments_than_are_under_way() {
    const CALLS: usize = 1000;
    const WINDOW: usize = 8;
    let snakepit = wait(builder("plain.py").workers(2).start()).unwrap();
    let [held, most] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let calls = (0..CALLS).map(|n| {
        let now = held.fetch_add(1, Ordering::Relaxed) + 1;
        most.fetch_max(now, Ordering::Relaxed);
        let data = Counted { data: vec![0; 10_000 + n], held: Arc::clone(&held) };
        snakepit.call("size").bytes(Bytes::from_owner(data))
    });
    let mut batch = snakepit.execute_batch_unordered::<usize, _>(calls).concurrency(WINDOW);
    assert_eq!(held.load(Ordering::Relaxed), 0, "nothing is made before somebody reads");
    let mut sizes = Vec::new();
    while let Some((position, size)) = wait(batch.next()) {
        assert_eq!(size.unwrap(), 10_000 + position);
        sizes.push(position);
    }
    sizes.sort_unstable();
    assert_eq!(sizes, (0..CALLS).collect::<Vec<_>>());
    drop(batch);
    // Those of a call may go a moment after its caller has been told.
    let most = most.load(Ordering::Relaxed);
    assert!((WINDOW..=2 * WINDOW).contains(&most), "{most} at a time");
    stop(snakepit);
}

#[test]
fn calls_of_a_batch_that_all_fail_at_once_are_made_one_by_one() {
    let snakepit = wait(builder("plain.py").workers(1).start()).unwrap();
    // Without end: whoever took all of them first would never come to the first result.
    let calls = std::iter::repeat_with(|| snakepit.call("echo").pool("nowhere"));
    let mut batch = snakepit.execute_batch_unordered::<Json, _>(calls);
    for expected in 0..100 {
        let (position, result) = wait(batch.next()).unwrap();
        assert_eq!(position, expected);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::PoolNotFound);
    }
    drop(batch);
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
    let mut batch = snakepit.execute_batch_unordered::<Json, _>(calls);
    assert_eq!(wait(batch.next()).unwrap().0, 1, "the quick one is first");
    assert!(batch.has_room());
    let position = batch.push(snakepit.call("add").args(json!({"a": 1})));
    let (next, result) = wait(batch.next()).unwrap();
    assert_eq!((next, result.unwrap()), (position, json!(2)));
    assert_eq!(wait(batch.next()).unwrap().0, 0);
    assert!(wait(batch.next()).is_none());
    stop(snakepit);
}
