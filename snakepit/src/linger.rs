//! Keeps the I/O thread awake for a moment around a call that is alone.
//!
//! A thread that sleeps on a processor with nothing else to do takes some 25 µs to come back, and a
//! small call by itself is little more than four such sleeps. Two of them are the I/O thread's. It
//! spends up to [`LINGER`] of processor time twice a call to save them, and only where no other call
//! could use that time. Calls that take longer find the thread asleep, as ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// About the round trip of a small call: what has not come by then may take any time.
const LINGER: Duration = Duration::from_micros(60);

/// Does so for ever, each time it is told of a lone call.
pub(crate) async fn linger(lone_call: Arc<Notify>) {
    if std::thread::available_parallelism().is_ok_and(|processors| processors.get() < 2) {
        // The worker could not run meanwhile.
        return;
    }
    loop {
        lone_call.notified().await;
        let told = Instant::now();
        while told.elapsed() < LINGER {
            // Whoever is ready runs, and the sockets are looked at.
            tokio::task::yield_now().await;
        }
    }
}
