//! Streamed results: order, room, ends, silence.

use std::time::Duration;

use tokio::time::sleep;

use super::fake::*;
use crate::call::CancelReason;
use crate::error::{ErrorKind, Phase};
use crate::pool::CallStream;

async fn item(stream: &mut CallStream) -> u64 {
    stream.next().await.unwrap().unwrap().decode().unwrap()
}

#[tokio::test(start_paused = true)]
async fn items_come_in_order_and_reading_makes_room() {
    let pool = pool(|o| o.stream_credit = 4);
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut stream = pool.submit_stream(request("count")).unwrap();
    for n in 0..4 {
        worker.chunk(1, n).unwrap();
    }
    assert_eq!(item(&mut stream).await, 0);
    assert_eq!(worker.granted(), 0, "room is granted in halves");
    assert_eq!(item(&mut stream).await, 1);
    assert_eq!(worker.granted(), 2);
    worker.chunk(1, 4).unwrap();
    worker.chunk(1, 5).unwrap();
    worker.end_stream(1);
    for n in 2..6 {
        assert_eq!(item(&mut stream).await, n);
    }
    assert!(stream.next().await.is_none());
    assert_eq!(worker.load(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_sends_more_than_granted_is_told_so() {
    let pool = pool(|o| o.stream_credit = 1);
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let _stream = pool.submit_stream(request("count")).unwrap();
    worker.chunk(1, 0).unwrap();
    assert!(worker.chunk(1, 1).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_chunk_for_a_call_with_one_result_breaks_the_protocol() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let _call = pool.submit(request("x")).unwrap();
    assert!(worker.chunk(1, 0).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_error_comes_after_the_items_before_it() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut stream = pool.submit_stream(request("count")).unwrap();
    worker.chunk(1, 7).unwrap();
    worker.fail(1);
    assert_eq!(item(&mut stream).await, 7);
    assert_eq!(kind(stream.next().await.unwrap()), ErrorKind::Python);
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_cancels_and_its_items_go_nowhere() {
    let pool = pool(|_| {});
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    drop(pool.submit_stream(request("count")).unwrap());
    assert_eq!(worker.cancelled(), [(1, CancelReason::Dropped)]);
    worker.chunk(1, 0).unwrap();
    worker.end_stream(1);
    assert_eq!(worker.load(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_ends_and_one_nobody_reads_does_not() {
    let pool = pool(|o| o.stream_idle_timeout = Some(Duration::from_secs(5)));
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let mut stream = pool.submit_stream(request("count")).unwrap();
    sleep(Duration::from_secs(4)).await;
    worker.chunk(1, 0).unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(item(&mut stream).await, 0, "unread items are the reader's silence");
    assert_eq!(kind(stream.next().await.unwrap()), ErrorKind::Timeout(Phase::StreamIdle));
    assert_eq!(worker.cancelled(), [(1, CancelReason::Deadline)]);
}
