//! Two Python workers behind one pool, without the facade.
//!
//! `cargo run --release --example pool -- path/to/python` with an interpreter that has the worker
//! package installed.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use snakepit_bridge::LinkServer;
use snakepit_core::{Clock, Codec, Payload, Pool, PoolOptions, Request};
use snakepit_lifecycle::{Supervisor, SupervisorOptions};
use snakepit_profile_process::{ProcessOptions, ProcessProfile};

const CALLS: usize = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let python = std::env::args().nth(1).unwrap_or_else(|| "python3".to_owned());
    // One thread for links, deadlines and processes; calls may come from any other.
    let io = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = io.handle().clone();
    let links = Arc::new(LinkServer::start(handle.clone()));
    let options = ProcessOptions::new(python, "snakepit.showcase");
    let profile = Arc::new(ProcessProfile::new(options, links, handle.clone())?);
    let pool = Pool::new(PoolOptions::new("example"), Clock::system(), &handle);

    io.block_on(async {
        let start = Instant::now();
        let options = SupervisorOptions::new(2);
        let supervisor = Supervisor::start(pool.clone(), profile, options, &handle).await?;
        println!("two workers ready after {:?}", start.elapsed());

        let arguments = Payload::encode(Codec::MsgPack, &serde_json::json!({"a": 2, "b": 3}))?;
        let sum = pool.submit(Request::new("add", arguments.clone()))?.await?;
        println!("2 + 3 = {}", sum.payload.decode::<i64>()?);

        let start = Instant::now();
        for _ in 0..CALLS / 64 {
            let calls: Result<Vec<_>, _> =
                (0..64).map(|_| pool.submit(Request::new("add", arguments.clone()))).collect();
            for call in calls? {
                call.await?;
            }
        }
        let rate = CALLS as f64 / start.elapsed().as_secs_f64();
        println!("{rate:.0} calls/s in batches of 64");

        pool.close();
        supervisor.shutdown(Duration::from_secs(10)).await?;
        Ok(())
    })
}
