//! Waits until a worker is to be replaced: watches its age, its calls, its memory and orders, and
//! asks the policy. Nothing is measured that no limit is set for.

use std::sync::Arc;

use snakepit_core::Worker;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::Shared;
use super::book::Orders;
use super::policy::{Limits, RecycleReason, Samples, Verdict, Vitals, judge};
use super::seat::Serving;

/// Resolves with the first reason to replace a worker.
pub(super) async fn due(
    shared: &Shared,
    serving: &Serving,
    orders: &mut watch::Receiver<Orders>,
) -> RecycleReason {
    let Serving { worker, id, since, limits } = serving;
    let mut memory = Samples::default();
    tokio::select! {
        // The sender lives in the book.
        _ = orders.wait_for(|orders| orders.replace.as_ref() == Some(id)) => return RecycleReason::Manual,
        () = aged(serving) => {}
        () = worked(shared, serving) => {}
        () = grown(shared, worker, limits, &mut memory) => {}
    }
    let served = shared.pool.served_by(id).unwrap_or_default();
    match judge(limits, &Vitals { age: since.elapsed(), served, memory }) {
        Verdict::Replace(reason) => reason,
        // It has left the pool: somebody else is about to find out that it is gone.
        Verdict::Keep => std::future::pending().await,
    }
}

async fn aged(serving: &Serving) {
    match serving.limits.ttl.and_then(|ttl| serving.since.checked_add(ttl)) {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn worked(shared: &Shared, serving: &Serving) {
    match serving.limits.replace_at_requests() {
        Some(calls) => shared.pool.served(&serving.id, calls).await,
        None => std::future::pending().await,
    }
}

async fn grown(shared: &Shared, worker: &Arc<dyn Worker>, limits: &Limits, memory: &mut Samples) {
    let limits = Limits { max_memory: limits.max_memory, ..Limits::default() };
    if limits.max_memory.is_none() {
        std::future::pending().await
    }
    loop {
        sleep(shared.options.memory_interval).await;
        let worker = Arc::clone(worker);
        // Reading takes the longer the more memory there is, and calls pass through this thread.
        let reading = tokio::task::spawn_blocking(move || worker.private_bytes());
        // Without a reading there is nothing to judge.
        if let Ok(Some(bytes)) = reading.await {
            memory.push(bytes);
        }
        if judge(&limits, &Vitals { memory: *memory, ..Vitals::default() }) != Verdict::Keep {
            return;
        }
    }
}
