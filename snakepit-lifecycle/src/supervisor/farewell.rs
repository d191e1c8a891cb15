//! How a replaced worker goes: it ends its calls, stops, leaves the pool. Owns the one event that
//! tells of a recycle. Invariant: the room for an extra worker is given back when it is gone.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{WorkerExit, WorkerId};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use super::policy::RecycleReason;
use super::pulse::end_of;
use super::seat::{Serving, crashed, grace_until, stop_asked};
use super::state::Step;

/// For a worker without calls to tear down; then it is ended by force.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Begins the farewell at once; the future sees it through.
pub(super) fn dismiss(
    shared: Arc<Shared>,
    leaving: Serving,
    index: usize,
    reason: RecycleReason,
    room: OwnedSemaphorePermit,
    mut stop: watch::Receiver<Option<Instant>>,
) -> impl Future<Output = ()> + Send {
    shared.book().step(&leaving.id, Step::Replaced);
    let idle = shared.pool.retire(&leaving.id);
    async move {
        let Serving { worker, id, since, .. } = leaving;
        // `None` is the supervisor's own end.
        let exit = tokio::select! {
            biased;
            exit = end_of(&shared, &worker, &id) => Some(exit),
            deadline = stop_asked(&mut stop) => {
                shared.book().step(&id, Step::StopAsked);
                let _ = timeout_at(deadline, worker.stop(grace_until(deadline))).await;
                None
            }
            () = drained(&shared, &id, idle) => {
                shared.book().step(&id, Step::Drained);
                let mut stopped = worker.stop(STOP_GRACE);
                tokio::select! {
                    _ = &mut stopped => Some(WorkerExit::Stopped),
                    deadline = stop_asked(&mut stop) => {
                        timeout_at(deadline, stopped).await.ok().map(|_| WorkerExit::Stopped)
                    }
                }
            }
        };
        let request_count = shared.pool.served_by(&id).unwrap_or_default();
        shared.pool.leave(&id);
        drop(worker);
        match exit {
            None => shared.book().exits.shutdown += 1,
            Some(exit) => {
                match exit {
                    WorkerExit::Died(how) => crashed(&shared, index, &id, &how),
                    _ => shared.book().exits.recycled += 1,
                }
                shared.book().recycles.count(reason);
                tracing::info!(
                    name: "worker.recycled",
                    target: "snakepit::worker",
                    count = 1,
                    worker_id = %id,
                    pool = %shared.pool.name(),
                    reason = reason.name(),
                    uptime_seconds = since.elapsed().as_secs_f64(),
                    request_count,
                    "worker recycled"
                );
            }
        }
        shared.gone(&id);
        drop(room);
    }
}

/// Waits for the last call. A limit never interrupts one, so a worker that takes longer than the
/// pool's drain time is told of and waited for.
async fn drained(shared: &Shared, id: &WorkerId, idle: impl Future<Output = ()>) {
    let mut idle = pin!(idle);
    let limit = shared.options.drain;
    if timeout(limit, idle.as_mut()).await.is_err() {
        let pool = shared.pool.name();
        tracing::warn!(%pool, worker = %id, ?limit, "a replaced worker still has calls to end");
        idle.await;
    }
}
