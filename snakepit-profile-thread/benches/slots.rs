//! Taking and giving back a slot of a worker with sixteen, in nanoseconds per pair: on one thread, and
//! on one while another does the same without pause, as dispatch and an answer meet.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use snakepit_core::Slots;
use snakepit_profile_thread::ThreadSlots;

const SLOTS: usize = 16;

fn take_and_give_back(slots: &ThreadSlots) {
    if black_box(slots.try_acquire()) {
        slots.release();
    }
}

fn slots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slots/acquire_release");
    group.throughput(Throughput::Elements(1));
    for others in [0, 1] {
        let (slots, ended) = (ThreadSlots::new(SLOTS), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..others {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        take_and_give_back(&slots);
                    }
                });
            }
            let threads = BenchmarkId::from_parameter(format!("threads={}", 1 + others));
            group.bench_function(threads, |b| b.iter(|| take_and_give_back(&slots)));
            ended.store(true, Ordering::Relaxed);
        });
    }
    group.finish();
}

criterion_group!(benches, slots);
criterion_main!(benches);
