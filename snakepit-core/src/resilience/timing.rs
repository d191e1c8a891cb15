//! Time as the layers have it: the pool's clock, and pauses on the pool's runtime, so that whoever
//! waits needs no runtime of its own.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};

/// A clock, and a runtime on which to wait.
#[derive(Clone, Debug)]
pub struct Timing {
    clock: Clock,
    runtime: Handle,
}

impl Timing {
    /// Reads `clock` and waits on `runtime`.
    pub fn new(clock: Clock, runtime: &Handle) -> Self {
        Self { clock, runtime: runtime.clone() }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Waits; can be awaited on any executor.
    ///
    /// # Errors
    /// `PoolClosed` when the runtime ends first.
    ///
    /// # Cancel safety
    /// Dropping the future ends the waiting and nothing else.
    pub async fn pause(&self, time: Duration) -> Result<(), Error> {
        // A timer of its own would panic in its caller when the runtime ends; a task only ends.
        let mut waiting = JoinSet::new();
        let wait = async move { tokio::time::sleep(time).await };
        waiting.spawn_on(wait, &self.runtime);
        match waiting.join_next().await {
            Some(Ok(())) => Ok(()),
            _ => Err(Error::new(ErrorKind::PoolClosed, "the pools have been shut down")),
        }
    }
}
