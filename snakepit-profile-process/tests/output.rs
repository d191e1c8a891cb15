//! What a worker writes: told with its call, and in nobody's way.

mod support;

use serde_json::json;
use snakepit_core::testkit::Told;
use support::{call, rough, start};

#[tokio::test]
async fn a_printed_line_is_told_with_the_call_that_printed_it() {
    let told = Told::default();
    let _listening = told.listen();
    let worker = start(rough()).await.unwrap();
    let mut calls = Vec::new();
    for text in ["first", "second"] {
        let murmur = call(&worker, "murmur", json!({"text": text}));
        calls.push((text, murmur.id()));
        murmur.value::<()>().await;
    }
    worker.stop(support::LONG).await;
    let told = told.text();
    for (text, call) in calls {
        let line = told.lines().find(|line| line.contains(text)).expect(&told);
        for part in ["snakepit::worker::stdout", "pool.0.0", &format!("call={call}")] {
            assert!(line.contains(part), "no `{part}` in: {line}");
        }
    }
}

#[tokio::test]
async fn a_worker_that_writes_megabytes_to_both_streams_gets_its_calls_done() {
    let worker = start(rough()).await.unwrap();
    // Sixteen times what a pipe holds in each call, and a megabyte each way in each second for as
    // long as there are calls, or more.
    for _ in 0..16 {
        let written: u32 = call(&worker, "flood", json!({"kibibytes": 1024})).value().await;
        assert_eq!(written, 1024);
    }
    let greeting: String = call(&worker, "greet", json!({})).value().await;
    assert_eq!(greeting, "hello");
}
