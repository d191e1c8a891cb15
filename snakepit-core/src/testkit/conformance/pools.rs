//! Workers of the profile in a pool, as callers meet them.

use std::sync::Arc;

use serde_json::json;
use tokio::runtime::Handle;

use super::ends::gone_or_replaced;
use super::{SOON, World, in_time};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Phase};
use crate::pool::{Completed, Pool, PoolOptions};
use crate::testkit::LONG;
use crate::testkit::calls::request;
use crate::worker::{Worker, WorkerExit};

fn pool(change: impl FnOnce(&mut PoolOptions)) -> Pool {
    let mut options = PoolOptions::new("conformance");
    options.cancel_grace = LONG;
    change(&mut options);
    Pool::new(options, Clock::system(), &Handle::current())
}

async fn submit(
    pool: &Pool,
    command: &str,
    arguments: serde_json::Value,
) -> Result<Completed, Error> {
    let call = pool.submit(request(command, arguments)).expect("the pool takes calls");
    in_time("the call's end", call).await
}

async fn echo(pool: &Pool, value: u64) {
    let done = submit(pool, "echo", json!({"value": value})).await.expect("an answer");
    assert_eq!(done.payload.decode::<u64>().expect("a number"), value);
}

/// Fails as many calls at their deadline as the worker has room for.
async fn time_out_everywhere(
    world: &World,
    pool: &Pool,
    command: &str,
    arguments: serde_json::Value,
) {
    let mut request = request(command, arguments);
    request.timeout = Some(SOON);
    let calls: Vec<_> = (0..world.capacity)
        .map(|_| pool.submit(request.clone()).expect("the pool takes calls"))
        .collect();
    for call in calls {
        let error = in_time("the deadline", call).await.expect_err("it has no answer");
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Call), "{error:?}");
    }
}

/// A caller has its error at the deadline, and a tool that lets itself be cancelled frees its slot.
pub async fn a_deadline_is_kept_and_gives_the_slot_back(world: &World) {
    let started = world.start().await;
    let pool = pool(|_| {});
    pool.join(Arc::clone(&started.worker));
    time_out_everywhere(world, &pool, "hold", json!({})).await;
    echo(&pool, 7).await;
    pool.close();
    in_time("the pool is drained", pool.drained()).await;
    assert_eq!(started.worker.slots().load(), 0, "a slot was lost");
    started.end().await;
}

/// A slot belongs to a call until the worker says otherwise, whatever its caller does.
pub async fn a_late_answer_reaches_nobody_and_gives_the_slot_back(world: &World) {
    let started = world.start().await;
    let pool = pool(|_| {});
    pool.join(Arc::clone(&started.worker));
    let millis = 2 * SOON.as_millis() as u64;
    time_out_everywhere(world, &pool, "deaf", json!({"millis": millis})).await;
    assert_eq!(started.worker.slots().load(), world.capacity, "they still run");
    // It waits for the late answers, and gets none of them.
    echo(&pool, 7).await;
    pool.close();
    in_time("the pool is drained", pool.drained()).await;
    assert_eq!(started.worker.slots().load(), 0, "a slot was lost");
    started.end().await;
}

/// One call that never ends takes its worker along and no other.
pub async fn a_call_that_ignores_its_cancellation_costs_its_worker(world: &World) {
    let stuck = world.start().await;
    let pool = pool(|options| options.cancel_grace = SOON);
    pool.join(Arc::clone(&stuck.worker));
    let mut deaf = request("deaf", json!({"millis": null}));
    deaf.timeout = Some(SOON);
    let deaf = pool.submit(deaf).expect("the pool takes calls");
    let error = in_time("the deadline", deaf).await.expect_err("it has no answer");
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Call), "{error:?}");
    let exit = in_time("the end of a stuck worker", gone_or_replaced(&stuck.worker)).await;
    assert!(matches!(exit, WorkerExit::Died(_)), "{exit:?}");
    pool.leave(&stuck.worker.info().id);
    let other = world.start().await;
    pool.join(Arc::clone(&other.worker));
    echo(&pool, 7).await;
    pool.close();
    in_time("the pool is drained", pool.drained()).await;
    other.end().await;
}

/// Calls ahead of time, revocation and answers from several workers at once, all together.
pub async fn a_pool_of_several_workers_answers_everything(world: &World) {
    let workers = [world.start().await, world.start().await];
    let pool = pool(|options| options.prefetch = 8);
    for started in &workers {
        pool.join(Arc::clone(&started.worker));
    }
    let calls: Vec<_> = (0..500_u64)
        .map(|n| (n, pool.submit(request("echo", json!({"value": n}))).expect("room in line")))
        .collect();
    for (n, call) in calls {
        let done = in_time("the call's end", call).await.expect("an answer");
        assert_eq!(done.payload.decode::<u64>().expect("a number"), n);
    }
    let served: Vec<_> = pool.workers().iter().map(|worker| worker.served).collect();
    assert!(served.iter().all(|served| *served > 0), "one of them did nothing: {served:?}");
    pool.close();
    in_time("the pool is drained", pool.drained()).await;
    let worker: &dyn Worker = &*workers[0].worker;
    assert_eq!(worker.slots().load(), 0);
    for started in workers {
        started.end().await;
    }
}
