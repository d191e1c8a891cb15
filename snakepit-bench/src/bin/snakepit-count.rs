//! `snakepit-count N`: N calls through the engine to a worker that is none, arguments encoded and
//! results decoded, on one thread, for a tool that counts instructions (callgrind). What it executes
//! depends on nothing but N and the code: no other thread, no process, no clock that is waited for.
//!
//! Like `snakepit-drive` it is put into the base of `cargo xtask perf-gate` as it is.

#[path = "../prompt.rs"]
mod prompt;

use anyhow::{Context, Result};
use snakepit_core::{Clock, Codec, Payload, Pool, PoolOptions, Profile, Request, Seat};

use crate::prompt::{Prompt, Replies};

fn main() -> Result<()> {
    let calls: usize = std::env::args().nth(1).context("usage: snakepit-count N")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let replies = Replies::default();
        let profile = Prompt { replies: replies.clone() };
        let mut options = PoolOptions::new("count");
        options.prefetch = 0;
        let pool = Pool::new(options, Clock::system(), runtime.handle());
        let seat = Seat { pool: "count".into(), index: 0, incarnation: 0 };
        pool.join(profile.start(seat).await?);
        for call in 0..calls {
            let arguments = Payload::encode(Codec::MsgPack, &(call, "the quick brown fox"))?;
            let handle = pool.submit(Request::new("small", arguments.clone()))?;
            replies.finish_last(arguments).context("the call did not reach the worker")?;
            let completed = handle.await?;
            let (back, _): (usize, String) = completed.payload.decode()?;
            anyhow::ensure!(back == call, "another call's result");
        }
        Ok(())
    })
}
