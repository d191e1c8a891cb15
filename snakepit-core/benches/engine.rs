//! What the pool engine costs per call, without any worker: submission, dispatch, answer.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use snakepit_core::{
    BoxFuture, Call, CallEvent, CallId, CancelReason, Clock, Codec, Payload, Pool, PoolOptions,
    Reply, Request, Slots, Worker, WorkerExit, WorkerId, WorkerInfo,
};

/// A worker that keeps replies until the benchmark answers them.
struct Instant {
    info: WorkerInfo,
    slots: Arc<dyn Slots>,
    replies: Mutex<Vec<Reply>>,
}

#[derive(Default)]
struct OneSlot(AtomicBool);

impl Slots for OneSlot {
    fn capacity(&self) -> usize {
        1
    }

    fn load(&self) -> usize {
        usize::from(self.0.load(Ordering::Relaxed))
    }

    fn try_acquire(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    fn release(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Instant {
    fn new(name: &str) -> Arc<Self> {
        let info = WorkerInfo::new(WorkerId::from(name), "instant");
        Arc::new(Self { info, slots: Arc::new(OneSlot::default()), replies: Mutex::default() })
    }

    fn answer_one(&self, value: &Payload) {
        let reply = self.replies.lock().expect("no panics here").remove(0);
        let run_time = Duration::from_micros(10);
        reply.finish(CallEvent::Finished { value: value.clone(), run_time });
    }
}

impl Worker for Instant {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    fn submit(&self, _: &Call, _: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        self.replies.lock().expect("no panics here").push(reply);
        Ok(())
    }

    fn cancel(&self, _: CallId, _: CancelReason) {}
    fn revoke(&self, _: &[CallId]) {}
    fn grant(&self, _: CallId, _: u32) {}
    fn flush(&self) {}
    fn stuck(&self, _: CallId) {}

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        Box::pin(std::future::pending())
    }

    fn stop(&self, _: Duration) -> BoxFuture<'static, WorkerExit> {
        Box::pin(std::future::ready(WorkerExit::Stopped))
    }
}

fn engine(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    let payload = Payload::encode(Codec::MsgPack, &(7, "text")).expect("encodes");
    let mut group = criterion.benchmark_group("engine/call");
    group.throughput(Throughput::Elements(1));
    for waiting in [0_usize, 64] {
        for prefetch in [0_usize, 8] {
            let mut options = PoolOptions::new("bench");
            options.prefetch = prefetch;
            let pool = Pool::new(options, Clock::system(), runtime.handle());
            let worker = Instant::new("w");
            pool.join(worker.clone());
            let request = || Request::new("small", payload.clone());
            let mut handles: std::collections::VecDeque<_> =
                (0..waiting).map(|_| pool.submit(request()).expect("room")).collect();
            let id = BenchmarkId::from_parameter(format!("waiting={waiting}/prefetch={prefetch}"));
            group.bench_function(id, |b| {
                b.iter(|| {
                    handles.push_back(pool.submit(request()).expect("room"));
                    worker.answer_one(&payload);
                    let done = handles.pop_front().expect("one per iteration");
                    black_box(pollster::block_on(done).expect("answered"));
                });
            });
            while let Some(handle) = handles.pop_front() {
                worker.answer_one(&payload);
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
