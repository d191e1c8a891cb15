//! The monotonic clock a pool reads. Injected, so that tests run on a runtime's paused time.

use tokio::runtime::Handle;
use tokio::time::Instant;

/// Where a pool gets the time from.
#[derive(Clone, Debug)]
pub struct Clock(Option<Handle>);

impl Clock {
    /// The system's monotonic clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// The clock of a runtime, which its tests may pause and advance.
    pub fn of_runtime(runtime: Handle) -> Self {
        Self(Some(runtime))
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        match &self.0 {
            // Not tokio's `now`, which would take the clock of whatever runtime the caller is on.
            None => Instant::from_std(std::time::Instant::now()),
            Some(runtime) => {
                let _entered = runtime.enter();
                Instant::now()
            }
        }
    }
}
