//! The same without futures: `cargo run -p snakepit --example blocking -- PYTHON`.

use std::time::Duration;

use serde_json::json;
use snakepit::blocking::Snakepit;

fn main() -> snakepit::Result<()> {
    let mut builder = Snakepit::builder().adapter("snakepit.showcase").workers(2);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder.start()?;
    let primes: u64 = snakepit.execute("cpu_bound", json!({"n": 100_000}))?;
    println!("{primes} primes below 100000");
    match snakepit.execute::<()>("error", json!({"message": "for show"})) {
        Ok(()) => println!("no error"),
        Err(error) => {
            println!("{error}");
            if let Some(exception) = error.python() {
                print!("{}", exception.traceback());
            }
        }
    }
    snakepit.shutdown(Duration::from_secs(10))
}
