//! Runs a program as a worker's process would be run, and says how it ended.
//!
//! `cargo run --example watch -- sh -c 'echo "no luck" >&2; exit 3'`

use std::error::Error;

use snakepit_lifecycle::process::{ChildSpec, Reaper, Spawner};
use tokio::runtime::Handle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().unwrap_or_else(|| "true".into());
    let spec = ChildSpec::new("example".into(), "example.0.0".into(), program).args(arguments);
    let child = Spawner::get()?.spawn(spec, &Reaper::new(Handle::current())).await?;
    println!("process {} runs", child.pid());
    let report = child.exited().await;
    println!("it {}", report.status);
    for line in &*report.stderr {
        println!("  {line}");
    }
    Ok(())
}
