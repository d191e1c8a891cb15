//! A batch of which some calls fail: each has its own result, in order or as they come.
//! `cargo run -p snakepit --example batch -- PYTHON`

use std::collections::BTreeMap;
use std::time::Duration;

use snakepit::{Snakepit, Value};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Snakepit::builder().adapter("snakepit.showcase").workers(2);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder.start().await?;
    let kinds = ["ValueError", "KeyError"];
    let call = |n: usize| match n % 5 {
        3 => snakepit.call("error").args((kinds[n % 2], format!("item {n}"))),
        _ => snakepit.call("add").args((n, 1)),
    };

    // In the order of the calls.
    let results = snakepit.execute_batch::<Value>((0..50).map(call)).await;
    let mut failures: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(sum) => assert_eq!(sum.as_u64(), Some(n as u64 + 1)),
            Err(error) => {
                let python = error.python().ok_or("it is the tool that failed")?;
                failures.entry(python.type_name.clone()).or_default().push(n);
            }
        }
    }
    println!("{} of {} ended well", results.iter().filter(|r| r.is_ok()).count(), results.len());
    for (kind, calls) in &failures {
        println!("{kind}: calls {calls:?}");
    }
    assert_eq!(failures.values().map(Vec::len).collect::<Vec<_>>(), [5, 5]);

    // As they come, of a batch that is made while it runs: leaving at the first failure cancels what
    // is under way and never makes the rest.
    let mut made = 0;
    let calls = (0..1_000_000).map(|n| {
        made += 1;
        call(n)
    });
    let mut batch = snakepit.execute_batch_unordered::<Value, _>(calls);
    let mut ended = 0;
    while let Some((position, result)) = batch.next().await {
        ended += 1;
        if let Err(error) = result {
            println!("call {position} failed after {ended} had ended: {error}");
            break;
        }
    }
    drop(batch);
    println!("{made} of a million calls were made");
    assert!(made < 10_000);
    snakepit.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}
