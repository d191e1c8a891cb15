//! Time from text to valid settings, for a document with 200 pools in each format.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use snakepit_config::{Config, Format, PoolConfig};

const POOLS: usize = 200;

/// 200 pools with every setting written out: forty lines each.
fn document() -> Config {
    let pools = (0..POOLS).map(|number| {
        PoolConfig::builder(format!("pool-{number}"))
            .adapter(format!("service.adapters.number_{number}:Adapter"))
            .adapter_args(serde_json::json!({ "model": "small", "layers": [1, 2, 3], "rate": 0.5 }))
            .env("LOG_LEVEL", "info")
            .env("CUDA_VISIBLE_DEVICES", "{index}")
            .build()
            .expect("the pool is valid")
    });
    Config::new(pools).expect("the names differ")
}

fn documents(criterion: &mut Criterion) {
    let config = document();
    for format in Format::ALL {
        let text = config.to_text(format);
        criterion.bench_function(&format!("config/read/pools=200/{}", format.name()), |bencher| {
            bencher.iter(|| Config::from_text(black_box(&text), format));
        });
    }
}

criterion_group!(benches, documents);
criterion_main!(benches);
