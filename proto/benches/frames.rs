//! Messages into the body of a stream and out of a received one, in nanoseconds per message of 160
//! bytes of arguments, eight of which travel together, and in bytes per second for a payload of 1 MiB
//! in fragments. No socket and no HTTP/2 are under it.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_core::Stream;
use http_body::{Body as _, Frame};
use snakepit_proto::FRAGMENT_BYTES;
use snakepit_proto::framing::{Incoming, Outgoing};
use snakepit_proto::v1::{self, HostMessage, host_message};
use tonic::Status;
use tonic::body::Body;

/// As many small messages as are ready together while calls come briskly.
const TOGETHER: usize = 8;

const LARGE_BYTES: usize = 1024 * 1024;

/// Messages that are all ready.
struct Ready(std::vec::IntoIter<HostMessage>);

impl Stream for Ready {
    type Item = Result<HostMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// A body that has been received, in the pieces in which it came.
struct Received(std::vec::IntoIter<Bytes>);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }
}

fn message(frame: host_message::Frame) -> HostMessage {
    HostMessage { frame: Some(frame) }
}

fn calls() -> Vec<HostMessage> {
    let call = |call_id| v1::Call {
        call_id,
        command: "small".to_owned(),
        arguments: Some(v1::Payload { data: vec![7; 160].into(), ..Default::default() }),
        timeout_us: 30_000_000,
        ..Default::default()
    };
    (1..=TOGETHER as u64).map(|id| message(host_message::Frame::Call(call(id)))).collect()
}

fn fragments() -> Vec<HostMessage> {
    let data = Bytes::from(vec![7; LARGE_BYTES]);
    let fragment = |offset: usize| v1::Fragment {
        payload_id: 1,
        offset: offset as u64,
        data: data.slice(offset..offset + FRAGMENT_BYTES),
    };
    let offsets = (0..LARGE_BYTES).step_by(FRAGMENT_BYTES);
    offsets.map(|offset| message(host_message::Frame::Fragment(fragment(offset)))).collect()
}

/// The pieces that the messages leave in.
fn written(messages: Vec<HostMessage>) -> Vec<Bytes> {
    let mut body = pin!(Outgoing::new(Ready(messages.into_iter())));
    let mut context = Context::from_waker(Waker::noop());
    let mut pieces = Vec::new();
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
        // Trailers end it.
        let Ok(piece) = frame.expect("messages go out").into_data() else { break };
        pieces.push(piece);
    }
    pieces
}

/// How many messages the pieces hold.
fn read(pieces: Vec<Bytes>) -> usize {
    let mut messages = pin!(Incoming::<HostMessage>::new(Body::new(Received(pieces.into_iter()))));
    let mut context = Context::from_waker(Waker::noop());
    let mut count = 0;
    while let Poll::Ready(Some(message)) = messages.as_mut().poll_next(&mut context) {
        black_box(message.expect("a message"));
        count += 1;
    }
    count
}

/// The same bytes in one piece, as small messages are read from a socket.
fn joined(pieces: &[Bytes]) -> Vec<Bytes> {
    let all: Vec<u8> = pieces.iter().flatten().copied().collect();
    vec![Bytes::from(all)]
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    let workloads = [
        ("call/bytes=160", calls(), Throughput::Elements(TOGETHER as u64)),
        ("fragments/bytes=1048576", fragments(), Throughput::Bytes(LARGE_BYTES as u64)),
    ];
    for (name, messages, throughput) in workloads {
        group.throughput(throughput);
        group.bench_function(BenchmarkId::new("write", name), |b| {
            b.iter_batched(|| messages.clone(), written, BatchSize::SmallInput);
        });
        let pieces = joined(&written(messages.clone()));
        assert_eq!(read(pieces.clone()), messages.len(), "what was written is read");
        group.bench_function(BenchmarkId::new("read", name), |b| {
            b.iter_batched(|| pieces.clone(), read, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
