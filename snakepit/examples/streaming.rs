//! Results while they come, with backpressure, and progress beside them.
//! `cargo run -p snakepit --example streaming -- PYTHON`

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use snakepit::Snakepit;

#[derive(Deserialize)]
struct Item {
    index: u64,
    square: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Snakepit::builder().adapter("snakepit.showcase").workers(1);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder.start().await?;

    let reports = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&reports);
    // The worker runs ahead by as many items as `stream_credit` allows, then waits for its reader.
    let call = snakepit.call("stream").args(json!({"count": 500})).on_progress(move |progress| {
        // On Snakepit's own thread: quick, or not at all.
        noted.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(progress.done);
    });
    let mut items = call.stream::<Item>().await?;
    let mut count = 0;
    while let Some(item) = items.next().await {
        let item = item?;
        assert_eq!((item.index, item.square), (count, count * count));
        count += 1;
    }
    assert_eq!(count, 500);
    let reports = reports.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    // Reports that follow each other faster than they can leave replace each other.
    println!("{count} items, {} reports of progress", reports.len());
    assert!(reports.is_sorted() && reports.len() <= 500);

    // One that yields from a coroutine; leaving early closes the generator and frees the worker.
    let mut endless = snakepit.execute_stream::<Item>("async_stream", (1_000_000,)).await?;
    while let Some(item) = endless.next().await {
        if item?.index == 9 {
            break;
        }
    }
    drop(endless);
    let again: i64 = snakepit.execute("add", (1, 2)).await?;
    println!("left a stream of a million items after ten; the worker added {again}");
    snakepit.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}
