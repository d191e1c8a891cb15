//! What an error says, for people and for programs, and which errors are worth another try.
//!
//! `cargo run -p snakepit --example errors -- PYTHON`

use std::time::Duration;

use snakepit::{ErrorKind, RetryPolicy, Schedule, Snakepit};

const ADAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/weather/adapter.py");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(python) = std::env::args_os().nth(1) else {
        return Err("name an interpreter".into());
    };
    let snakepit = Snakepit::builder().adapter(ADAPTER).python(python).workers(1).start().await?;
    let notes = tempfile::tempdir()?;
    let log = notes.path().join("visits");
    let read = |station: &str| snakepit.call("read").args((station, &log)).idempotent();

    // For people one sentence; for programs everything else.
    let error = read("south").execute::<f64>().await.expect_err("there is none");
    println!("error:    {error}");
    println!("kind:     {}", error.kind().code());
    println!("category: {}, severity {}", error.category(), error.severity());
    println!("advice:   {}", error.advice());
    let raised = error.python().ok_or("the tool raised")?;
    println!("\n{}", raised.traceback());
    println!("as JSON:  {}", serde_json::to_string(&error)?);
    if !raised.is_a("ValueError") || raised.notes.len() != 1 || raised.cause.is_none() {
        return Err("the exception has lost something on its way".into());
    }

    // A station that hangs up may answer the next time; one that does not exist will not.
    let policy = RetryPolicy::new(5)
        .pauses(Schedule::Decorrelated, Duration::from_millis(5), Duration::from_millis(50))
        .exception("ConnectionError");
    let error = read("south").retry(policy.clone()).execute::<f64>().await.expect_err("none");
    if error.details().contains_key("attempts") {
        return Err("a wrong name was tried again".into());
    }
    let degrees: f64 = read("north").retry(policy).execute().await?;
    let retries = snakepit.stats().total.layers.retry;
    println!("\n{degrees} degrees at the station, after {} more attempts", retries.retries);

    // Arguments are checked before the tool runs, and nobody tries those again either.
    let wrong = snakepit.call("read").args(["north"]);
    let error = wrong.execute::<f64>().await.expect_err("an argument is missing");
    println!("error:    {error} ({})", error.kind().code());
    if error.kind() != ErrorKind::InvalidArguments || (degrees, retries.retries) != (7.5, 2) {
        return Err("that was not to be expected".into());
    }
    Ok(snakepit.shutdown(Duration::from_secs(10)).await?)
}
