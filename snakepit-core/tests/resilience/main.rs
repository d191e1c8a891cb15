//! Each layer alone, on paused time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod breaker;
mod hedge;
mod limits;
mod retry;
#[cfg(feature = "tower")]
mod services;

use std::sync::Arc;
use std::time::Duration;

use snakepit_core::resilience::{Subject, Timing};
use snakepit_core::{Clock, Error, ErrorKind};
use tokio::runtime::Handle;

/// Time as the runtime of the test has it.
fn timing() -> Timing {
    let runtime = Handle::current();
    Timing::new(clock(), &runtime)
}

fn clock() -> Clock {
    Clock::of_runtime(Handle::current())
}

/// An idempotent call with time enough.
fn subject() -> Subject {
    let mut subject = Subject::new("pool", Arc::from("command"));
    subject.idempotent = true;
    subject
}

fn lost() -> Error {
    Error::worker_lost(true, "it was killed by signal 9 (SIGKILL)")
}

fn wrong() -> Error {
    Error::new(ErrorKind::InvalidArguments, "`n` is missing")
}

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
