//! A call goes out, its result, chunks, progress or error comes back.

mod support;

use std::time::Duration;

use snakepit_core::{CallEvent, CallId, CancelReason, Error, ErrorKind, Phase};
use snakepit_proto::v1;
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::worker_message::Frame;
use support::{
    attached, attached_through_relay, call, ping, queue, raw, server, sink, streamed, submit,
};
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn a_call_reaches_the_worker_and_its_result_the_sink() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    assert_eq!(link.hello().tools[0].name, "add");
    let (sink, mut events) = sink();
    let mut request = call(1, "add", "arguments");
    request.request.session = Some("s".into());
    request.request.metadata = vec![("key".to_owned(), "value".to_owned())];
    submit(&link, &sink, &request);

    let received = worker.next_call().await;
    assert_eq!((received.call_id, received.command.as_str()), (1, "add"));
    assert_eq!(received.arguments.unwrap().data, "arguments");
    assert_eq!(received.session_id, "s");
    assert_eq!(received.metadata["key"], "value");
    assert_eq!(link.in_flight(), 1);

    worker.result(1, b"three");
    let Some((1, CallEvent::Finished { value, run_time })) = events.recv().await else { panic!() };
    assert_eq!(value.into_bytes(), "three");
    assert_eq!(run_time, Duration::from_micros(5));
    assert_eq!(link.in_flight(), 0);
}

#[tokio::test]
async fn frames_of_all_links_are_counted_both_ways() {
    let server = server();
    let (first, mut one) = attached(&server).await;
    let (second, mut other) = attached(&server).await;
    let (sink, mut events) = sink();
    let before = server.frames();
    for (link, worker) in [(&first, &mut one), (&second, &mut other)] {
        submit(link, &sink, &call(1, "add", ""));
        worker.next_call().await;
        worker.result(1, b"three");
        assert!(matches!(events.recv().await, Some((1, CallEvent::Finished { .. }))));
    }
    let after = server.frames();
    assert_eq!((after.sent - before.sent, after.received - before.received), (2, 2));
}

#[tokio::test]
async fn the_end_of_a_session_comes_between_its_calls_and_those_of_the_next_one() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, _events) = sink();
    queue(&link, &sink, &call(1, "add", ""));
    link.end_session(&"s".into());
    submit(&link, &sink, &call(2, "add", ""));
    assert_eq!(worker.next_call().await.call_id, 1);
    match worker.next().await {
        Some(HostFrame::SessionEnd(end)) => assert_eq!(end.session_id, "s"),
        other => panic!("expected the end of a session, got {other:?}"),
    }
    assert_eq!(worker.next_call().await.call_id, 2);
}

#[tokio::test]
async fn what_was_queued_before_a_flush_goes_out_in_order_and_in_one_write() {
    let server = server();
    let (link, _worker, relay) = attached_through_relay(&server).await;
    let (_, mut to_host) = relay.stop().await;
    let (sink, _events) = sink();
    for id in 1..=20 {
        queue(&link, &sink, &call(id, &format!("command-{id:02}"), ""));
    }
    link.flush();
    let mut written = vec![0; 65536];
    let n = to_host.read(&mut written).await.unwrap();
    let text = String::from_utf8_lossy(&written[..n]);
    let found: Vec<_> =
        text.match_indices("command-").map(|(at, _)| &text[at + 8..at + 10]).collect();
    let expected: Vec<_> = (1..=20).map(|id| format!("{id:02}")).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_cancel_follows_its_call() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, _events) = sink();
    queue(&link, &sink, &call(1, "add", ""));
    link.cancel(CallId::new(1).unwrap(), CancelReason::Deadline);
    link.flush();
    assert_eq!(worker.next_call().await.call_id, 1);
    let Some(HostFrame::Cancel(cancel)) = worker.next().await else { panic!() };
    assert_eq!((cancel.call_id, cancel.reason()), (1, v1::CancelReason::Deadline));
}

#[tokio::test]
async fn a_stream_gives_chunks_progress_and_an_end() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &streamed(7, 2));
    let received = worker.next_call().await;
    assert!(received.streaming);
    assert_eq!(received.credit, 2);

    for index in 0..2 {
        let value = Some(raw("chunk"));
        worker.send(Frame::Chunk(v1::Chunk { call_id: 7, index, value }));
    }
    let progress = v1::Progress { call_id: 7, done: 1.0, total: 2.0, message: "half".to_owned() };
    worker.send(Frame::Progress(progress));
    assert!(matches!(events.recv().await, Some((7, CallEvent::Chunk(_)))));
    assert!(matches!(events.recv().await, Some((7, CallEvent::Chunk(_)))));
    let Some((7, CallEvent::Progress(progress))) = events.recv().await else { panic!() };
    assert_eq!((progress.done, progress.total), (1.0, Some(2.0)));

    link.grant(CallId::new(7).unwrap(), 5);
    link.flush();
    let Some(HostFrame::Credit(credit)) = worker.next().await else { panic!() };
    assert_eq!((credit.call_id, credit.chunks), (7, 5));

    worker.send(Frame::ChunkEnd(v1::ChunkEnd { call_id: 7, chunks: 2, run_us: 9 }));
    assert!(matches!(events.recv().await, Some((7, CallEvent::StreamEnded { .. }))));
}

#[tokio::test]
async fn progress_that_comes_after_its_result_is_dropped() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &call(1, "add", ""));
    worker.next_call().await;
    worker.result(1, b"");
    worker.send(Frame::Progress(v1::Progress { call_id: 1, ..Default::default() }));
    assert!(matches!(events.recv().await, Some((1, CallEvent::Finished { .. }))));
    ping(&link, &mut worker, 0, 0).await;
}

#[tokio::test]
async fn revoked_calls_return_and_the_others_run_on() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    for id in 1..=2 {
        queue(&link, &sink, &call(id, "add", ""));
    }
    link.revoke(&[CallId::new(1).unwrap(), CallId::new(2).unwrap()]);
    link.flush();
    worker.next_call().await;
    worker.next_call().await;
    let Some(HostFrame::Revoke(revoke)) = worker.next().await else { panic!() };
    assert_eq!(revoke.call_ids, [1, 2]);
    worker.send(Frame::Revoked(v1::Revoked { call_ids: vec![2] }));
    worker.result(1, b"");
    assert!(matches!(events.recv().await, Some((2, CallEvent::Returned))));
    assert!(matches!(events.recv().await, Some((1, CallEvent::Finished { .. }))));
}

#[tokio::test]
async fn errors_keep_kind_help_details_and_the_python_exception() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &call(1, "add", ""));
    worker.next_call().await;
    let cause = v1::PythonException { type_name: "KeyError".to_owned(), ..Default::default() };
    let exception = v1::PythonException {
        type_name: "ValueError".to_owned(),
        module: "builtins".to_owned(),
        message: "no".to_owned(),
        cause: Some(Box::new(cause)),
        explicit_cause: true,
        frames: vec![v1::PythonFrame { file: "a.py".to_owned(), line: 3, ..Default::default() }],
        ..Default::default()
    };
    worker.send(Frame::Error(v1::Error {
        call_id: 1,
        kind: v1::ErrorKind::Python.into(),
        message: "ValueError: no".to_owned(),
        help: "try yes".to_owned(),
        exception: Some(exception),
        details: [("parameter".to_owned(), "a".to_owned())].into(),
        run_us: 3,
        started: true,
        tool_call_id: 0,
    }));
    let (error, run_time) = failure(events.recv().await);
    assert_eq!(error.kind(), ErrorKind::Python);
    assert_eq!(error.help(), Some("try yes"));
    assert_eq!(error.details()["parameter"], "a");
    assert_eq!(run_time, Some(Duration::from_micros(3)));
    let python = error.python().unwrap();
    assert_eq!(python.summary(), "ValueError: no");
    assert_eq!(python.frames[0].line, 3);
    assert_eq!(python.cause.as_ref().unwrap().type_name, "KeyError");
}

#[tokio::test]
async fn every_kind_of_error_has_its_name_in_core() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    let kinds = [
        (v1::ErrorKind::UnknownCommand, ErrorKind::UnknownCommand),
        (v1::ErrorKind::InvalidArguments, ErrorKind::InvalidArguments),
        (v1::ErrorKind::Decode, ErrorKind::DecodeFailed),
        (v1::ErrorKind::Encode, ErrorKind::EncodeFailed),
        (v1::ErrorKind::PayloadTooLarge, ErrorKind::PayloadTooLarge),
        (v1::ErrorKind::Cancelled, ErrorKind::Cancelled),
        (v1::ErrorKind::Deadline, ErrorKind::Timeout(Phase::Call)),
        (v1::ErrorKind::StreamingMismatch, ErrorKind::StreamingRequired),
        (v1::ErrorKind::Internal, ErrorKind::Internal),
    ];
    for (id, (wire, core)) in (1..).zip(kinds) {
        submit(&link, &sink, &call(id, "add", ""));
        worker.next_call().await;
        let error = v1::Error { call_id: id, kind: wire.into(), ..Default::default() };
        worker.send(Frame::Error(error));
        let (error, run_time) = failure(events.recv().await);
        assert_eq!(error.kind(), core);
        assert_eq!(run_time, None, "it was never started");
    }
}

#[tokio::test]
async fn arguments_over_the_limit_fail_the_call_and_nothing_is_sent() {
    let server = server();
    let (link, mut worker) = support::attached_with(&server, |o| o.max_payload_bytes = 8).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &call(1, "add", "nine bytes"));
    let (error, _) = failure(events.recv().await);
    assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
    submit(&link, &sink, &call(2, "add", "fits"));
    assert_eq!(worker.next_call().await.call_id, 2);
}

#[tokio::test]
async fn a_draining_link_gives_replies_back_and_resolves_when_the_worker_is_done() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let drain = link.drain(Some(Duration::from_secs(3)));
    let (sink, _events) = sink();
    let late = call(1, "add", "");
    let reply = snakepit_core::Reply::new(sink, 0, late.id);
    let reply = link.submit(&late, None, reply).unwrap_err();
    assert_eq!(reply.call(), late.id);
    let Some(HostFrame::Drain(frame)) = worker.next().await else { panic!() };
    assert_eq!(frame.deadline_ms, 3000);
    worker.send(Frame::DrainDone(v1::DrainDone {}));
    drain.await.unwrap();
    link.shutdown(Duration::from_secs(1));
    let Some(HostFrame::Shutdown(frame)) = worker.next().await else { panic!() };
    assert_eq!(frame.grace_ms, 1000);
}

#[tokio::test]
async fn heartbeats_are_read_and_pings_answered() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let before = link.vitals().last_seen;
    ping(&link, &mut worker, 1, 2).await;
    let vitals = link.vitals();
    assert_eq!((vitals.running, vitals.queued), (1, 2));
    assert!(vitals.last_seen >= before);
}

fn failure(event: Option<(u64, CallEvent)>) -> (Error, Option<Duration>) {
    match event {
        Some((_, CallEvent::Failed { error, run_time })) => (error, run_time),
        other => panic!("{other:?}"),
    }
}
