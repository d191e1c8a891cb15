//! Images through a pipeline of numpy and scikit-learn. Pixels and edges lie in memory that this
//! program and its workers share: they are written once each, and read where they lie, by Rust too.
//!
//! `cargo run -p snakepit --example images -- PYTHON`

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use snakepit::{Array, Error, PoolMemory, Snakepit};

const ADAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/images/adapter.py");

const HEIGHT: usize = 720;
const WIDTH: usize = 1280;

/// Each is some 2.7 MB of pixels and 7.4 MB of edges.
const PICTURES: usize = 24;

/// What there is to see: stripes across, stripes down, a chessboard.
const KINDS: usize = 3;

fn main() -> snakepit::Result<()> {
    pollster::block_on(run())
}

async fn run() -> snakepit::Result<()> {
    let mut builder = Snakepit::builder().adapter(ADAPTER).workers(2);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder.start().await?;

    let started = Instant::now();
    let measured = futures_util::stream::iter(0..PICTURES).map(|number| measure(&snakepit, number));
    // Four pictures are under way at a time, so memory for a few serves them all.
    let mut measured = std::pin::pin!(measured.buffered(4));
    let mut strengths = Vec::new();
    while let Some(strength) = measured.next().await {
        strengths.push(strength?);
    }
    println!("{PICTURES} pictures measured in {:.0?}", started.elapsed());

    let table = strengths.concat();
    let table = Array::from_vec::<f64>(table, [PICTURES, 2])?;
    let sorted: Vec<usize> = snakepit.execute("sort", (&table, KINDS)).await?;
    println!("kinds: {sorted:?}");
    for (number, kind) in sorted.iter().enumerate() {
        // Which number a kind has is the model's choice; that of its first picture is the others' too.
        assert_eq!(*kind, sorted[number % KINDS], "picture {number} among others of its kind");
    }
    assert!(sorted[0] != sorted[1] && sorted[1] != sorted[2] && sorted[2] != sorted[0]);

    let report = snakepit.shared_memory();
    let PoolMemory { lent, received, fallbacks, high_water_bytes, .. } = report.pools[0];
    println!(
        "{lent} arrays lent, {received} received, at most {} MB in use",
        high_water_bytes / 1_000_000
    );
    // Pictures and edges went to workers, and edges came from one.
    assert_eq!((lent, received, fallbacks), (2 * PICTURES as u64, PICTURES as u64, 0));
    snakepit.shutdown(Duration::from_secs(10)).await
}

/// How strong a picture's edges are, downwards and to the right.
async fn measure(snakepit: &Snakepit, number: usize) -> Result<[f64; 2], Error> {
    let picture = snakepit.shared_array("default", [HEIGHT, WIDTH, 3], |pixels: &mut [u8]| {
        draw(pixels, number);
    })?;
    let edges: Array = snakepit.execute("edges", (&picture,)).await?;
    drop(picture);
    assert_eq!(edges.shape(), [2, HEIGHT, WIDTH]);
    let expected = check(edges.as_slice::<f32>()?, number);
    // What one worker has written goes on to whichever is free, as it lies.
    let strength: [f64; 2] = snakepit.execute("strength", (&edges,)).await?;
    for (found, expected) in strength.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-2 * expected.max(1.0), "{found}, not {expected}");
    }
    Ok(strength)
}

fn draw(pixels: &mut [u8], number: usize) {
    // Stripes of another width and brightness in each.
    let (width, light) = (8 + number, 120 + 5 * number as u8);
    for (place, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let (down, right) = (place / WIDTH / width % 2, place % WIDTH / width % 2);
        let lit = match number % KINDS {
            0 => down,
            1 => right,
            _ => down ^ right,
        };
        pixel.fill(lit as u8 * light);
    }
}

/// Looks at edges in place: their strength in either direction, and that stripes have edges in one.
fn check(edges: &[f32], number: usize) -> [f64; 2] {
    let (down, right) = edges.split_at(HEIGHT * WIDTH);
    let mean = |edges: &[f32]| {
        let sum: f64 = edges.iter().map(|edge| f64::from(edge.abs())).sum();
        sum / (HEIGHT * WIDTH) as f64
    };
    let means = [mean(down), mean(right)];
    match number % KINDS {
        0 => assert!(means[0] > 1.0 && means[1] == 0.0, "stripes across: {means:?}"),
        1 => assert!(means[0] == 0.0 && means[1] > 1.0, "stripes down: {means:?}"),
        _ => assert!(means[0] > 1.0 && means[1] > 1.0, "a chessboard: {means:?}"),
    }
    means
}
