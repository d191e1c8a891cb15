//! What the layers round a pool add to a call when nothing fails: retry, breaker and crash barrier
//! together, composed and boxed as the facade does it, beside the same call without them.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use snakepit_core::resilience::{
    Breaker, BreakerOptions, Budget, Retry, RetryPolicy, Subject, Timing,
};
use snakepit_core::testkit::FakeWorker;
use snakepit_core::{
    BoxFuture, Clock, Codec, Completed, Error, Payload, Pool, PoolOptions, Request,
};
use tokio::runtime::Handle;

struct Layers {
    retry: Retry,
    breaker: Breaker,
    timing: Timing,
}

impl Layers {
    fn new(pool: &Pool, runtime: &Handle, per_command: bool) -> Self {
        let timing = Timing::new(Clock::system(), runtime);
        let retry = Retry::new(RetryPolicy::default(), timing.clone(), 7);
        let mut options = BreakerOptions::default();
        options.per_command = per_command;
        let breaker = Breaker::new(pool.name().clone(), options, Clock::system());
        Self { retry: retry.budget(Budget::new(0.2)), breaker, timing }
    }
}

fn layered(layers: Arc<Layers>, pool: Pool, request: Request) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let Layers { retry, breaker, timing } = &*layers;
        let now = timing.now();
        let subject = Subject::of(pool.name(), &request, pool.options().call_timeout, now);
        let attempt = || async {
            let permit = breaker.admit(&subject.command)?;
            let mut request = request.clone();
            request.timeout = subject.time_left(timing.now());
            let result = pool.submit(request)?.await;
            permit.settle(&result);
            result
        };
        retry.run(&subject, attempt).await
    })
}

type Answer = Result<Completed, Error>;

/// Begins a call, has its worker answer, and takes the answer.
fn round<F: Future<Output = Answer> + Unpin>(mut call: F, worker: &FakeWorker, value: &Payload) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(std::pin::Pin::new(&mut call).poll(&mut context), Poll::Pending));
    worker.finish_first(value.clone());
    black_box(pollster::block_on(call).expect("answered"));
}

fn layers(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    let payload = Payload::encode(Codec::MsgPack, &(7, "text")).expect("encodes");
    let request = || {
        let mut request = Request::new("small", payload.clone());
        request.idempotent = true;
        request
    };
    let mut group = criterion.benchmark_group("layers/call");
    group.throughput(Throughput::Elements(1));
    let variants = [("none", None), ("per=pool", Some(false)), ("per=command", Some(true))];
    for (name, per_command) in variants {
        let mut options = PoolOptions::new("bench");
        options.prefetch = 0;
        options.barrier = per_command.map(|_| Duration::from_secs(60));
        let pool = Pool::new(options, Clock::system(), runtime.handle());
        let worker = FakeWorker::forgetful("w", 1);
        pool.join(worker.clone());
        let layers = per_command
            .map(|per_command| Arc::new(Layers::new(&pool, runtime.handle(), per_command)));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| match &layers {
                None => round(pool.submit(request()).expect("room"), &worker, &payload),
                Some(layers) => {
                    round(layered(Arc::clone(layers), pool.clone(), request()), &worker, &payload)
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, layers);
criterion_main!(benches);
