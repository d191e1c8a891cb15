//! The suite notices workers that break a rule. Each is a good one of ours that is tampered with.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use snakepit_core::testkit::CountedSlots;
use snakepit_core::testkit::conformance::{Subject, World, checks, run};
use snakepit_core::{
    BoxFuture, Call, CallEvent, CallId, CallSink, CancelReason, CreditExceeded, Error, Profile,
    Reply, Seat, Slots, Worker, WorkerExit, WorkerInfo,
};
use support::Closed;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Says more after the last word on a call.
    AnswersTwice,
    /// Allows itself more chunks than it was granted.
    IgnoresCredit,
    /// Answers while the pool is locked.
    SpeaksFromInside,
    /// Has room for more calls than it says.
    OneSlotTooMany,
    /// Forgets to give a slot back.
    LosesSlots,
    /// Tells its exit before its calls have an end.
    LeavesEarly,
    /// Takes calls when it is gone.
    TakesCallsForEver,
    /// Bears another profile's name.
    Misnamed,
}

struct Broken(Closed, Fault);

impl Subject for Broken {
    fn profile(&self) -> Arc<dyn Profile> {
        Arc::new(BrokenProfile(self.0.profile(), self.1))
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

struct BrokenProfile(Arc<dyn Profile>, Fault);

impl Profile for BrokenProfile {
    fn name(&self) -> &'static str {
        if self.1 == Fault::Misnamed { "another" } else { self.0.name() }
    }

    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>> {
        let (start, fault) = (self.0.start(seat), self.1);
        Box::pin(async move {
            let inner = start.await?;
            let capacity = inner.slots().capacity();
            let slots: Arc<dyn Slots> = match fault {
                Fault::OneSlotTooMany => Arc::new(CountedSlots::new(capacity + 1)),
                Fault::LosesSlots => Arc::new(Lossy(CountedSlots::new(capacity))),
                _ => Arc::clone(inner.slots()),
            };
            Ok(Arc::new(BrokenWorker { inner, slots, fault }) as Arc<dyn Worker>)
        })
    }

    fn all_gone(&self) -> BoxFuture<'static, ()> {
        self.0.all_gone()
    }
}

struct Lossy(CountedSlots);

impl Slots for Lossy {
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
    fn load(&self) -> usize {
        self.0.load()
    }
    fn try_acquire(&self) -> bool {
        self.0.try_acquire()
    }
    fn release(&self) {}
}

struct BrokenWorker {
    inner: Arc<dyn Worker>,
    slots: Arc<dyn Slots>,
    fault: Fault,
}

/// Hands a call's events on to the reply it was made with, and says with its own end that the call
/// is lost.
struct Listening(Reply);

impl CallSink for Listening {
    fn event(self: Arc<Self>, _: u64, _: CallId, event: CallEvent) -> Result<(), CreditExceeded> {
        self.0.tell(event)
    }
}

impl Worker for BrokenWorker {
    fn info(&self) -> &WorkerInfo {
        self.inner.info()
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    fn submit(&self, call: &Call, timeout: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        match self.fault {
            Fault::AnswersTwice => {
                let sink = Arc::new(Listening(reply));
                self.inner.submit(call, timeout, Reply::new(sink, 0, call.id))
            }
            Fault::SpeaksFromInside => {
                let _ = reply.tell(CallEvent::Progress(snakepit_core::Progress::default()));
                self.inner.submit(call, timeout, reply)
            }
            Fault::IgnoresCredit => {
                let stream_credit = call.stream_credit.map(|credit| credit + 5);
                let call = Call { id: call.id, request: call.request.clone(), stream_credit };
                self.inner.submit(&call, timeout, reply)
            }
            Fault::TakesCallsForEver => {
                // It keeps what nobody will run.
                self.inner.submit(call, timeout, reply).or_else(|reply| {
                    Box::leak(Box::new(reply));
                    Ok(())
                })
            }
            _ => self.inner.submit(call, timeout, reply),
        }
    }

    fn cancel(&self, call: CallId, reason: CancelReason) {
        self.inner.cancel(call, reason);
    }

    fn revoke(&self, calls: &[CallId]) {
        self.inner.revoke(calls);
    }

    fn grant(&self, call: CallId, chunks: u32) {
        self.inner.grant(call, chunks);
    }

    fn flush(&self) {
        self.inner.flush();
    }

    fn stuck(&self, call: CallId) {
        self.inner.stuck(call);
    }

    fn check_health(&self) -> BoxFuture<'static, Result<(), String>> {
        self.inner.check_health()
    }

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        if self.fault == Fault::LeavesEarly {
            return Box::pin(std::future::ready(WorkerExit::Died("already".to_owned())));
        }
        self.inner.exited()
    }

    fn stop(&self, grace: Duration) -> BoxFuture<'static, WorkerExit> {
        self.inner.stop(grace)
    }
}

/// What the suite says of a worker with this fault.
fn noticed(fault: Fault, check: impl AsyncFnOnce(&World)) -> String {
    let ran = catch_unwind(AssertUnwindSafe(|| run(|| Broken(Closed::new(2), fault), check)));
    let said = ran.expect_err("the fault was not noticed");
    match said.downcast::<String>() {
        Ok(said) => *said,
        Err(said) => (*said.downcast::<&str>().expect("a panic says something")).to_owned(),
    }
}

#[test]
fn each_broken_rule_is_noticed_by_its_check() {
    let said = noticed(Fault::AnswersTwice, checks::each_call_has_its_own_answer_and_no_other);
    assert!(said.contains("an event after the last one"), "{said}");
    let said = noticed(Fault::IgnoresCredit, checks::a_stream_sends_no_more_than_it_is_granted);
    assert!(said.contains("not a chunk but Failed"), "{said}");
    let said = noticed(Fault::SpeaksFromInside, checks::a_worker_is_ready_and_says_who_it_is);
    assert!(said.contains("with the pool locked"), "{said}");
    let slots = checks::slots_are_as_many_as_the_capacity_and_never_more;
    assert!(noticed(Fault::OneSlotTooMany, slots).contains("a slot beyond the capacity"));
    assert!(noticed(Fault::LosesSlots, slots).contains("left == right"));
    let exit = checks::a_stop_ends_an_idle_worker_well_and_is_told_to_all;
    assert!(noticed(Fault::LeavesEarly, exit).contains("it has just started"));
    let gone = checks::a_worker_that_is_gone_takes_no_call_and_minds_nothing;
    assert!(noticed(Fault::TakesCallsForEver, gone).contains("a call that nobody can run"));
    let said = noticed(Fault::Misnamed, checks::a_worker_is_ready_and_says_who_it_is);
    assert!(said.contains("names the profile that made it"), "{said}");
}
