//! What every profile must keep, as tests that a profile runs on itself.
//!
//! A profile passes the engine's needs exactly if its workers pass these. They know nothing of the
//! profile but what a [`Subject`] says; its workers serve the tools of the table. The suite is one
//! line in a test file, and each of its checks becomes a test of that name:
//!
//! ```text
//! snakepit_core::conformance!(MySubject::new());
//! ```
//!
//! The expression is evaluated for each check, on a runtime that is the check's own.
//!
//! | tool | arguments | does |
//! |---|---|---|
//! | `echo` | `value` | returns it |
//! | `fail` | | raises, or returns an error |
//! | `hold` | | reports progress once, then waits until it is cancelled |
//! | `deaf` | `millis`, or null | reports progress once, then waits so long, or for ever; ignores cancellation |
//! | `count` | `n` | streams the numbers from 0 to `n` - 1 |
//! | `peak` | | returns the largest number of calls that ever ran here at the same time, this one included |
//! | `sicken` | | has the worker's health check fail from now on |
//! | `die` | | ends the worker at once, as a crash does |
//!
//! Arguments are MessagePack maps by name. For Python they are in `snakepit.conformance`, an adapter
//! that comes with the worker package.
//!
//! Nothing is measured. Where a check waits, it waits for something that must come, for at most
//! [`LONG`]. What must not happen is looked for after something that had to come later,
//! or after a moment in which it would have.

pub mod checks;
mod ends;
mod pools;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Calls, InFlight, LONG};
use crate::error::Error;
use crate::worker::{Profile, Seat, Worker, WorkerExit};

/// A profile as the suite needs it. Made anew for each check, inside the runtime of that check.
pub trait Subject: Send + Sync + 'static {
    /// The profile; its workers serve the suite's tools.
    fn profile(&self) -> Arc<dyn Profile>;

    /// How many calls each of its workers runs at a time.
    fn capacity(&self) -> usize;
}

/// Makes a test of each check. Its argument makes a
/// [`Subject`](crate::testkit::conformance::Subject).
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance! { $subject =>
            a_worker_is_ready_and_says_who_it_is
            each_call_has_its_own_answer_and_no_other
            a_call_that_fails_does_no_harm_to_the_next
            slots_are_as_many_as_the_capacity_and_never_more
            as_many_calls_run_as_there_is_room_for_and_no_more
            a_running_call_can_be_cancelled
            a_call_can_be_cancelled_before_it_starts
            calls_that_have_not_started_are_given_back_and_others_are_not
            a_stream_sends_no_more_than_it_is_granted
            a_stream_that_waits_for_credit_can_be_cancelled
            health_is_what_the_worker_says_it_is
            a_stop_ends_an_idle_worker_well_and_is_told_to_all
            a_stop_keeps_its_time_whatever_the_calls_do
            a_worker_that_is_gone_takes_no_call_and_minds_nothing
            calls_have_their_last_event_before_the_exit_is_told
            a_worker_that_is_stuck_ends_or_asks_to_be_replaced
            a_dropped_worker_ends
            a_dropped_start_leaves_nothing
            a_deadline_is_kept_and_gives_the_slot_back
            a_late_answer_reaches_nobody_and_gives_the_slot_back
            a_call_that_ignores_its_cancellation_costs_its_worker
            a_pool_of_several_workers_answers_everything
        }
    };
    ($subject:expr => $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                $crate::testkit::conformance::run(
                    || $subject,
                    $crate::testkit::conformance::checks::$check,
                );
            }
        )*
    };
}

/// Runs one check on a runtime of its own; what [`conformance!`](crate::conformance) calls.
///
/// # Panics
/// If the profile does not pass.
pub fn run<S: Subject>(subject: impl FnOnce() -> S, check: impl AsyncFnOnce(&World)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime of one thread");
    runtime.block_on(async {
        let subject = subject();
        let (profile, capacity) = (subject.profile(), subject.capacity());
        let started = AtomicUsize::new(0);
        let world = World { profile: Arc::clone(&profile), capacity, started };
        check(&world).await;
        drop(world);
        in_time("everything that was started is gone", profile.all_gone()).await;
    });
    // What the profile left on the runtime must not keep the test up.
    runtime.shutdown_timeout(LONG);
}

/// What a check works with.
pub struct World {
    profile: Arc<dyn Profile>,
    capacity: usize,
    started: AtomicUsize,
}

/// A worker, and calls of it.
struct Started {
    worker: Arc<dyn Worker>,
    calls: Calls,
}

impl World {
    fn seat(&self) -> Seat {
        let index = self.started.fetch_add(1, Ordering::Relaxed);
        Seat { pool: "conformance".into(), index, incarnation: 0 }
    }

    async fn start(&self) -> Started {
        let worker = in_time("a worker is ready", self.profile.start(self.seat())).await;
        let worker = worker.unwrap_or_else(|error: Error| panic!("no worker: {error:?}"));
        Started { calls: Calls::of(&worker), worker }
    }

    /// Has a call run in every slot, so that further ones have to wait.
    async fn fill(&self, started: &Started) -> Vec<InFlight> {
        let mut held = Vec::new();
        for _ in 0..self.capacity {
            let mut call = started.calls.call("hold", ());
            call.begun().await;
            held.push(call);
        }
        held
    }
}

impl Started {
    /// Ends a worker that has nothing to do, and sees that it kept the contract.
    async fn end(self) {
        let exit = in_time("the worker stops", self.worker.stop(LONG)).await;
        assert!(matches!(exit, WorkerExit::Stopped), "it was asked to stop, and {exit:?}");
        self.calls.assert_kept();
    }
}

/// Waits for what must come.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited for {LONG:?}, and this did not come: {what}"),
    }
}

/// Short enough to wait for, long enough to get something under way before.
const SOON: Duration = Duration::from_millis(300);
