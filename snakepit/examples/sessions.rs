//! Two sessions over two workers: what tools keep for each, what the host keeps, and their end.
//!
//! `cargo run -p snakepit --example sessions -- PYTHON`, where PYTHON is an interpreter that `snakepit
//! setup` or `cargo xtask setup` has prepared.

use std::time::Duration;

use serde_json::json;
use snakepit::{Affinity, Session, Snakepit};

const ADAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sessions/notebook.py");

fn main() -> snakepit::Result<()> {
    pollster::block_on(run())
}

async fn run() -> snakepit::Result<()> {
    let mut builder = Snakepit::builder().adapter(ADAPTER).workers(2);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder.start().await?;

    // Notebooks live in workers, so a call must come back to its session's, however busy that is.
    let [ada, bob] = ["ada", "bob"].map(|id| snakepit.session(id).affinity(Affinity::StrictQueue));
    write(&ada, "snakes have no ears").await?;
    write(&bob, "buy milk").await?;
    let lines = write(&ada, "and hear all the same").await?;
    assert_eq!(lines, 2);
    let read: String = ada.execute("read", ()).await?;
    println!("ada wrote:\n{read}");
    assert_eq!(read, "snakes have no ears\nand hear all the same");

    // What the host keeps for a session is there whichever worker serves it.
    ada.put("pages", &lines)?;
    assert_eq!(ada.get::<u64>("pages")?, Some(2));
    for session in snakepit.sessions("default")? {
        let worker = session.worker.as_ref().map_or("no worker", |worker| worker.as_str());
        println!("{}: {} calls, by {worker}", session.id, session.calls);
    }

    // Its end is told to the worker; another session of that name begins with nothing.
    assert!(ada.end()?);
    assert_eq!(ada.get::<u64>("pages")?, None);
    assert_eq!(write(&ada, "a new beginning").await?, 1);
    assert_eq!(write(&bob, "and bread").await?, 2);

    let sessions = snakepit.stats().total.sessions;
    println!("{} sessions, {} begun, {} ended", sessions.active, sessions.begun, sessions.ended);
    snakepit.shutdown(Duration::from_secs(10)).await
}

async fn write(session: &Session, line: &str) -> snakepit::Result<u64> {
    session.execute("write", json!({ "line": line })).await
}
