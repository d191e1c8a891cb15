//! By what a pool is supervised at the moment, and the trial of what is to come. Owns the order of a
//! change: one worker of the new kind must have become ready before any other is replaced.
//!
//! Invariants: a worker knows the edition of the plan it was made by; once a plan is in force, those of
//! earlier editions are replaced, and nothing new is made by an earlier plan.

use std::sync::{Arc, Mutex, PoisonError};

use snakepit_core::{Error, Profile, WorkerId};
use tokio::sync::oneshot;

use super::{Shared, SupervisorOptions};

/// What makes workers, and how they are looked after.
pub(super) struct Plan {
    pub(super) profile: Arc<dyn Profile>,
    pub(super) options: SupervisorOptions,
    /// Grows with each plan whose workers are not as those before.
    pub(super) edition: u64,
}

/// A seat's order to replace its worker by one of a plan that is not in force yet.
#[derive(Clone)]
pub(super) struct Trial {
    worker: WorkerId,
    pub(super) plan: Arc<Plan>,
    told: Arc<Mutex<Option<Told>>>,
}

/// Whoever waits for the outcome; they learn of a trial that comes to nothing, too.
pub(super) type Told = oneshot::Sender<Result<(), Error>>;

impl Trial {
    /// Begins the trial, which can be done once.
    pub(super) fn begin(&self) -> Option<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it is about this worker, and has not begun.
    pub(super) fn is_due(&self, worker: &WorkerId) -> bool {
        self.worker == *worker && self.told.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").field("edition", &self.plan.edition).finish()
    }
}

/// Has a worker made by a plan before that comes into force.
///
/// Without a ready worker the plan comes into force at once, and the first start by it decides: those
/// that are to be replaced anyway serve on until that has come about.
pub(super) async fn try_out(shared: &Shared, plan: &Arc<Plan>) -> Result<(), Error> {
    let mut news = shared.news.subscribe();
    loop {
        if shared.is_over() {
            return Err(shared.stopping());
        }
        news.mark_unchanged();
        let ready = shared.book().first_ready();
        let Some(worker) = ready else { return first_start(shared, plan).await };
        let (told, mut outcome) = oneshot::channel();
        let told = Arc::new(Mutex::new(Some(told)));
        let trial = Trial { worker: worker.clone(), plan: Arc::clone(plan), told };
        shared.book().try_out(trial, &worker);
        loop {
            tokio::select! {
                outcome = &mut outcome => match outcome {
                    Ok(outcome) => return outcome,
                    // Its seat was given up meanwhile.
                    Err(_) => break,
                },
                // The sender lives in `shared`.
                _ = news.changed() => if !shared.book().knows(&worker) { break },
            }
        }
    }
}

async fn first_start(shared: &Shared, plan: &Arc<Plan>) -> Result<(), Error> {
    let mut news = shared.news.subscribe();
    let before = shared.plan.send_replace(Arc::clone(plan));
    loop {
        news.mark_unchanged();
        if let Some(outcome) = shared.book().first_outcome(plan.edition) {
            if outcome.is_err() {
                shared.plan.send_replace(before);
            }
            return outcome;
        }
        if shared.is_over() {
            return Err(shared.stopping());
        }
        let _ = news.changed().await;
    }
}

/// Resolves when no worker of another edition is left, or the supervisor stops.
pub(super) async fn rolled(shared: Arc<Shared>, edition: u64) {
    let mut news = shared.news.subscribe();
    let all_gone = |_: &()| shared.is_over() || !shared.book().has_others(edition);
    // The sender lives in `shared`.
    let _ = news.wait_for(all_gone).await;
}

/// Resolves when a plan is in force by which a worker of this edition is outdated.
pub(super) async fn outdated(shared: &Shared, edition: u64) {
    // The sender lives in `shared`.
    let _ = shared.plan.subscribe().wait_for(|plan| plan.edition != edition).await;
}
