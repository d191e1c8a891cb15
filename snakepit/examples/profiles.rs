//! The same work in a pool of processes and in a pool of threads, both in one host: how long it takes,
//! how much memory the workers use, and whether both find the same.
//!
//! `cargo run --release -p snakepit --example profiles -- PYTHON FREE_THREADED_PYTHON`

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;
use snakepit::config::GilPolicy;
use snakepit::{Error, PoolConfig, Snakepit};

const ADAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/primes/adapter.py");

/// Primes below so many numbers are counted, in pieces of this size.
const NUMBERS: u64 = 600_000;
const PIECE: u64 = 10_000;

#[derive(Deserialize)]
struct Piece {
    found: u64,
    pid: u32,
}

struct Outcome {
    found: u64,
    seconds: f64,
    pids: BTreeSet<u32>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut pythons = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(python), Some(free_threaded)) = (pythons.next(), pythons.next()) else {
        return Err("name two interpreters: an ordinary and a free-threaded one".into());
    };
    let cores = std::thread::available_parallelism()?.get();
    let pool = |name: &str| PoolConfig::builder(name).adapter(ADAPTER).prefetch(0);
    let snakepit = Snakepit::builder()
        .pool(pool("one").python(&python).workers(1).build()?)
        .pool(pool("processes").python(&python).workers(cores).build()?)
        .pool(
            pool("threads")
                .python(&free_threaded)
                .profile("thread")
                .threads(cores)
                .gil(GilPolicy::Refuse)
                .build()?,
        )
        .start()
        .await?;

    let expected = primes_below(NUMBERS);
    println!("primes below {NUMBERS}, counted in Python, {cores} cores:\n");
    println!("{:<12} {:>8} {:>9} {:>12} {:>9}", "pool", "primes", "seconds", "processes", "MiB");
    for name in ["one", "processes", "threads"] {
        let Outcome { found, seconds, pids } = count(&snakepit, name).await?;
        let memory = pids.iter().filter_map(|pid| memory_mib(*pid)).sum::<f64>();
        println!("{name:<12} {found:>8} {seconds:>9.2} {:>12} {memory:>9.1}", pids.len());
        if found != expected {
            return Err(format!("there are {expected} primes, and `{name}` found {found}").into());
        }
    }
    println!("\nall pools agree with a sieve in Rust");
    Ok(snakepit.shutdown(Duration::from_secs(5)).await?)
}

async fn count(snakepit: &Snakepit, pool: &'static str) -> Result<Outcome, Error> {
    let begin = Instant::now();
    let pieces = (0..NUMBERS).step_by(PIECE as usize).map(|start| {
        let arguments = json!({"start": start, "stop": (start + PIECE).min(NUMBERS)});
        snakepit.call("count_primes").pool(pool).args(arguments).execute::<Piece>()
    });
    let pieces = try_join_all(pieces).await?;
    Ok(Outcome {
        found: pieces.iter().map(|piece| piece.found).sum(),
        seconds: begin.elapsed().as_secs_f64(),
        pids: pieces.iter().map(|piece| piece.pid).collect(),
    })
}

/// What a process uses, with its part of what it shares; only Linux says.
fn memory_mib(pid: u32) -> Option<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(pss.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

fn primes_below(numbers: u64) -> u64 {
    let mut composite = vec![false; numbers as usize];
    let mut found = 0;
    for number in 2..numbers as usize {
        if !composite[number] {
            found += 1;
            (number * number..numbers as usize).step_by(number).for_each(|n| composite[n] = true);
        }
    }
    found
}
