//! What makes a worker one that runs several calls at a time: its slots, and what a call that is
//! stuck means for the others.
//!
//! Invariant: a stuck call costs the others nothing but its slot until a replacement is there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use snakepit_core::{BoxFuture, CallId, Slots};
use snakepit_worker::{Manner, Stuck};
use tokio::sync::watch;

use crate::slots::ThreadSlots;

/// Name of the profile.
pub(crate) const PROFILE: &str = "thread";

pub(crate) struct ManyCalls {
    tracker: Arc<ThreadSlots>,
    /// The same, as the engine sees it.
    slots: Arc<dyn Slots>,
    /// Calls that do not end.
    stuck: Mutex<BTreeSet<CallId>>,
    /// Why the worker should be replaced.
    unfit: watch::Sender<Option<String>>,
}

impl ManyCalls {
    pub(crate) fn new(threads: usize) -> Self {
        let tracker = Arc::new(ThreadSlots::new(threads));
        let slots = Arc::clone(&tracker) as Arc<dyn Slots>;
        Self { tracker, slots, stuck: Mutex::default(), unfit: watch::Sender::new(None) }
    }

    /// From here on it runs one call at a time.
    pub(crate) fn one_at_a_time(&self) {
        self.tracker.resize(1);
    }

    /// Asks for a replacement. The first reason stays.
    pub(crate) fn ask_for_replacement(&self, why: String) {
        self.unfit.send_if_modified(|unfit| {
            let first = unfit.is_none();
            if first {
                *unfit = Some(why);
            }
            first
        });
    }
}

impl Manner for ManyCalls {
    fn profile(&self) -> &'static str {
        PROFILE
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    fn stuck(&self, call: CallId) -> Stuck {
        let stuck = {
            let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
            stuck.insert(call);
            stuck.len()
        };
        if stuck >= self.tracker.capacity() || self.tracker.is_closed() {
            // There is nothing left in it that could end, or that is to go on.
            return Stuck::End;
        }
        self.ask_for_replacement(format!("has a call that ignores its cancellation: {call}"));
        Stuck::ServeOn
    }

    fn closing(&self) {
        self.tracker.close();
    }

    fn unfit(&self) -> BoxFuture<'static, String> {
        let mut unfit = self.unfit.subscribe();
        Box::pin(async move {
            let why = unfit.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            match why {
                Some(why) => why,
                // The worker is gone and asks for nothing.
                None => std::future::pending().await,
            }
        })
    }
}

#[cfg(all(test, not(snakepit_loom)))]
mod tests {
    use super::*;

    fn call(id: u64) -> CallId {
        CallId::new(id).expect("call ids are not 0")
    }

    #[tokio::test]
    async fn a_stuck_call_asks_for_a_replacement_and_the_last_one_ends_the_worker() {
        let worker = ManyCalls::new(3);
        assert_eq!(worker.stuck(call(7)), Stuck::ServeOn);
        assert_eq!(worker.stuck(call(7)), Stuck::ServeOn, "it is the same one");
        assert_eq!(worker.stuck(call(8)), Stuck::ServeOn);
        assert!(worker.unfit().await.ends_with(": 7"), "the first reason stays");
        assert_eq!(worker.stuck(call(9)), Stuck::End);
    }

    #[test]
    fn a_worker_that_is_stopped_gives_a_stuck_call_no_time() {
        let worker = ManyCalls::new(3);
        worker.closing();
        assert_eq!(worker.stuck(call(1)), Stuck::End);
    }

    #[test]
    fn a_worker_that_runs_one_at_a_time_ends_with_a_stuck_call() {
        let worker = ManyCalls::new(3);
        worker.one_at_a_time();
        assert_eq!(worker.stuck(call(1)), Stuck::End);
    }
}
