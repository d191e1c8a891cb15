//! Four ways in which a call is given up, and what its tool sees: a deadline, a dropped future, a
//! dropped stream, and a call that had not begun. Each time the worker serves on.
//!
//! `cargo run -p snakepit --example cancel -- PYTHON`

use std::path::Path;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde_json::{Value, json};
use snakepit::{ErrorKind, Phase, Snakepit};

const ADAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pipeline/adapter.py");

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let mut builder = Snakepit::builder().adapter(ADAPTER).workers(1);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder.start().await?;
    let directory = std::env::temp_dir().join(format!("snakepit-cancel-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let shown = show(&snakepit, &directory.join("working")).await;
    std::fs::remove_dir_all(&directory)?;
    shown?;
    Ok(snakepit.shutdown(Duration::from_secs(10)).await?)
}

async fn show(snakepit: &Snakepit, mark: &Path) -> Outcome {
    let work = || snakepit.call("wait_until_cancelled").args(json!({"started": mark}));

    // The caller has its error at the deadline; the tool sees it in `context.check_cancelled()`.
    let late = work().timeout(Duration::from_millis(200)).execute::<Value>().await;
    let Err(error) = late else { return Err("it ended before its deadline".into()) };
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Call));
    println!("deadline: {error}");
    serves(snakepit, mark).await?;

    // Dropping the future cancels the call; nobody has to tell anybody.
    {
        let call = std::pin::pin!(work().execute::<Value>());
        match select(call, std::pin::pin!(exists(mark))).await {
            Either::Left((ended, _)) => return Err(format!("it ended: {ended:?}").into()),
            Either::Right(_) => println!("dropped future: the tool was at work"),
        }
    }
    serves(snakepit, mark).await?;

    // So does dropping a stream. Its generator is closed where it stands.
    let million = json!({"count": 1_000_000});
    let mut documents = snakepit.execute_stream::<Value>("documents", million).await?;
    let first = documents.next().await.ok_or("no document")??;
    println!("dropped stream: after document {}", first["id"]);
    drop(documents);
    serves(snakepit, mark).await?;

    // A call that waits for the only worker leaves the line, and its tool is never entered.
    let running = tokio::spawn(work().timeout(Duration::from_secs(2)).execute::<Value>());
    exists(mark).await;
    let other = mark.with_extension("never");
    let waiting = snakepit.call("wait_until_cancelled").args(json!({"started": other}));
    let waited = waiting.timeout(Duration::from_millis(100)).execute::<Value>().await;
    let Err(error) = waited else { return Err("it ended while another ran".into()) };
    println!("in line: {error}");
    drop(running.await?);
    serves(snakepit, mark).await?;
    assert!(!other.exists(), "it had not begun");
    Ok(())
}

/// The worker is there for others, and the cancelled tool has ended before.
async fn serves(snakepit: &Snakepit, mark: &Path) -> Outcome {
    let words: Value = snakepit.execute("words", json!({"text": "still here"})).await?;
    assert_eq!(words, json!({"still": 1, "here": 1}));
    assert!(!mark.exists(), "the tool has run its `finally`");
    Ok(())
}

async fn exists(mark: &Path) {
    while !mark.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
