//! The last calls of a worker that has a limit of them: it and its replacement wait for each other, so
//! that the limit is kept, and used, where replacements come quickly. Who has served all of them
//! takes a rest until the replacement is ready; a replacement that is ready before stands by.
//!
//! Invariant: either waits no longer than [`PATIENCE`], however long the other takes and if it never
//! comes; then the worker serves on, and the replacement takes over.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Shared;
use super::seat::Serving;

/// A few times what a worker takes to start through a zygote.
const PATIENCE: Duration = Duration::from_millis(20);

/// Tells that a worker has served all its calls, or that it has no limit of them any more.
pub(super) type AtLimit = oneshot::Receiver<()>;

/// Has a worker that is due rest at its limit, and tells when it begins to. Dropping the future ends
/// the rest.
pub(super) async fn rest_at_limit(
    shared: &Shared,
    serving: &Serving,
    at_limit: oneshot::Sender<()>,
) -> Infallible {
    if let Some(calls) = serving.limits.max_requests {
        shared.pool.served(&serving.id, calls).await;
        // Nobody listens if the replacement is not ready, or never asked for.
        let _ = at_limit.send(());
        let resting = async {
            let _slot = shared.pool.borrow_slot(&serving.id).await;
            pending::<Infallible>().await
        };
        let _ = timeout(PATIENCE, resting).await;
    }
    pending().await
}

/// Has a replacement that is ready wait for the worker's last calls; from how many are left the next
/// learns how early to start.
pub(super) async fn stand_by(shared: &Shared, serving: &Serving, at_limit: &mut AtLimit) {
    let served = shared.pool.served_by(&serving.id);
    if let (Some(limit), Some(served)) = (serving.limits.max_requests, served) {
        shared.lead().learn(limit, served);
    }
    // A worker that is gone has no calls left either.
    if timeout(PATIENCE, at_limit).await.is_err() {
        shared.lead().forget();
    }
}
