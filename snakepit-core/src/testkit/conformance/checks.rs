//! The checks. Each asserts something that some part of the engine or of the supervision relies on;
//! its name is the claim.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use super::{SOON, World, in_time};
use crate::call::{CallEvent, CancelReason};
use crate::error::ErrorKind;
use crate::slots::Lease;
use crate::testkit::LONG;

pub use super::ends::*;
pub use super::pools::*;

/// The supervisor puts a worker into its pool at once, and reports show what it says of itself.
pub async fn a_worker_is_ready_and_says_who_it_is(world: &World) {
    let started = world.start().await;
    let (info, slots) = (started.worker.info(), started.worker.slots());
    assert_eq!(info.id.as_str(), "conformance.0.0", "its id is that of its seat");
    assert_eq!(info.profile, world.profile.name(), "it names the profile that made it");
    assert!(!info.profile.is_empty());
    assert!(serde_json::to_value(info).is_ok(), "reports hold it as JSON");
    for tool in ["echo", "fail", "hold", "deaf", "count", "peak", "sicken", "die"] {
        let tools = &info.tools;
        let known = tools.iter().find(|known| known.name == tool);
        // A profile that learns its tools later says nothing.
        assert!(tools.is_empty() || known.is_some(), "no tool `{tool}` in {tools:?}");
        assert!(known.is_none_or(|known| known.streaming == (tool == "count")), "{known:?}");
    }
    assert_eq!((slots.capacity(), slots.load()), (world.capacity, 0));
    if let Some(seen) = started.worker.last_seen() {
        assert!(seen.elapsed() < LONG, "it was just started");
    }
    let answer: String = started.calls.call("echo", json!({"value": "hello"})).value().await;
    assert_eq!(answer, "hello");
    started.end().await;
}

/// A pool hands over calls before others have ended, and each caller wants its own result.
pub async fn each_call_has_its_own_answer_and_no_other(world: &World) {
    let started = world.start().await;
    let calls: Vec<_> =
        (0..200).map(|n| (n, started.calls.call("echo", json!({"value": n})))).collect();
    for (n, call) in calls {
        assert_eq!(call.value::<u64>().await, n);
    }
    // Stopping comes after everything that could still be said.
    started.end().await;
}

/// A tool that fails fails its call and nothing else; so does one that does not exist.
pub async fn a_call_that_fails_does_no_harm_to_the_next(world: &World) {
    let started = world.start().await;
    let error = started.calls.call("fail", ()).error().await;
    assert!(!error.message().is_empty(), "it says what happened");
    let error = started.calls.call("no_such_tool", ()).error().await;
    assert_eq!(error.kind(), ErrorKind::UnknownCommand);
    assert_eq!(started.calls.call("echo", json!({"value": 1})).value::<u64>().await, 1);
    started.end().await;
}

/// The engine acquires from the worker's own counter and keeps none beside it.
pub async fn slots_are_as_many_as_the_capacity_and_never_more(world: &World) {
    let started = world.start().await;
    let slots = started.worker.slots();
    let mut leases = Vec::new();
    for taken in 1..=world.capacity {
        leases.push(Lease::acquire(slots).unwrap_or_else(|| panic!("no slot {taken}")));
        assert_eq!(slots.load(), taken);
    }
    assert!(Lease::acquire(slots).is_none(), "a slot beyond the capacity");
    leases.pop();
    assert_eq!(slots.load(), world.capacity - 1);
    leases.clear();
    // From several threads at once: what is held never exceeds what there is.
    const THREADS: usize = 4;
    let ready = Barrier::new(THREADS);
    let contend = || {
        ready.wait();
        let mut got = 0_usize;
        for _ in 0..1000 {
            if let Some(lease) = Lease::acquire(slots) {
                assert!(slots.load() <= world.capacity, "{lease:?}");
                got += 1;
            }
        }
        got
    };
    let got: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(contend)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no slot too many")).sum()
    });
    assert!(got >= 1000, "free slots were refused");
    assert_eq!(slots.load(), 0, "a slot was lost");
    started.end().await;
}

/// Calls handed over ahead of time wait in the worker.
pub async fn as_many_calls_run_as_there_is_room_for_and_no_more(world: &World) {
    let started = world.start().await;
    let mut calls: Vec<_> =
        (0..3 * world.capacity).map(|_| started.calls.call("hold", ())).collect();
    // They start in the order they came.
    for call in calls.iter_mut().take(world.capacity) {
        call.begun().await;
    }
    for call in calls.iter().rev() {
        call.cancel(CancelReason::Dropped);
    }
    for call in calls {
        assert_eq!(call.error().await.kind(), ErrorKind::Cancelled);
    }
    let many: Vec<_> = (0..100).map(|n| started.calls.call("echo", json!({"value": n}))).collect();
    for call in many {
        call.value::<u64>().await;
    }
    let peak: usize = started.calls.call("peak", ()).value().await;
    assert_eq!(peak, world.capacity, "so many ran at the same time");
    started.end().await;
}

/// Whoever drops a call wants its tool to stop.
pub async fn a_running_call_can_be_cancelled(world: &World) {
    let started = world.start().await;
    for reason in [CancelReason::Dropped, CancelReason::Deadline] {
        let mut running = started.calls.call("hold", ());
        running.begun().await;
        running.cancel(reason);
        // Twice is once, and so is after the end.
        running.cancel(reason);
        let CallEvent::Failed { error, .. } = running.last_event().await else {
            panic!("a call that was cancelled while it waited has no value");
        };
        // Which of the two a deadline becomes is the pool's business; its caller has its answer.
        let kinds = [ErrorKind::Cancelled, ErrorKind::Timeout(crate::error::Phase::Call)];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        running.cancel(reason);
    }
    started.end().await;
}

/// A call that waits in a worker ends without having been started.
pub async fn a_call_can_be_cancelled_before_it_starts(world: &World) {
    let started = world.start().await;
    let held = world.fill(&started).await;
    let waiting = started.calls.call("echo", json!({"value": 1}));
    waiting.cancel(CancelReason::Dropped);
    assert_eq!(waiting.error().await.kind(), ErrorKind::Cancelled);
    assert!(held.iter().all(|call| !call.is_over()), "the others are not concerned");
    for call in held {
        call.cancel(CancelReason::Dropped);
        call.error().await;
    }
    started.end().await;
}

/// The engine takes calls back when another worker could run them sooner.
pub async fn calls_that_have_not_started_are_given_back_and_others_are_not(world: &World) {
    let started = world.start().await;
    let held = world.fill(&started).await;
    let mut waiting: Vec<_> =
        (0..5).map(|n| started.calls.call("echo", json!({"value": n}))).collect();
    let kept = waiting.remove(2);
    // One that runs is asked for too, which must not disturb it.
    started.calls.revoke(&waiting.iter().chain(&held).collect::<Vec<_>>());
    for call in &mut waiting {
        let event = call.last_event().await;
        assert!(matches!(event, CallEvent::Returned), "not given back: {event:?}");
    }
    assert!(!kept.is_over(), "nobody asked for it");
    for call in held {
        assert!(!call.is_over(), "it had started, and runs on");
        call.cancel(CancelReason::Dropped);
        assert_eq!(call.error().await.kind(), ErrorKind::Cancelled);
    }
    assert_eq!(kept.value::<u64>().await, 2);
    // One that is over is asked for: nothing comes of it.
    started.calls.revoke(&waiting.iter().collect::<Vec<_>>());
    started.end().await;
}

/// A consumer that is slow is not flooded.
pub async fn a_stream_sends_no_more_than_it_is_granted(world: &World) {
    let started = world.start().await;
    let mut stream = started.calls.stream("count", json!({"n": 20}), 2);
    for n in 0..2_u64 {
        assert_eq!(stream.chunk::<u64>().await, n);
    }
    // Time for a worker to send what it may not; whoever takes a chunk too many remembers that.
    tokio::time::sleep(SOON / 6).await;
    let mut next = 2_u64;
    for grant in [1, 5, 12] {
        stream.grant(grant);
        for _ in 0..grant {
            assert_eq!(stream.chunk::<u64>().await, next);
            next += 1;
        }
    }
    let end = stream.last_event().await;
    assert!(matches!(end, CallEvent::StreamEnded { .. }), "{end:?}");
    let mut empty = started.calls.stream("count", json!({"n": 0}), 1);
    let end = empty.last_event().await;
    assert!(matches!(end, CallEvent::StreamEnded { .. }), "{end:?}");
    // One value is asked of a stream, and a stream of one value.
    started.calls.call("count", json!({"n": 1})).error().await;
    started.calls.stream("echo", json!({"value": 1}), 1).error().await;
    started.end().await;
}

/// A stream whose reader is gone does not keep its slot.
pub async fn a_stream_that_waits_for_credit_can_be_cancelled(world: &World) {
    let started = world.start().await;
    let mut stream = started.calls.stream("count", json!({"n": 1000}), 1);
    assert_eq!(stream.chunk::<u64>().await, 0);
    stream.cancel(CancelReason::Dropped);
    let CallEvent::Failed { error, .. } = stream.last_event().await else {
        panic!("nobody granted the rest of the stream");
    };
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(started.calls.call("echo", json!({"value": 1})).value::<u64>().await, 1);
    started.end().await;
}

/// The supervisor replaces a worker that says that it is not well.
pub async fn health_is_what_the_worker_says_it_is(world: &World) {
    let started = world.start().await;
    // Whoever asks holds a slot.
    let lease = Lease::acquire(started.worker.slots()).expect("a free slot");
    let health = in_time("the health of the worker", started.worker.check_health()).await;
    assert_eq!(health, Ok(()), "nothing is wrong with it");
    drop(lease);
    in_time("the call ends", started.calls.call("sicken", ()).last_event()).await;
    let _lease = Lease::acquire(started.worker.slots()).expect("a free slot");
    let health = in_time("the health of the worker", started.worker.check_health()).await;
    assert!(health.is_err_and(|what| !what.is_empty()), "it says what is wrong");
    // Whether it is to be replaced is not its own decision.
    assert_eq!(started.calls.call("echo", json!({"value": 1})).value::<u64>().await, 1);
    started.end().await;
}
