//! A worker that breaks a rule loses its own link, with the rule named; nothing else ends.

mod support;

use snakepit_bridge::{Link, LinkEnd, LinkServer};
use snakepit_core::{CallEvent, Error, ErrorKind};
use snakepit_proto::v1;
use snakepit_proto::v1::worker_message::Frame;
use tokio::io::AsyncWriteExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use support::{
    FakeWorker, attached, attached_through_relay, attached_with, call, raw, server, sink, streamed,
    submit,
};

/// The rule that ended the link; the worker's stream must end too, and another link live on.
async fn broken(server: &LinkServer, link: Link, mut worker: FakeWorker) -> String {
    let LinkEnd::Broken(rule) = link.closed().await else { panic!("not broken") };
    while worker.next().await.is_some() {}
    let (other, mut bystander) = attached(server).await;
    support::ping(&other, &mut bystander, 0, 0).await;
    rule
}

#[tokio::test]
async fn a_frame_without_content_is_unknown() {
    let server = server();
    let (link, worker) = attached(&server).await;
    worker.out.send(v1::WorkerMessage { frame: None }).unwrap();
    assert!(broken(&server, link, worker).await.contains("does not know"));
}

#[tokio::test]
async fn bytes_that_are_no_frame_are_malformed() {
    use prost::Message;
    let server = server();
    let (attaching, launched) = support::launch(&server);
    let hello = v1::WorkerMessage { frame: Some(Frame::Hello(support::hello())) };
    let (messages, queued) = tokio::sync::mpsc::unbounded_channel();
    messages.send(hello.encode_to_vec()).unwrap();

    let mut client = tonic::client::Grpc::new(support::channel(launched.socket));
    client.ready().await.unwrap();
    let path = "/snakepit.v1.WorkerService/Attach".parse().unwrap();
    let body = UnboundedReceiverStream::new(queued);
    let request = tonic::Request::new(body);
    let (link, _answer) = tokio::join!(attaching, client.streaming(request, path, PlainBytes));
    messages.send(vec![0xff; 9]).unwrap();
    let LinkEnd::Broken(rule) = link.unwrap().closed().await else { panic!("not broken") };
    assert!(rule.contains("malformed frame"), "{rule}");
}

#[tokio::test]
async fn a_fragment_out_of_order() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, _events) = sink();
    submit(&link, &sink, &call(1, "load", ""));
    worker.next_call().await;
    let value = v1::Payload { total_bytes: 10, payload_id: 1, ..raw("head") };
    worker.send(Frame::Result(v1::Result { call_id: 1, value: Some(value), run_us: 0 }));
    let data = bytes::Bytes::from_static(b"tail");
    worker.send(Frame::Fragment(v1::Fragment { payload_id: 1, offset: 5, data }));
    assert!(broken(&server, link, worker).await.contains("out of order"));
}

#[tokio::test]
async fn a_result_over_the_limit() {
    let server = server();
    let (link, mut worker) = attached_with(&server, |o| o.max_payload_bytes = 4).await;
    let (sink, _events) = sink();
    submit(&link, &sink, &call(1, "load", ""));
    worker.next_call().await;
    worker.result(1, b"12345");
    assert!(broken(&server, link, worker).await.contains("over the limit"));
}

#[tokio::test]
async fn a_result_for_a_call_that_is_not_in_flight() {
    let server = server();
    let (link, worker) = attached(&server).await;
    worker.result(9, b"");
    assert!(broken(&server, link, worker).await.contains("not in flight"));
}

#[tokio::test]
async fn a_chunk_over_its_credit_fails_the_call() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = support::stingy_sink();
    submit(&link, &sink, &streamed(1, 0));
    worker.next_call().await;
    worker.send(Frame::Chunk(v1::Chunk { call_id: 1, index: 0, value: Some(raw("")) }));
    let LinkEnd::Broken(rule) = link.closed().await else { panic!("not broken") };
    assert!(rule.contains("granted"), "{rule}");
    link.settle(&Error::worker_lost(true, "it broke the protocol"));
    let Some((1, CallEvent::Failed { error, .. })) = events.recv().await else { panic!() };
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
}

#[tokio::test]
async fn a_chunk_out_of_turn_and_a_stream_that_ends_short() {
    let server = server();
    for frame in [
        Frame::Chunk(v1::Chunk { call_id: 1, index: 1, value: Some(raw("")) }),
        Frame::ChunkEnd(v1::ChunkEnd { call_id: 1, chunks: 1, run_us: 0 }),
    ] {
        let (link, mut worker) = attached(&server).await;
        let (sink, _events) = sink();
        submit(&link, &sink, &streamed(1, 4));
        worker.next_call().await;
        worker.send(frame);
        assert!(broken(&server, link, worker).await.contains("was due"));
    }
}

#[tokio::test]
async fn one_value_for_a_stream_and_a_chunk_for_one_value() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, _events) = sink();
    submit(&link, &sink, &streamed(1, 4));
    worker.next_call().await;
    worker.result(1, b"");
    assert!(broken(&server, link, worker).await.contains("asked for a stream"));

    let (link, mut worker) = attached(&server).await;
    submit(&link, &sink, &call(1, "load", ""));
    worker.next_call().await;
    worker.send(Frame::Chunk(v1::Chunk { call_id: 1, index: 0, value: Some(raw("")) }));
    assert!(broken(&server, link, worker).await.contains("asked for one value"));
}

#[tokio::test]
async fn a_second_hello() {
    let server = server();
    let (link, worker) = attached(&server).await;
    worker.send(Frame::Hello(support::hello()));
    assert!(broken(&server, link, worker).await.contains("after the first frame"));
}

/// Puts bytes into gRPC messages as they are.
#[derive(Clone, Copy, Default)]
struct PlainBytes;

impl tonic::codec::Codec for PlainBytes {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl tonic::codec::Encoder for PlainBytes {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn encode(
        &mut self,
        bytes: Vec<u8>,
        out: &mut tonic::codec::EncodeBuf<'_>,
    ) -> Result<(), tonic::Status> {
        bytes::BufMut::put_slice(out, &bytes);
        Ok(())
    }
}

impl tonic::codec::Decoder for PlainBytes {
    type Item = ();
    type Error = tonic::Status;

    fn decode(
        &mut self,
        bytes: &mut tonic::codec::DecodeBuf<'_>,
    ) -> Result<Option<()>, tonic::Status> {
        bytes::Buf::advance(bytes, bytes::Buf::remaining(bytes));
        Ok(Some(()))
    }
}

#[tokio::test]
async fn what_is_not_even_http2_is_told() {
    let server = server();
    let (link, _worker, relay) = attached_through_relay(&server).await;
    let (_near, mut to_host) = relay.stop().await;
    // A DATA frame of no stream (RFC 9113, 6.1).
    to_host.write_all(&[0, 0, 1, 0, 0, 0, 0, 0, 0, b'?']).await.unwrap();
    match link.closed().await {
        LinkEnd::Broken(rule) => assert!(rule.contains("protocol error"), "{rule}"),
        other => panic!("{other}"),
    }
}
