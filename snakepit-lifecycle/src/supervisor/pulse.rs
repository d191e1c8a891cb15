//! Whether a worker still gives signs of life. Beats are native, so a tool that holds the GIL does
//! not stop them: a silent worker is stopped, stuck in native code it shares with its link, or gone
//! without a word.
//!
//! Invariant: only looks at which the host itself was awake count. A host that was held up for an
//! hour looks once, then waits as long as ever.

use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{BoxFuture, Worker, WorkerExit};
use tokio::time::sleep;

use super::Shared;
use super::health::tell_failed;
use super::seat::Serving;

/// A sign of life is missed after so many intervals: at one every two seconds, after ten.
const INTERVALS: u32 = 5;

/// So many missed ones in a row end a worker.
const MISSES: u32 = 3;

/// For a silent worker to go by itself after all.
const GRACE: Duration = Duration::from_secs(1);

/// How a worker went.
pub(super) struct Ended {
    pub(super) exit: WorkerExit,
    /// It had given no sign of life and was ended for that.
    pub(super) silent: bool,
}

/// Resolves when a worker is gone. One that falls silent gets no more calls and is ended.
pub(super) fn end_of(
    shared: &Arc<Shared>,
    Serving { worker, id, heartbeat, .. }: &Serving,
) -> BoxFuture<'static, Ended> {
    let (shared, worker, id) = (Arc::clone(shared), Arc::clone(worker), id.clone());
    let heartbeat = *heartbeat;
    Box::pin(async move {
        let Some(interval) = heartbeat else {
            return Ended { exit: worker.exited().await, silent: false };
        };
        tokio::select! {
            biased;
            exit = worker.exited() => return Ended { exit, silent: false },
            () = silence(&*worker, interval) => {}
        }
        tell_failed(&shared, &id, "missed_heartbeats", "it gives no sign of life and is ended");
        // Its calls end with it.
        drop(shared.pool.retire(&id));
        let how = match worker.stop(GRACE).await {
            WorkerExit::Died(how) => format!("it missed {MISSES} heartbeats, then {how}"),
            _ => format!("it missed {MISSES} heartbeats"),
        };
        Ended { exit: WorkerExit::Died(how), silent: true }
    })
}

/// Resolves when a worker was silent at enough looks in a row.
async fn silence(worker: &dyn Worker, interval: Duration) {
    let mut seen = worker.last_seen();
    let mut misses = 0;
    while misses < MISSES {
        sleep(interval * INTERVALS).await;
        let now = worker.last_seen();
        misses = if now.is_some() && now == seen { misses + 1 } else { 0 };
        seen = now;
    }
}
