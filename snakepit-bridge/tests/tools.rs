//! Calls of the host's tools over a link: what a worker asks, gives up and is answered.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use snakepit_core::{CallEvent, CallId, Codec, Error, ErrorKind, Payload, Tool};
use snakepit_proto::FRAGMENT_BYTES;
use snakepit_proto::v1;
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::worker_message::Frame;
use support::{attached, call, raw, server, sink, submit};

fn asks(tool_call_id: u64, call_id: u64, arguments: v1::Payload) -> Frame {
    Frame::ToolCall(v1::ToolCall {
        tool_call_id,
        call_id,
        name: "lookup".to_owned(),
        arguments: Some(arguments),
        timeout_us: 0,
    })
}

#[tokio::test]
async fn a_tool_call_comes_with_its_large_arguments_and_its_end_comes_after_it() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &call(1, "outer", ""));
    worker.next_call().await;
    let codec = v1::Codec::Raw.into();
    let head = v1::Payload {
        codec,
        data: "ab".into(),
        total_bytes: 4,
        payload_id: 7,
        ..Default::default()
    };
    worker.send(asks(3, 1, head));
    // Sent when its caller gave up; it must not come before what it is about.
    worker.send(Frame::ToolCancel(v1::ToolCancel { tool_call_id: 3, call_id: 1 }));
    worker.send(Frame::Fragment(v1::Fragment { payload_id: 7, offset: 2, data: "cd".into() }));
    let Some((1, CallEvent::ToolCalled(asked))) = events.recv().await else { panic!() };
    assert_eq!((asked.id, asked.name.as_str()), (3, "lookup"));
    assert_eq!(asked.arguments.into_bytes(), "abcd");
    let Some((1, CallEvent::ToolDropped(3))) = events.recv().await else { panic!() };
}

#[tokio::test]
async fn a_large_answer_travels_in_fragments_and_one_over_the_limit_is_an_error() {
    let server = server();
    let limit = (FRAGMENT_BYTES + 10) as u64;
    let (link, mut worker) = support::attached_with(&server, |o| o.max_payload_bytes = limit).await;
    let id = CallId::new(1).unwrap();
    let bytes = |len: usize| Ok(Payload::from_bytes(Codec::Raw, vec![1; len]));
    link.answer_tool(id, 5, bytes(FRAGMENT_BYTES + 1));
    link.answer_tool(id, 6, bytes(FRAGMENT_BYTES + 11));
    link.flush();
    let Some(HostFrame::ToolResult(result)) = worker.next().await else { panic!() };
    let head = result.value.unwrap();
    assert_eq!((result.tool_call_id, head.total_bytes), (5, FRAGMENT_BYTES as u64 + 1));
    let Some(HostFrame::ToolError(error)) = worker.next().await else { panic!() };
    assert_eq!((error.tool_call_id, error.error.unwrap().kind.as_str()), (6, "payload_too_large"));
    let Some(HostFrame::Fragment(first)) = worker.next().await else { panic!() };
    assert_eq!((first.payload_id, first.offset), (head.payload_id, 0));
}

#[tokio::test]
async fn a_call_that_fails_because_of_a_tool_has_the_tools_own_error_as_its_cause() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &call(1, "outer", ""));
    worker.next_call().await;
    let original = Error::tool("not_found", "no such key")
        .with_detail("key", "x")
        .with_cause(Error::new(ErrorKind::System, "the disk is gone"));
    link.answer_tool(CallId::new(1).unwrap(), 9, Err(original));
    link.flush();
    let Some(HostFrame::ToolError(told)) = worker.next().await else { panic!() };
    let told = told.error.unwrap();
    assert_eq!((told.kind.as_str(), told.message.as_str()), ("tool_failed", "no such key"));
    let details = [("key", "x"), ("kind", "not_found")];
    assert_eq!(told.details, details.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
    let failed = v1::Error {
        call_id: 1,
        kind: v1::ErrorKind::Python.into(),
        tool_call_id: 9,
        ..Default::default()
    };
    worker.send(Frame::Error(failed));
    let Some((1, CallEvent::Failed { error, .. })) = events.recv().await else { panic!() };
    let cause = error.cause().unwrap();
    assert_eq!(cause.kind(), ErrorKind::ToolFailed);
    assert_eq!(cause.cause().unwrap().kind(), ErrorKind::System);
}

#[tokio::test]
async fn a_tool_call_of_a_call_that_has_ended_is_refused_and_the_link_goes_on() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    worker.send(asks(4, 77, raw("")));
    let Some(HostFrame::ToolError(error)) = worker.next().await else { panic!() };
    assert_eq!((error.tool_call_id, error.error.unwrap().kind.as_str()), (4, "cancelled"));
    let mut tool = Tool::new("lookup");
    tool.description = "Looks up.".to_owned();
    link.offer_tools(&[tool]);
    link.flush();
    let Some(HostFrame::HostTools(offered)) = worker.next().await else { panic!() };
    assert_eq!(offered.tools[0].description, "Looks up.");
    assert_eq!(offered.tools[0].parameters_schema, r#"{"type":"object"}"#);
}
