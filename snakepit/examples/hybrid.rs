//! A pool of processes for an API and a pool of threads for computing, in one host: each question is
//! understood in the one, worked on in the other, and answered in the first again.
//!
//! `cargo run -p snakepit --example hybrid -- PYTHON FREE_THREADED_PYTHON`

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;
use snakepit::config::{Layers, PoolConfig};
use snakepit::{ErrorKind, PoolHandle, Result, Snakepit};

const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/hybrid/pools.toml");

#[derive(Deserialize)]
struct Piece {
    found: u64,
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut pythons = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(python), Some(free_threaded)) = (pythons.next(), pythons.next()) else {
        return Err("name two interpreters: an ordinary and a free-threaded one".into());
    };
    let settings = Layers::new()
        .file(SETTINGS)
        .environment()
        .pool(PoolConfig::builder("default").python(python))
        .pool(PoolConfig::builder("compute").python(free_threaded))
        .load()?
        .into_config();
    let snakepit = Snakepit::builder().config(settings).start().await?;
    let compute = snakepit.pool("compute")?;

    let questions =
        ["How many primes are there below 10000?", "how many primes are there below 50?"];
    let answers =
        try_join_all(questions.map(|question| ask(&snakepit, &compute, question))).await?;
    answers.iter().for_each(|answer| println!("{answer}"));
    assert_eq!(answers, ["There are 1,229 primes below 10,000.", "There are 15 primes below 50."]);

    let nonsense = ask(&snakepit, &compute, "Who are you?").await.expect_err("not about primes");
    assert_eq!(nonsense.kind(), ErrorKind::Python);
    println!("{nonsense}");

    for report in serde_json::to_value(snakepit.stats())?["pools"].as_array().into_iter().flatten()
    {
        println!(
            "{}: {} calls by {} worker(s)",
            report["pool"],
            report["completed"],
            report["workers"].as_array().map_or(0, Vec::len)
        );
    }
    snakepit.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}

async fn ask(api: &Snakepit, compute: &PoolHandle, question: &str) -> Result<String> {
    let pieces: Vec<(u64, u64)> = api.execute("understand", [question]).await?;
    let counted = try_join_all(pieces.iter().map(|piece| compute.execute("count_primes", piece)));
    let found: u64 = counted.await?.iter().map(|piece: &Piece| piece.found).sum();
    api.execute("answer", json!({"question": question, "found": found})).await
}
