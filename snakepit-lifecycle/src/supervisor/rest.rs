//! What a worker does that has served all calls of its limit before its replacement is ready: it
//! takes a short rest, so that a limit in calls is kept where replacements come quickly.
//!
//! Invariant: the limit costs a pool no more than [`PATIENCE`] of a worker's time, however long the
//! replacement takes or if it never comes; then the worker serves on.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::time::timeout;

use super::Shared;
use super::seat::Serving;

/// A few times what a worker takes to start through a zygote.
const PATIENCE: Duration = Duration::from_millis(20);

/// Has a worker that is due rest at its limit. Dropping the future ends the rest.
pub(super) async fn rest_at_limit(shared: &Shared, serving: &Serving) -> Infallible {
    if let Some(calls) = serving.limits.max_requests {
        shared.pool.served(&serving.id, calls).await;
        let resting = async {
            let _slot = shared.pool.borrow_slot(&serving.id).await;
            pending::<Infallible>().await
        };
        let _ = timeout(PATIENCE, resting).await;
    }
    pending().await
}
