//! The three affinity modes, when a session's worker is busy and when it is gone.
//!
//! `cargo run -p snakepit --example affinity -- PYTHON`, where PYTHON is an interpreter that `snakepit
//! setup` or `cargo xtask setup` has prepared.

use std::time::Duration;

use serde_json::{Value, json};
use snakepit::{Affinity, Completed, ErrorKind, Session, Snakepit};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> snakepit::Result<()> {
    let mut builder = Snakepit::builder().adapter("snakepit.showcase").workers(2);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder.start().await?;

    for mode in Affinity::ALL {
        let session = snakepit.session(mode.name()).affinity(mode);
        let home = count(&session).await?.worker;
        let busy = keep_busy(&session).await;
        match count(&session).await {
            Ok(done) if done.worker == home => println!("{}: waited for {home}", mode.name()),
            Ok(done) => println!("{}: went from {home} to {}", mode.name(), done.worker),
            Err(error) => println!("{}: {error}", mode.name()),
        }
        busy.await.expect("the task does not panic")?;
    }

    // Recycling moves hint sessions, and tells strict ones: once, then they are bound anew.
    snakepit.recycle("default", None).await?;
    let [hint, strict, _] = Affinity::ALL.map(|mode| snakepit.session(mode.name()).affinity(mode));
    println!("hint: the counter begins again at {}", count(&hint).await?.payload.decode::<u64>()?);
    let told = count(&strict).await.expect_err("its worker is gone");
    assert_eq!(told.kind(), ErrorKind::SessionWorkerUnavailable);
    println!("strict_queue: {told}; {}", told.help().unwrap_or_default());
    println!("strict_queue: bound anew to {}", count(&strict).await?.worker);

    snakepit.shutdown(Duration::from_secs(10)).await
}

async fn count(session: &Session) -> snakepit::Result<Completed> {
    session.call("counter").complete().await
}

/// Has the session's worker run something that takes a while; resolves when it runs.
async fn keep_busy(session: &Session) -> tokio::task::JoinHandle<snakepit::Result<Value>> {
    let (told, mut runs) = mpsc::unbounded_channel();
    let call = session.call("slow_steps").args(json!({"steps": 4, "step_seconds": 0.05}));
    // After the first report nobody listens.
    let call = call.on_progress(move |_| told.send(()).unwrap_or_default());
    let busy = tokio::spawn(call.execute());
    runs.recv().await;
    busy
}
