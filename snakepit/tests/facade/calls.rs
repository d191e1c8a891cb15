//! One call: types both ways, and what travels with it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use snakepit::{BigInt, Codec, ErrorKind, Phase, Value};

use crate::support::{assert_serves, start, stop, wait};

#[test]
fn any_serde_type_goes_in_and_comes_out() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        id: u64,
        name: String,
        score: Option<f64>,
        flags: (bool, bool),
        #[serde(with = "serde_bytes")]
        raw: Vec<u8>,
    }
    #[derive(Serialize)]
    struct Echo<T> {
        value: T,
    }
    let snakepit = start("plain.py");
    let row = || Row {
        id: u64::MAX,
        name: "grüße".to_owned(),
        score: Some(f64::INFINITY),
        flags: (true, false),
        raw: vec![0, 255],
    };
    let back: Row = wait(snakepit.execute("echo", Echo { value: row() })).unwrap();
    assert_eq!(back, row());
    let nan: f64 = wait(snakepit.execute("echo", [f64::NAN])).unwrap();
    assert!(nan.is_nan());
    let sum: i64 = wait(snakepit.execute("add", json!({"a": 5, "b": 3}))).unwrap();
    assert_eq!(sum, 8);
    let sum: i64 = wait(snakepit.execute("add", (5,))).unwrap();
    assert_eq!(sum, 6, "positional, with a default");
    assert!(wait(snakepit.execute::<Value>("echo", ())).unwrap().is_nil());
    stop(snakepit);
}

#[test]
fn integers_of_any_width_stay_integers() {
    let snakepit = start("plain.py");
    let arguments = json!({"base": 2, "exponent": 100});
    let wide: Value = wait(snakepit.execute("power", &arguments)).unwrap();
    assert_eq!(wide, Value::from(1_i128 << 100));
    let wide: i128 = wait(snakepit.execute("power", &arguments)).unwrap();
    assert_eq!(wide, 1 << 100);
    let big: BigInt = "-123456789012345678901234567890".parse().unwrap();
    let back: Value = wait(snakepit.execute("echo", [Value::from(big.clone())])).unwrap();
    assert_eq!(back, Value::BigInt(big));
    stop(snakepit);
}

#[test]
fn codecs_can_be_chosen_and_raw_bytes_go_untouched() {
    let snakepit = start("plain.py");
    let sum = snakepit.call("add").args(json!({"a": 1, "b": 2})).codec(Codec::Json);
    assert_eq!(wait(sum.execute::<i64>()).unwrap(), 3);
    let sum = snakepit.call("add").codec(Codec::Json).args(json!({"a": 1, "b": 2}));
    assert_eq!(wait(sum.complete()).unwrap().payload.codec(), Codec::Json);

    let size: usize =
        wait(snakepit.call("size").args([Value::Bytes(vec![7; 9])]).execute()).unwrap();
    assert_eq!(size, 9);
    let completed = wait(snakepit.call("reverse").bytes(vec![1, 2, 3]).complete()).unwrap();
    assert_eq!(completed.payload.codec(), Codec::Raw);
    assert_eq!(completed.payload.into_bytes(), [3, 2, 1].as_slice());

    let error = wait(snakepit.call("echo").args(json!({"a": 1})).codec(Codec::Raw).complete());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::EncodeFailed);
    stop(snakepit);
}

#[test]
fn context_reaches_the_tool() {
    let snakepit = start("plain.py");
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let call = snakepit
        .call("who")
        .session("s-1")
        .metadata("tenant", "a")
        .metadata("user", "b")
        .traceparent(traceparent)
        .timeout(Duration::from_secs(30));
    let who: Json = wait(call.execute()).unwrap();
    assert_eq!(who["session"], "s-1");
    assert_eq!(who["metadata"], json!({"tenant": "a", "user": "b"}));
    assert_eq!(who["traceparent"], traceparent);
    let remaining = who["remaining"].as_f64().unwrap();
    assert!((1.0..=30.0).contains(&remaining), "{remaining}");
    stop(snakepit);
}

#[test]
fn worker_can_be_named_and_a_gone_one_is_told() {
    let snakepit = start("plain.py");
    let completed = wait(snakepit.call("who").complete()).unwrap();
    let again = snakepit.call("who").worker(completed.worker.clone());
    assert_eq!(wait(again.complete()).unwrap().worker, completed.worker);
    let error = wait(snakepit.call("who").worker("default.9.9").complete()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerNotFound);
    stop(snakepit);
}

#[test]
fn progress_is_told_while_the_call_runs() {
    let snakepit = start("plain.py");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let call = snakepit.call("steps").args([3]).on_progress(move |progress| {
        sink.lock().unwrap().push((progress.done, progress.total, progress.message));
    });
    assert_eq!(wait(call.execute::<u64>()).unwrap(), 3);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.last(), Some(&(3.0, Some(3.0), "step 3".to_owned())));
    stop(snakepit);
}

#[test]
fn deadline_ends_a_call_and_names_its_phase() {
    let snakepit = start("plain.py");
    let call = snakepit.call("nap").args([30.0]).timeout(Duration::from_millis(200));
    let error = wait(call.execute::<Json>()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Call));
    assert_serves(&snakepit);
    stop(snakepit);
}

#[test]
fn dropped_call_frees_its_worker() {
    let snakepit = start("plain.py");
    let running = snakepit.call("nap").args([60.0]).execute::<Json>();
    let mut running = Box::pin(running);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(running.as_mut().poll(&mut context).is_pending());
    drop(running);
    assert_serves(&snakepit);
    stop(snakepit);
}

#[test]
fn tools_and_statistics_tell_what_there_is() {
    let snakepit = start("plain.py");
    let tools = snakepit.tools("default").unwrap();
    let add = tools.iter().find(|tool| tool.name == "add").unwrap();
    assert_eq!(add.description, "Adds two integers.");
    assert_eq!(add.parameters["properties"]["a"]["type"], "integer");
    assert!(tools.iter().any(|tool| tool.name == "count" && tool.streaming));
    assert_eq!(snakepit.tools("other").unwrap_err().kind(), ErrorKind::PoolNotFound);

    let _: i64 = wait(snakepit.execute("add", (1, 2))).unwrap();
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    let pool = &stats["pools"][0];
    assert_eq!((&pool["pool"], &pool["completed"]), (&json!("default"), &json!(1)));
    assert_eq!(pool["workers"].as_array().unwrap().len(), 1);
    stop(snakepit);
}
