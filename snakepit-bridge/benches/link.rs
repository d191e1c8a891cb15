//! One call there and back over a link, in microseconds: frames, HTTP/2 and sockets on both sides of
//! one thread, between a host's link and a worker made of the generated client, one call at a time
//! and 64 at a time. No pool is over it and no Python behind it.

#[path = "../tests/support/mod.rs"]
mod support;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use snakepit_bridge::Link;
use snakepit_core::CallEvent;
use snakepit_proto::v1;
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::worker_message::Frame;

use support::{Events, FakeWorker, Sink, attached, call, queue, raw, server, sink};

/// What a call carries in either direction.
const BYTES: usize = 160;

/// Answers calls until the link ends.
async fn echo(mut worker: FakeWorker) {
    while let Some(frame) = worker.next().await {
        if let HostFrame::Call(v1::Call { call_id, arguments: Some(arguments), .. }) = frame {
            let value = Some(raw(arguments.data));
            worker.send(Frame::Result(v1::Result { call_id, value, run_us: 5 }));
        }
    }
}

/// Sends so many calls together and takes their answers.
async fn round(
    link: &Link,
    sink: &std::sync::Arc<Sink>,
    events: &mut Events,
    next: &mut u64,
    together: usize,
    data: &Bytes,
) {
    for _ in 0..together {
        *next += 1;
        queue(link, sink, &call(*next, "small", data.clone()));
    }
    link.flush();
    let mut answered = 0;
    while answered < together {
        let (_, event) = events.recv().await.expect("the link lives");
        answered += usize::from(matches!(event, CallEvent::Finished { .. }));
    }
}

fn links(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let data = Bytes::from(vec![7; BYTES]);
    let mut group = criterion.benchmark_group("link/call");
    for together in [1_usize, 64] {
        let (_server, link, echoing) = runtime.block_on(async {
            let server = server();
            let (link, worker) = attached(&server).await;
            (server, link, tokio::spawn(echo(worker)))
        });
        let (sink, mut events) = sink();
        let mut next = 0;
        group.throughput(Throughput::Elements(together as u64));
        let id = BenchmarkId::from_parameter(format!("bytes={BYTES}/together={together}"));
        group.bench_function(id, |b| {
            b.iter(|| {
                let round = round(&link, &sink, &mut events, &mut next, together, &data);
                runtime.block_on(round);
            });
        });
        link.close();
        runtime.block_on(echoing).expect("the worker ends with its link");
    }
    group.finish();
}

criterion_group!(benches, links);
criterion_main!(benches);
