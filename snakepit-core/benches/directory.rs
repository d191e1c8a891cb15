//! What it costs a call to choose its pool by name, in quiet and while pools come and go.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use snakepit_core::Directory;

fn choose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("directory/choose");
    for pools in [1_usize, 10, 200] {
        let directory = filled(pools);
        let name = format!("pool-{}", pools / 2);
        group.bench_function(BenchmarkId::from_parameter(format!("pools={pools}")), |b| {
            b.iter(|| black_box(directory.get(black_box(&name))));
        });
    }
    let directory = filled(200);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                directory.insert("comes", Arc::new(0));
                directory.remove("comes");
                // A pool takes milliseconds to start; this is a hundred times as often.
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        });
        group.bench_function(BenchmarkId::from_parameter("pools=200/changing"), |b| {
            b.iter(|| black_box(directory.get(black_box("pool-100"))));
        });
        over.store(true, Ordering::Relaxed);
    });
    group.finish();
}

fn filled(pools: usize) -> Directory<Arc<usize>> {
    let directory = Directory::default();
    for n in 0..pools {
        directory.insert(format!("pool-{n}"), Arc::new(n));
    }
    directory
}

criterion_group!(benches, choose);
criterion_main!(benches);
