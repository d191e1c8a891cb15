//! How a worker goes that the pool needs no more: it ends its calls, stops, leaves the pool. Owns the
//! one event that tells of a recycle. Invariant: the room for an extra worker is given back when the
//! worker that was replaced is gone.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{WorkerExit, WorkerId};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use super::book::Book;
use super::policy::RecycleReason;
use super::pulse::{Ended, end_of};
use super::seat::{Serving, crashed, grace_until, stop_asked};
use super::state::Step;

/// For a worker without calls to tear down; then it is ended by force.
const STOP_GRACE: Duration = Duration::from_secs(10);

const STOPPED: Ended = Ended { exit: WorkerExit::Stopped, silent: false };

/// Why a worker goes.
pub(super) enum Cause {
    /// Another one takes its calls. The room is what that one needed to start.
    Replaced(RecycleReason, OwnedSemaphorePermit),
    /// The pool has become smaller.
    Surplus,
}

/// Begins the farewell at once; the future sees it through.
pub(super) fn dismiss(
    shared: Arc<Shared>,
    leaving: Serving,
    seat: usize,
    cause: Cause,
    mut stop: watch::Receiver<Option<Instant>>,
) -> impl Future<Output = ()> + Send {
    let step = match cause {
        Cause::Replaced(..) => Step::Replaced,
        Cause::Surplus => Step::Surplus,
    };
    shared.book().step(&leaving.id, step);
    let idle = shared.pool.retire(&leaving.id);
    async move {
        let Serving { worker, id, .. } = &leaving;
        // `None` is the supervisor's own end.
        let exit = tokio::select! {
            biased;
            ended = end_of(&shared, &leaving) => Some(ended),
            deadline = stop_asked(&mut stop) => {
                shared.book().step(id, Step::StopAsked);
                let _ = timeout_at(deadline, worker.stop(grace_until(deadline))).await;
                None
            }
            () = drained(&shared, id, idle) => {
                shared.book().step(id, Step::Drained);
                let mut stopped = worker.stop(STOP_GRACE);
                tokio::select! {
                    _ = &mut stopped => Some(STOPPED),
                    deadline = stop_asked(&mut stop) => {
                        timeout_at(deadline, stopped).await.ok().map(|_| STOPPED)
                    }
                }
            }
        };
        let request_count = shared.left(&leaving, |book| count(book, exit.as_ref(), &cause));
        let Serving { worker, id, since, .. } = leaving;
        drop(worker);
        if let Some(Ended { exit, .. }) = exit {
            if let WorkerExit::Died(how) = exit {
                crashed(&shared, seat, &id, &how);
            }
            match &cause {
                Cause::Replaced(reason, _) => {
                    tell_recycled(&shared, &id, *reason, since.elapsed(), request_count);
                }
                Cause::Surplus => {
                    let pool = shared.pool.name();
                    tracing::info!(%pool, worker = %id, request_count, "surplus worker gone");
                }
            }
        }
        shared.gone(&id, since, request_count);
        if let Cause::Replaced(_, room) = cause {
            drop(room);
        }
    }
}

/// Counts a worker that went; `None` is the supervisor's own end.
fn count(book: &mut Book, ended: Option<&Ended>, cause: &Cause) {
    let Some(Ended { exit, silent }) = ended else {
        book.exits.shutdown += 1;
        return;
    };
    let stopped = matches!(exit, WorkerExit::Stopped);
    if let WorkerExit::Died(_) = exit {
        book.exits.died(*silent);
    }
    match cause {
        Cause::Replaced(reason, _) => book.recycled(*reason, stopped),
        Cause::Surplus => book.exits.surplus += u64::from(stopped),
    }
}

fn tell_recycled(
    shared: &Shared,
    id: &WorkerId,
    reason: RecycleReason,
    uptime: Duration,
    request_count: u64,
) {
    tracing::info!(
        name: "worker.recycled",
        target: "snakepit::worker",
        count = 1,
        worker_id = %id,
        pool = %shared.pool.name(),
        reason = reason.name(),
        uptime_seconds = uptime.as_secs_f64(),
        request_count,
        "worker recycled"
    );
}

/// Waits for the last call. A limit never interrupts one, so a worker that takes longer than the
/// pool's drain time is told of and waited for.
async fn drained(shared: &Shared, id: &WorkerId, idle: impl Future<Output = ()>) {
    let mut idle = pin!(idle);
    let limit = shared.plan().options.drain;
    if timeout(limit, idle.as_mut()).await.is_err() {
        let pool = shared.pool.name();
        tracing::warn!(%pool, worker = %id, ?limit, "a worker on its way out still has calls to end");
        idle.await;
    }
}
