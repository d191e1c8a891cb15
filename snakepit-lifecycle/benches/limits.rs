//! What a supervisor adds to a call while nobody is replaced, in nanoseconds per call through the
//! engine: a pool without one, with one that limits nothing, and with one whose limits are far away.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use snakepit_core::testkit::{FakeProfile, FakeWorker, Start};
use snakepit_core::{Clock, Codec, Payload, Pool, PoolOptions, Request};
use snakepit_lifecycle::{Limits, Supervisor, SupervisorOptions};
use tokio::runtime::Runtime;

/// Limits that are watched and never reached.
const FAR: Duration = Duration::from_secs(86_400);

fn pool(runtime: &Runtime) -> Pool {
    let mut options = PoolOptions::new("bench");
    options.prefetch = 0;
    Pool::new(options, Clock::system(), runtime.handle())
}

/// A pool whose one worker somebody watches.
fn supervised(runtime: &Runtime, limits: Limits) -> (Pool, Supervisor, Arc<FakeWorker>) {
    let pool = pool(runtime);
    let profile = Arc::new(FakeProfile::new(1, Start::Ready));
    let mut options = SupervisorOptions::new(1);
    options.limits = limits;
    let starts =
        Supervisor::start(pool.clone(), Arc::clone(&profile) as _, options, runtime.handle());
    let supervisor = runtime.block_on(starts).expect("it starts");
    (pool, supervisor, profile.worker("bench.0.0"))
}

fn calls(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let payload = Payload::encode(Codec::MsgPack, &(7, "text")).expect("encodes");
    let mut group = criterion.benchmark_group("limits/call");
    group.throughput(Throughput::Elements(1));
    let limits = Limits {
        ttl: Some(FAR),
        idle: Some(FAR),
        max_requests: Some(u64::MAX / 2),
        ..Limits::default()
    };
    for (name, watched) in
        [("unsupervised", None), ("none", Some(Limits::default())), ("far", Some(limits))]
    {
        let (pool, supervisor, worker) = match watched {
            Some(limits) => {
                let (pool, supervisor, worker) = supervised(&runtime, limits);
                (pool, Some(supervisor), worker)
            }
            None => {
                let (pool, worker) = (pool(&runtime), FakeWorker::new("w", 1));
                pool.join(Arc::clone(&worker) as _);
                (pool, None, worker)
            }
        };
        worker.forget();
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let call = pool.submit(Request::new("small", payload.clone())).expect("room");
                worker.finish_first(payload.clone());
                black_box(runtime.block_on(call).expect("answered"));
            });
        });
        if let Some(supervisor) = supervisor {
            pool.close();
            runtime.block_on(supervisor.shutdown(Duration::from_secs(5))).expect("it ends");
        }
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
