//! One call, one stream, one batch: `cargo run -p snakepit --example hello -- PYTHON`, where PYTHON
//! is an interpreter that `snakepit setup` or `cargo xtask setup` has prepared.

use std::time::Duration;

use serde_json::{Value, json};
use snakepit::Snakepit;

fn main() -> snakepit::Result<()> {
    // Any executor will do.
    pollster::block_on(run())
}

async fn run() -> snakepit::Result<()> {
    let mut builder = Snakepit::builder().adapter("snakepit.showcase").workers(2);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder.start().await?;

    let pong: Value = snakepit.execute("ping", ()).await?;
    println!("ping: {pong}");

    let mut squares = snakepit.execute_stream::<Value>("stream", json!({"count": 3})).await?;
    while let Some(square) = squares.next().await {
        println!("stream: {}", square?);
    }

    let calls = (0..5).map(|n| snakepit.call("add").args((n, n)));
    for sum in snakepit.execute_batch::<i64>(calls).await {
        println!("add: {}", sum?);
    }

    let call = snakepit.call("slow_steps").args(json!({"steps": 3, "step_seconds": 0.05}));
    call.on_progress(|progress| println!("progress: {}", progress.message))
        .execute::<Value>()
        .await?;

    snakepit.shutdown(Duration::from_secs(10)).await
}
