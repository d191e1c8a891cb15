//! A pipeline: documents are streamed from one call, each goes through a second tool, four at a time,
//! and a third brings the results together. A document that fails costs the others nothing.
//!
//! `cargo run -p snakepit --example pipeline -- PYTHON`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use snakepit::{Error, ErrorKind, Snakepit};

const ADAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pipeline/adapter.py");

/// Documents of 6 words more each: those from the 17th on are over the adapter's limit of 100.
const DOCUMENTS: u64 = 20;

type Counts = BTreeMap<String, u64>;

#[derive(Deserialize)]
struct Document {
    id: u64,
    text: String,
}

fn main() -> snakepit::Result<()> {
    pollster::block_on(run())
}

async fn run() -> snakepit::Result<()> {
    let mut builder = Snakepit::builder().adapter(ADAPTER).workers(2);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder.start().await?;

    // The stream holds one worker; the second stage shares the other, and the line in front of it.
    let read = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&read);
    let documents = snakepit
        .call("documents")
        .args(json!({"count": DOCUMENTS}))
        .on_progress(move |progress| seen.store(progress.done as u64, Ordering::Relaxed))
        .stream::<Document>()
        .await?;
    let counted = documents.map(|document| async {
        let Document { id, text } = document?;
        let counts = snakepit.call("words").args(json!({"text": text})).execute::<Counts>().await;
        Ok::<_, Error>((id, counts))
    });
    // Results come in the order of the documents, though four are under way at a time; and no more
    // documents are asked for than that.
    let mut counted = std::pin::pin!(counted.buffered(4));

    let mut counts = Vec::new();
    let mut refused = Vec::new();
    while let Some(result) = counted.next().await {
        let (id, result) = result?;
        match result {
            Ok(words) => counts.push(words),
            Err(error) if error.kind() == ErrorKind::Python => {
                println!("document {id}: {error}");
                refused.push(id);
            }
            Err(error) => return Err(error),
        }
    }
    let total = snakepit.call("merge").args(json!({"counts": counts})).execute::<Counts>().await?;
    println!("{} documents of {} give {total:?}", counts.len(), read.load(Ordering::Relaxed));

    assert_eq!(refused, [17, 18, 19, 20], "those that are too long, and no others");
    // 1 + 2 + … + 16 times what each line has.
    let expected = [("be", 272), ("not", 136), ("or", 136), ("to", 272)];
    assert_eq!(total, expected.map(|(word, count)| (word.to_owned(), count)).into());
    snakepit.shutdown(Duration::from_secs(10)).await
}
