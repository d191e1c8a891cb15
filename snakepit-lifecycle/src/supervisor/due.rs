//! Waits until a worker is to be replaced: watches its age, its calls, its memory, its health,
//! whether it has any use, what it says itself, and orders, and asks the policy. Nothing is measured
//! that no limit is set for.

use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{Loan, WorkerLoad};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::book::Orders;
use super::health::unwell;
use super::lead::Lead;
use super::plan::outdated;
use super::policy::{Limits, RecycleReason, Samples, Verdict, Vitals, judge};
use super::seat::Serving;

/// How many looks there are in the time after which a worker without calls is replaced.
const LOOKS: u32 = 8;

/// Why a worker is to be replaced.
pub(super) struct Due {
    pub(super) reason: RecycleReason,
    /// A slot that is of no use any more, held until the worker takes no calls.
    pub(super) spoilt: Option<Loan>,
}

impl Due {
    pub(super) fn because(reason: RecycleReason) -> Self {
        Self { reason, spoilt: None }
    }
}

/// Resolves with the first reason to replace a worker.
pub(super) async fn due(
    shared: &Shared,
    serving: &Serving,
    orders: &mut watch::Receiver<Orders>,
) -> Due {
    let because = Due::because;
    let Serving { id, since, limits, .. } = serving;
    let mut memory = Samples::default();
    let mut unused = Unused::default();
    let lead = *shared.lead();
    tokio::select! {
        // The sender lives in the book.
        _ = orders.wait_for(|orders| orders.replace.as_ref() == Some(id)) => {
            return because(RecycleReason::Manual);
        }
        () = outdated(shared, serving.edition) => return because(RecycleReason::Reload),
        () = aged(serving) => {}
        () = worked(shared, serving, lead) => {}
        () = grown(shared, serving, &mut memory) => {}
        () = rested(shared, serving, &mut unused) => {}
        spoilt = unwell(shared, serving) => {
            return Due { reason: RecycleReason::Unhealthy, spoilt };
        }
        why = serving.worker.unfit() => {
            let pool = shared.pool.name();
            tracing::warn!(%pool, worker = %id, why, "a worker asks to be replaced; it serves on");
            return because(RecycleReason::Unfit);
        }
    }
    let served = shared.pool.served_by(id).unwrap_or_default();
    let vitals = Vitals { age: since.elapsed(), served, lead, memory, idle: unused.time() };
    match judge(limits, &vitals) {
        Verdict::Replace(reason) => because(reason),
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

async fn worked(shared: &Shared, serving: &Serving, lead: Lead) {
    match serving.limits.max_requests {
        Some(limit) => shared.pool.served(&serving.id, lead.start_at(limit)).await,
        None => std::future::pending().await,
    }
}

async fn grown(shared: &Shared, serving: &Serving, memory: &mut Samples) {
    let Serving { worker, id, limits, .. } = serving;
    let limits = Limits { max_memory: limits.max_memory, ..Limits::default() };
    if limits.max_memory.is_none() {
        std::future::pending().await
    }
    loop {
        sleep(shared.plan().options.memory_interval).await;
        let worker = Arc::clone(worker);
        // Reading takes the longer the more memory there is, and calls pass through this thread.
        let reading = tokio::task::spawn_blocking(move || worker.private_bytes());
        // Without a reading there is nothing to judge.
        if let Ok(Some(bytes)) = reading.await {
            memory.push(bytes);
            shared.book().measured(id, bytes);
        }
        if judge(&limits, &Vitals { memory: *memory, ..Vitals::default() }) != Verdict::Keep {
            return;
        }
    }
}

async fn rested(shared: &Shared, serving: &Serving, unused: &mut Unused) {
    let Some(limit) = serving.limits.idle else { std::future::pending().await };
    loop {
        sleep(limit / LOOKS).await;
        // Who has left the pool is about to be found gone.
        let Some(load) = shared.pool.load_of(&serving.id) else { std::future::pending().await };
        unused.look(&load);
        let vitals = Vitals { served: load.served, idle: unused.time(), ..Vitals::default() };
        let limits = Limits { idle: Some(limit), ..Limits::default() };
        if judge(&limits, &vitals) != Verdict::Keep {
            return;
        }
    }
}

/// Since when a worker has had no call, as far as looks from time to time can tell.
#[derive(Debug, Default)]
pub(super) struct Unused {
    /// Since when, and how many calls it had ended by then.
    since: Option<(Instant, u64)>,
}

impl Unused {
    pub(super) fn look(&mut self, load: &WorkerLoad) {
        let before = self.since.filter(|(_, served)| load.in_flight == 0 && *served == load.served);
        self.since = match before {
            None if load.in_flight > 0 => None,
            None => Some((Instant::now(), load.served)),
            before => before,
        };
    }

    pub(super) fn time(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }
}
