//! What is known of libraries, in microseconds: one looked up by a name that is not normalised, one
//! judged, a requirements file of 200 lines read, and the report about them.

use std::hint::black_box;
use std::io::Write;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use snakepit_compat::{
    Abi, Filter, Profile, Requirements, check, generate_report, get_library_info, list_all,
};

const LINES: usize = 200;

/// Pinned, as lock files are: libraries that are known, and as many that are not.
fn requirements() -> String {
    let known = list_all(&Filter::default());
    let line = |(number, library): (usize, &&snakepit_compat::Library)| match number % 2 {
        0 => format!("{}==1.{number}.0\n", library.name),
        _ => format!("nobody-knows-{number}==2.{number}\n"),
    };
    known.iter().cycle().take(LINES).enumerate().map(line).collect()
}

fn libraries(criterion: &mut Criterion) {
    let abi = Abi { minor: 14, free_threaded: true };
    criterion.bench_function("library/find", |b| {
        b.iter(|| get_library_info(black_box("Scikit_Learn")));
    });
    criterion.bench_function("library/check", |b| {
        b.iter(|| check(black_box("numpy"), Some("2.4.1"), Profile::Thread, abi));
    });
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(requirements().as_bytes()).expect("it takes text");
    let used = Requirements::from_file(file.path()).expect("it can be read");
    let mut group = criterion.benchmark_group("requirements");
    group.throughput(Throughput::Elements(used.libraries.len() as u64));
    group.bench_function(BenchmarkId::new("read", format!("lines={LINES}")), |b| {
        b.iter(|| Requirements::from_file(black_box(file.path())));
    });
    group.bench_function(BenchmarkId::new("report", format!("lines={LINES}")), |b| {
        b.iter(|| generate_report(black_box(&used), Profile::Thread, abi));
    });
    group.finish();
}

criterion_group!(benches, libraries);
criterion_main!(benches);
