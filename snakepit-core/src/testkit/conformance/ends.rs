//! How workers end: asked, by force, by themselves, and with whoever held them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use serde_json::json;

use super::{SOON, World, in_time};
use crate::call::{CallEvent, CancelReason};
use crate::error::{Error, ErrorKind};
use crate::testkit::calls::request;
use crate::testkit::{InFlight, LONG};
use crate::worker::{Worker, WorkerExit};

/// Far more than ending something by force takes after its time.
const BY_FORCE: std::time::Duration = std::time::Duration::from_secs(30);

async fn lost(call: InFlight) -> Error {
    let error = call.error().await;
    let lost = matches!(error.kind(), ErrorKind::WorkerLost { .. });
    assert!(lost || error.kind() == ErrorKind::Cancelled, "{error:?}");
    error
}

/// The supervisor and whoever else listens hear the same.
pub async fn a_stop_ends_an_idle_worker_well_and_is_told_to_all(world: &World) {
    let started = world.start().await;
    let mut early = pin!(started.worker.exited());
    let context = &mut Context::from_waker(Waker::noop());
    assert!(early.as_mut().poll(context).is_pending(), "it has just started");
    let stopped = in_time("the worker stops", started.worker.stop(LONG)).await;
    let exits = [stopped, in_time("its exit is told", early).await, started.worker.exited().await];
    for exit in exits {
        assert!(matches!(exit, WorkerExit::Stopped), "{exit:?}");
    }
    // Again is no harm.
    assert!(matches!(started.worker.stop(LONG).await, WorkerExit::Stopped));
    started.calls.assert_kept();
}

/// A shutdown has a deadline, and calls that do not end cannot move it.
pub async fn a_stop_keeps_its_time_whatever_the_calls_do(world: &World) {
    let started = world.start().await;
    let mut deaf = started.calls.call("deaf", json!({"millis": null}));
    deaf.begun().await;
    let before = Instant::now();
    in_time("the worker ends", started.worker.stop(SOON)).await;
    let took = before.elapsed();
    assert!(took < SOON + BY_FORCE, "its grace was {SOON:?}, and it took {took:?}");
    assert!(deaf.is_over(), "its call was left without an end");
    lost(deaf).await;
    started.calls.assert_kept();
}

/// A pool may hold on to a worker for a moment after its end.
pub async fn a_worker_that_is_gone_takes_no_call_and_minds_nothing(world: &World) {
    let started = world.start().await;
    let over = started.calls.call("echo", json!({"value": 1}));
    let id = over.id();
    over.value::<u64>().await;
    in_time("the worker stops", started.worker.stop(LONG)).await;
    let refused = started.calls.submit(request("echo", json!({"value": 1})), None);
    assert!(refused.is_none(), "it took a call that nobody can run");
    let worker = &started.worker;
    worker.cancel(id, CancelReason::Dropped);
    worker.revoke(&[id]);
    worker.grant(id, 1);
    worker.flush();
    worker.stuck(id);
    let _ = worker.private_bytes();
    assert!(matches!(worker.exited().await, WorkerExit::Stopped));
    started.calls.assert_kept();
}

/// Whoever hears of an exit may count on it that nothing is left to wait for. Of the calls those
/// that ran may have had an effect; the one that waited had none.
pub async fn calls_have_their_last_event_before_the_exit_is_told(world: &World) {
    let started = world.start().await;
    let mut held = world.fill(&started).await;
    let die = started.calls.call("die", ());
    let mut waiting = started.calls.call("echo", json!({"value": 1}));
    // Makes room for the first of the two.
    let freed = held.pop().expect("every slot is taken");
    freed.cancel(CancelReason::Dropped);
    let exit = in_time("the worker's exit", started.worker.exited()).await;
    let over = held.iter().chain([&freed, &die, &waiting]).all(InFlight::is_over);
    assert!(over, "a call had no end when the exit was told");
    assert!(matches!(exit, WorkerExit::Died(ref how) if !how.is_empty()), "{exit:?}");
    let again = started.worker.exited().await;
    assert!(matches!(again, WorkerExit::Died(_)), "it was told otherwise before: {again:?}");
    for call in held.into_iter().chain([die]) {
        let error = call.error().await;
        assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true }, "{error:?}");
    }
    match waiting.last_event().await {
        CallEvent::Returned => {}
        CallEvent::Failed { error, .. } => {
            assert!(matches!(error.kind(), ErrorKind::WorkerLost { .. }), "{error:?}");
        }
        other => panic!("nobody could run it: {other:?}"),
    }
    started.calls.assert_kept();
}

/// The engine tells a worker of a call that has ignored its cancellation for the grace period. Either
/// it ends, or it asks to be replaced and ends when it is stopped, whatever that call does.
pub async fn a_worker_that_is_stuck_ends_or_asks_to_be_replaced(world: &World) {
    let started = world.start().await;
    let mut deaf = started.calls.call("deaf", json!({"millis": null}));
    deaf.begun().await;
    deaf.cancel(CancelReason::Deadline);
    started.worker.stuck(deaf.id());
    // Told of the same again, it does the same.
    started.worker.stuck(deaf.id());
    let exit = in_time("the end of a stuck worker", gone_or_replaced(&started.worker)).await;
    assert!(matches!(exit, WorkerExit::Died(ref how) if !how.is_empty()), "{exit:?}");
    assert!(deaf.is_over());
    assert_eq!(deaf.error().await.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    started.calls.assert_kept();
}

/// Does for a worker what its supervisor does: stops it when it says that it is unfit.
pub(super) async fn gone_or_replaced(worker: &Arc<dyn Worker>) -> WorkerExit {
    let mut exited = pin!(worker.exited());
    let mut unfit = pin!(worker.unfit());
    let end = poll_fn(|context| {
        if let Poll::Ready(exit) = exited.as_mut().poll(context) {
            return Poll::Ready(Ok(exit));
        }
        unfit.as_mut().poll(context).map(Err)
    });
    match end.await {
        Ok(exit) => exit,
        Err(why) => {
            assert!(!why.is_empty(), "it says why it should be replaced");
            worker.stop(SOON).await
        }
    }
}

/// What nobody holds nobody can stop.
pub async fn a_dropped_worker_ends(world: &World) {
    let started = world.start().await;
    let exited = started.worker.exited();
    let mut calls = world.fill(&started).await;
    drop(started);
    in_time("its exit is told", exited).await;
    for call in &mut calls {
        let event = call.last_event().await;
        assert!(matches!(event, CallEvent::Failed { .. }), "{event:?}");
    }
    // Nothing is left of it: the suite waits for that after each check.
}

/// A supervisor that shuts down drops what it was starting.
pub async fn a_dropped_start_leaves_nothing(world: &World) {
    for polls in [0, 1, 2] {
        let mut start = world.profile.start(world.seat());
        for _ in 0..polls {
            let context = &mut Context::from_waker(Waker::noop());
            if start.as_mut().poll(context).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(start);
    }
    // One that has gone further.
    let _ = tokio::time::timeout(SOON / 10, world.profile.start(world.seat())).await;
    // The profile goes on.
    world.start().await.end().await;
}
