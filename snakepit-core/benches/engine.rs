//! What the pool engine costs per call, without any worker: submission, dispatch, answer.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use snakepit_core::testkit::FakeWorker;
use snakepit_core::{Clock, Codec, Payload, Pool, PoolOptions, Request};

fn engine(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    let payload = Payload::encode(Codec::MsgPack, &(7, "text")).expect("encodes");
    let mut group = criterion.benchmark_group("engine/call");
    for waiting in [0_usize, 64] {
        // While many calls are in line, answers are told eight together.
        let round = if waiting == 0 { 1 } else { 8 };
        group.throughput(Throughput::Elements(round));
        for prefetch in [0_usize, 8] {
            let mut options = PoolOptions::new("bench");
            options.prefetch = prefetch;
            let pool = Pool::new(options, Clock::system(), runtime.handle());
            let worker = FakeWorker::forgetful("w", 1);
            pool.join(worker.clone());
            let request = || Request::new("small", payload.clone());
            let mut handles: std::collections::VecDeque<_> =
                (0..waiting).map(|_| pool.submit(request()).expect("room")).collect();
            let id = BenchmarkId::from_parameter(format!("waiting={waiting}/prefetch={prefetch}"));
            group.bench_function(id, |b| {
                b.iter(|| {
                    for _ in 0..round {
                        handles.push_back(pool.submit(request()).expect("room"));
                        worker.finish_first(payload.clone());
                    }
                    for done in handles.drain(..round as usize) {
                        // The pool's runtime is what tells the answers.
                        black_box(runtime.block_on(done).expect("answered"));
                    }
                });
            });
            while let Some(handle) = handles.pop_front() {
                worker.finish_first(payload.clone());
                drop(handle);
            }
        }
    }
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/small");
    let value = serde_json::json!({"n": 7, "text": "the quick brown fox jumps over the lazy dog"});
    for codec in [Codec::MsgPack, Codec::Json] {
        let name = format!("{codec:?}").to_lowercase();
        group.bench_function(BenchmarkId::new("encode", &name), |b| {
            b.iter(|| Payload::encode(codec, black_box(&value)));
        });
        let payload = Payload::encode(codec, &value).expect("encodes");
        group.bench_function(BenchmarkId::new("decode", &name), |b| {
            b.iter(|| black_box(&payload).decode::<serde_json::Value>());
        });
    }
    group.finish();
}

criterion_group!(benches, engine, codec);
criterion_main!(benches);
