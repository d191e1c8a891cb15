//! What becomes of calls in flight when a worker goes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use snakepit_bridge::LinkEnd;
use snakepit_core::{CallEvent, CallId, CancelReason, Error, ErrorKind, Reply};
use snakepit_proto::v1::worker_message::Frame;
use tokio::io::AsyncReadExt;

use support::{FakeWorker, attached, call, queue, server, sink, streamed, submit};

#[tokio::test]
async fn started_calls_fail_and_the_others_return_in_order() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    for id in 1..=4 {
        queue(&link, &sink, &call(id, "work", ""));
    }
    link.flush();
    for _ in 0..4 {
        worker.next_call().await;
    }
    worker.control.start(0, 2);
    drop(worker);
    assert_eq!(link.closed().await, LinkEnd::WorkerGone);
    assert!(events.try_recv().is_err(), "nothing is decided before the worker is known to be dead");

    link.settle(&Error::worker_lost(true, "it was killed by signal 9"));
    assert!(matches!(events.recv().await, Some((1, CallEvent::Returned))));
    let Some((2, CallEvent::Failed { error, .. })) = events.recv().await else { panic!() };
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    assert!(error.message().contains("signal 9"), "{error}");
    assert!(matches!(events.recv().await, Some((3, CallEvent::Returned))));
    assert!(matches!(events.recv().await, Some((4, CallEvent::Returned))));
    let late = call(5, "work", "");
    assert!(link.submit(&late, None, Reply::new(sink, 0, late.id)).is_err());
}

#[tokio::test]
async fn results_that_were_in_the_socket_when_the_worker_died_are_read() {
    let server = server();
    let (link, mut worker, relay) = support::attached_through_relay(&server).await;
    let (sink, mut events) = sink();
    for id in 1..=100 {
        queue(&link, &sink, &call(id, "work", ""));
    }
    link.flush();
    for id in 1..=100 {
        worker.next_call().await;
        worker.control.start(0, id);
        worker.control.finish(0);
    }
    let (mut near, to_host) = relay.stop().await;

    for id in 1..=100 {
        worker.result(id, b"!done!");
    }
    let mut written = Vec::new();
    while written.windows(6).filter(|text| text == b"!done!").count() < 100 {
        near.read_buf(&mut written).await.unwrap();
    }
    // From here to the drop nothing is awaited: the host finds the results and the end together,
    // and has a frame of its own to write to the dead worker.
    link.cancel(CallId::new(1).unwrap(), CancelReason::Dropped);
    link.flush();
    assert_eq!(to_host.try_write(&written).unwrap(), written.len());
    drop(to_host);

    link.closed().await;
    link.settle(&Error::worker_lost(true, "gone"));
    for id in 1..=100 {
        let event = events.recv().await;
        assert!(matches!(event, Some((n, CallEvent::Finished { .. })) if n == id), "{event:?}");
    }
}

#[tokio::test]
async fn a_stream_that_gave_chunks_was_started_whatever_the_page_says() {
    use snakepit_proto::v1;
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &streamed(1, 2));
    worker.next_call().await;
    let value = Some(support::raw(""));
    worker.send(Frame::Chunk(v1::Chunk { call_id: 1, index: 0, value }));
    assert!(matches!(events.recv().await, Some((1, CallEvent::Chunk(_)))));
    drop(worker);
    link.closed().await;
    link.settle(&Error::worker_lost(true, "gone"));
    assert!(matches!(events.recv().await, Some((1, CallEvent::Failed { .. }))));
}

#[tokio::test]
async fn a_result_that_had_begun_to_come_was_started_whatever_the_page_says() {
    use snakepit_proto::v1;
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &call(1, "work", ""));
    worker.next_call().await;
    let value = v1::Payload { total_bytes: 100, payload_id: 1, ..support::raw("head") };
    worker.send(Frame::Result(v1::Result { call_id: 1, value: Some(value), run_us: 1 }));
    support::ping(&link, &mut worker, 0, 0).await;
    drop(worker);
    link.closed().await;
    link.settle(&Error::worker_lost(true, "gone"));
    assert!(matches!(events.recv().await, Some((1, CallEvent::Failed { .. }))));
}

#[tokio::test]
async fn a_link_that_is_dropped_leaves_no_caller_waiting() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &call(1, "work", ""));
    worker.next_call().await;
    drop(link);
    let Some((1, CallEvent::Failed { error, .. })) = events.recv().await else { panic!() };
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    assert!(worker.next().await.is_none(), "the worker sees the end too");
}

#[tokio::test]
async fn a_closed_link_ends_although_someone_else_holds_the_workers_socket() {
    let server = server();
    let (attaching, launched) = support::launch(&server);
    let grandchild = launched.socket.try_clone().unwrap();
    let hello = Frame::Hello(support::hello());
    let (link, worker) = tokio::join!(attaching, FakeWorker::attach(launched, hello));
    let (link, _worker) = (link.unwrap(), worker.unwrap());
    link.close();
    assert_eq!(link.closed().await, LinkEnd::Closed);
    drop(grandchild);
}

#[tokio::test]
async fn pings_and_drains_end_with_the_link() {
    let server = server();
    let (link, worker) = attached(&server).await;
    let pong = link.ping();
    let drain = link.drain(None);
    drop(worker);
    let lost: [Error; 2] = [pong.await.unwrap_err(), drain.await.unwrap_err()];
    assert!(lost.iter().all(|e| e.kind() == ErrorKind::WorkerLost { maybe_executed: false }));
}
