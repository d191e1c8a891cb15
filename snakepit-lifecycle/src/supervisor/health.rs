//! Whether a worker is well by its own account: from time to time its own check is run, where a call
//! would run. Owns how often, what counts as ill, and the event that tells of a failed check.
//!
//! Invariants: a check holds a slot, so it is never beside a call that needs it; a slow check is
//! waited for as long as a call would be; few workers of a pool are asked at a time.

use snakepit_core::{Loan, WorkerId};
use tokio::time::{sleep, timeout};

use super::Shared;
use super::seat::Serving;

/// So many failed checks in a row replace a worker: what it needs may be gone for a moment.
pub(super) const FAILURES: u32 = 3;

/// After a failed check the next one comes after this part of the interval.
const SOONER: u32 = 10;

/// Workers of one pool that are asked at a time: while they are, they take no calls.
pub(super) const AT_A_TIME: usize = 2;

/// Resolves when a worker is not well. A check that hangs keeps its slot: no call should go there.
pub(super) async fn unwell(shared: &Shared, serving: &Serving) -> Option<Loan> {
    let Some(interval) = shared.plan().options.health_interval else {
        std::future::pending().await
    };
    let mut failures = 0;
    while failures < FAILURES {
        let pause = if failures == 0 { interval } else { interval / SOONER };
        sleep(shared.shorten(pause)).await;
        match check(shared, serving).await {
            Found::Well => failures = 0,
            Found::Ill(what) => {
                failures += 1;
                tell_failed(shared, &serving.id, "unhealthy", &what);
            }
            Found::Hangs(what, slot) => {
                tell_failed(shared, &serving.id, "unhealthy", &what);
                return Some(slot);
            }
        }
    }
    None
}

enum Found {
    Well,
    Ill(String),
    Hangs(String, Loan),
}

async fn check(shared: &Shared, serving: &Serving) -> Found {
    // The semaphore is never closed.
    let _turn = shared.checks.acquire().await;
    let Some(slot) = shared.pool.borrow_slot(&serving.id).await else {
        // It has left the pool: somebody else is about to find out that it is gone.
        return std::future::pending().await;
    };
    let asked = serving.worker.check_health();
    let report = match shared.pool.options().call_timeout {
        None => asked.await,
        Some(limit) => match timeout(limit, asked).await {
            Ok(report) => report,
            Err(_) => {
                let what = format!("its check has not returned within {limit:?}");
                return Found::Hangs(what, slot);
            }
        },
    };
    report.map_or_else(Found::Ill, |()| Found::Well)
}

/// Tells that a worker has failed a check, its own or that of its heartbeats.
pub(super) fn tell_failed(shared: &Shared, id: &WorkerId, reason: &'static str, error: &str) {
    shared.book().failed_checks += 1;
    tracing::warn!(
        name: "worker.health_check_failed",
        target: "snakepit::worker",
        count = 1,
        worker_id = %id,
        pool = %shared.pool.name(),
        reason,
        error,
        "worker failed a health check"
    );
}
