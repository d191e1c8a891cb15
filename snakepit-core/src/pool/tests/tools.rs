//! Calls inside tool calls: what is taken back, given up, nested and refused.

use std::sync::Arc;
use std::time::Duration;

use super::fake::*;
use crate::call::Request;
use crate::error::ErrorKind;
use crate::pool::{Nesting, Pool};
use crate::worker::Worker;

const MS: Duration = Duration::from_millis(1);

/// A pool with one worker of so many slots, and what its tools are asked.
fn with_tools(slots: usize) -> (Pool, Arc<FakeWorker>, Arc<Jobs>) {
    let jobs = Arc::new(Jobs::default());
    let pool = pool(|options| {
        options.tool_host = Some(jobs.clone());
        options.prefetch = 4;
    });
    let worker = FakeWorker::new("w", slots);
    pool.join(worker.clone());
    (pool, worker, jobs)
}

/// Two pools that know of each other, with a worker of one slot each.
fn two_pools() -> ([Pool; 2], [Arc<FakeWorker>; 2], Arc<Jobs>) {
    let (jobs, nesting) = (Arc::new(Jobs::default()), Nesting::default());
    let pools = ["a", "b"].map(|name| {
        pool(|options| {
            options.name = name.into();
            options.tool_host = Some(jobs.clone());
            options.nesting = nesting.clone();
        })
    });
    let workers = ["a", "b"].map(|name| FakeWorker::new(name, 1));
    for (pool, worker) in pools.iter().zip(&workers) {
        pool.join(worker.clone());
    }
    (pools, workers, jobs)
}

#[tokio::test(start_paused = true)]
async fn workers_are_told_of_tools_before_their_first_call_and_when_that_changes() {
    let (pool, worker, _) = with_tools(1);
    assert_eq!(worker.offered(), ["lookup"]);
    let other = FakeWorker::new("other", 1);
    pool.join(other.clone());
    pool.refresh_tools();
    assert!(other.offered() == ["lookup"] && other.is_flushed());
}

#[tokio::test(start_paused = true)]
async fn a_worker_inside_a_tool_call_gets_nothing_ahead_and_gives_back_what_it_has() {
    let (pool, worker, jobs) = with_tools(1);
    let first = pool.submit(request("quick")).unwrap();
    worker.finish(1);
    first.await.unwrap();
    let calls: Vec<_> = (0..3).map(|_| pool.submit(request("quick")).unwrap()).collect();
    assert_eq!(worker.holds(), [2, 3, 4], "two are there ahead of time");
    worker.call_tool(2, 1, "lookup");
    assert_eq!(worker.take_revoked(), [4, 3]);
    worker.give_back(4);
    worker.give_back(3);
    let late = pool.submit(request("quick")).unwrap();
    assert_eq!(worker.holds(), [2], "and none comes while the tool runs");
    end(jobs.take());
    assert_eq!(worker.take_tool_answers(), [(1, None)]);
    assert_eq!(worker.holds(), [2, 3, 4, 5], "then they may come again");
    assert_eq!(pool.stats().counters.tool_calls, 1);
    drop((calls, late));
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_given_up_with_its_call_however_that_ends() {
    let (pool, worker, jobs) = with_tools(1);
    // Cancelled by its caller.
    let call = pool.submit(request("a")).unwrap();
    worker.call_tool(1, 1, "lookup");
    drop(call);
    let mut job = jobs.take();
    job.reply.given_up().await;
    end(job);
    assert_eq!(worker.take_tool_answers(), [], "nobody waits for it");
    worker.call_tool(1, 2, "lookup");
    assert_eq!(worker.take_tool_answers(), [(2, Some(ErrorKind::Cancelled))]);
    worker.fail(1);
    // At its deadline.
    let mut hurried = request("b");
    hurried.timeout = Some(MS);
    let call = pool.submit(hurried).unwrap();
    worker.call_tool(2, 3, "lookup");
    jobs.take().reply.given_up().await;
    assert_eq!(kind(call.await), ErrorKind::Timeout(crate::error::Phase::Call));
    worker.fail(2);
    // It ends without waiting, or no longer waits.
    let call = pool.submit(request("c")).unwrap();
    worker.call_tool(3, 4, "lookup");
    worker.call_tool(3, 5, "lookup");
    worker.drop_tool(3, 4);
    jobs.take().reply.given_up().await;
    worker.finish(3);
    jobs.take().reply.given_up().await;
    call.await.unwrap();
    // Its worker dies.
    let call = pool.submit(request("d")).unwrap();
    worker.call_tool(4, 6, "lookup");
    worker.die();
    pool.leave(&worker.info().id);
    jobs.take().reply.given_up().await;
    assert!(call.await.is_err());
    assert_eq!(pool.stats().in_tools, 0);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_vanishes_and_one_too_many_are_errors() {
    let jobs = Arc::new(Jobs::default());
    let host = jobs.clone();
    let pool = pool(|options| {
        options.tool_host = Some(host);
        options.max_tool_calls = 2;
    });
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let call = pool.submit(request("a")).unwrap();
    for tool_call in 1..=3 {
        worker.call_tool(1, tool_call, "lookup");
    }
    assert_eq!(worker.take_tool_answers(), [(3, Some(ErrorKind::ToolLimit))]);
    drop(jobs.take());
    assert_eq!(worker.take_tool_answers(), [(1, Some(ErrorKind::Internal))]);
    assert_eq!(pool.stats().counters.tool_errors, 2);
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn nested_calls_come_first_and_end_with_their_callers_deadline() {
    let (pool, worker, jobs) = with_tools(2);
    let mut outer = request("outer");
    outer.timeout = Some(10 * MS);
    let outer = pool.submit(outer).unwrap();
    let other = pool.submit(request("other")).unwrap();
    let waits = pool.submit(request("waits")).unwrap();
    worker.call_tool(1, 1, "lookup");
    let job = jobs.take();
    let inner = pool.submit(nested(&job, "inner")).unwrap();
    worker.finish(2);
    assert_eq!(worker.commands().last().unwrap(), "inner", "before the one that came earlier");
    assert_eq!(kind(outer.await), ErrorKind::Timeout(crate::error::Phase::Call));
    assert_eq!(kind(inner.await), ErrorKind::Timeout(crate::error::Phase::Call));
    drop((other, waits));
}

#[tokio::test(start_paused = true)]
async fn depth_is_limited() {
    let (pool, worker, jobs) = with_tools(16);
    let _outer = pool.submit(request("0")).unwrap();
    let mut calls = Vec::new();
    let mut open = Vec::new();
    for depth in 1..=8 {
        worker.call_tool(depth, depth, "lookup");
        let job = jobs.take();
        calls.push(pool.submit(nested(&job, &depth.to_string())).unwrap());
        open.push(job);
    }
    worker.call_tool(9, 9, "lookup");
    let job = jobs.take();
    assert_eq!(job.caller.depth(), 8);
    assert_eq!(kind(pool.submit(nested(&job, "9"))), ErrorKind::NestingTooDeep);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_closes_lets_running_calls_have_what_they_wait_for() {
    let (pool, worker, jobs) = with_tools(2);
    let outer = pool.submit(request("outer")).unwrap();
    worker.call_tool(1, 1, "lookup");
    let job = jobs.take();
    pool.close();
    assert_eq!(kind(pool.submit(request("late"))), ErrorKind::PoolClosed);
    let inner = pool.submit(nested(&job, "inner")).unwrap();
    worker.finish(2);
    inner.await.unwrap();
    end(job);
    worker.finish(1);
    outer.await.unwrap();
    pool.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_own_callers_slot_is_refused_at_once() {
    let (pool, worker, jobs) = with_tools(1);
    let outer = pool.submit(request("outer")).unwrap();
    worker.call_tool(1, 1, "lookup");
    let job = jobs.take();
    let error = pool.submit(nested(&job, "inner")).unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NestedDeadlock);
    assert!(error.help().is_some());
    assert_eq!(pool.stats().counters.deadlocks, 1);
    end(job);
    worker.finish(1);
    outer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_pools_is_seen_and_its_last_call_refused() {
    let ([a, b], [at_a, at_b], jobs) = two_pools();
    let _from_a = a.submit(request("a")).unwrap();
    let _from_b = b.submit(request("b")).unwrap();
    at_a.call_tool(1, 1, "lookup");
    at_b.call_tool(1, 1, "lookup");
    let (in_a, in_b) = (jobs.take(), jobs.take());
    let mut waits = b.submit(nested(&in_a, "to b")).unwrap();
    settle().await;
    let not_yet = tokio::time::timeout(Duration::ZERO, &mut waits).await;
    assert!(not_yet.is_err(), "b's call may still end");
    let closes = a.submit(nested(&in_b, "to a")).unwrap();
    assert_eq!(kind(closes.await), ErrorKind::NestedDeadlock);
    end(in_b);
    at_b.finish(1);
    at_b.finish(2);
    assert_eq!(number(waits.await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_to_come_may_serve_and_one_that_goes_no_longer() {
    let (pool, worker, jobs) = with_tools(1);
    pool.expect_workers(2);
    let _outer = pool.submit(request("outer")).unwrap();
    worker.call_tool(1, 1, "lookup");
    let job = jobs.take();
    let inner = pool.submit(nested(&job, "inner")).unwrap();
    let second = FakeWorker::new("second", 1);
    pool.join(second.clone());
    second.finish(2);
    inner.await.unwrap();
    // The second one is busy with what may end; then it leaves for good.
    let _busy = pool.submit(request("busy")).unwrap();
    let inner = pool.submit(nested(&job, "inner")).unwrap();
    pool.expect_workers(1);
    second.die();
    pool.leave(&second.info().id);
    assert_eq!(kind(inner.await), ErrorKind::NestedDeadlock);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_several_is_seen_when_the_others_are_done() {
    let ([a, b], [at_a, at_b], jobs) = two_pools();
    let _outer = a.submit(request("outer")).unwrap();
    at_a.call_tool(1, 1, "lookup");
    let job = jobs.take();
    // The tool has made two calls: one of them runs, so it may not wait for the other.
    let runs = b.submit(nested(&job, "runs")).unwrap();
    let mut waits = a.submit(nested(&job, "waits")).unwrap();
    settle().await;
    assert!(tokio::time::timeout(Duration::ZERO, &mut waits).await.is_err());
    at_b.finish(1);
    runs.await.unwrap();
    assert_eq!(kind(waits.await), ErrorKind::NestedDeadlock);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_moves_away_from_a_crash_leaves_its_tool_calls_behind() {
    let jobs = Arc::new(Jobs::default());
    let pool = pool(|options| {
        options.tool_host = Some(jobs.clone());
        options.barrier = Some(60_000 * MS);
    });
    let workers = ["p.0.0", "p.1.0"].map(|id| FakeWorker::new(id, 1));
    workers.iter().for_each(|worker| pool.join(worker.clone()));
    let [first, second] = &workers;
    let call = pool.submit(Request { idempotent: true, ..request("a") }).unwrap();
    first.call_tool(1, 1, "lookup");
    let mut old = jobs.take();
    first.crash("SIGSEGV");
    old.reply.given_up().await;
    assert_eq!((second.holds(), pool.stats().in_tools), (vec![1], 0));
    // Another process, which counts from the same number on.
    second.call_tool(1, 1, "lookup");
    let new = jobs.take();
    end(old);
    assert_eq!(second.take_tool_answers(), [], "it is not what this one asked for");
    assert_eq!(pool.stats().in_tools, 1);
    end(new);
    assert_eq!(second.take_tool_answers(), [(1, None)]);
    second.finish(1);
    call.await.unwrap();
}
