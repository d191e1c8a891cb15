//! Pools that come and go by name while others serve.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::{Value as Json, json};
use snakepit::config::{PoolBuilder, Profile};
use snakepit::{Call, Error, ErrorKind, Phase, PoolConfig, PoolReport, Snakepit};

use crate::support::{PATIENCE, adapter, builder, free_threaded, python, start, stop, until, wait};

fn settings(name: &str) -> PoolBuilder {
    PoolConfig::builder("").adapter(adapter(name)).python(python()).workers(1).prefetch(0)
}

type Running = Pin<Box<dyn Future<Output = Result<Json, Error>>>>;

/// Submits a call, and gives back where its result will be.
fn submitted(call: Call) -> Running {
    let mut running: Running = Box::pin(call.execute::<Json>());
    assert!(poll(&mut running).is_pending());
    running
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A call that ends when there is a file `go`, and leaves a file `here` when it has begun.
fn waits(snakepit: &Snakepit, pool: &str, place: &Path) -> Running {
    let args = json!({"path": place, "own": "here", "other": "go"});
    let running = submitted(snakepit.call("rendezvous").args(args).pool(pool));
    until("the call runs", || place.join("here").exists());
    running
}

fn pids(snakepit: &Snakepit, pool: &str) -> Vec<u32> {
    let report = snakepit.stats().pools.into_iter().find(|report| report.pool() == pool).unwrap();
    let PoolReport::Running { workers, .. } = report else { panic!("{report:?}") };
    workers.iter().map(|worker| worker.info.pid.unwrap()).collect()
}

#[test]
fn a_pool_comes_and_goes_and_the_others_serve() {
    let snakepit = start("plain.py");
    let before = pids(&snakepit, "default");
    let over = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut served = 0;
            while !over.load(Ordering::Relaxed) {
                let sum: i64 = wait(snakepit.execute("add", [served, 1])).unwrap();
                assert_eq!(sum, served + 1);
                served += 1;
            }
            served
        });
        let late = wait(snakepit.start_pool("late", settings("plain.py"))).unwrap();
        assert_eq!(wait(late.execute::<i64>("add", [5, 3])).unwrap(), 8);
        let by_name = snakepit.call("add").args([2, 2]).pool("late");
        assert_eq!(wait(by_name.execute::<i64>()).unwrap(), 4);
        assert_eq!(snakepit.pools(), ["default", "late"]);
        let PoolReport::Running { stats, .. } = late.stats() else { panic!("it runs") };
        assert_eq!((stats.pool.as_str(), stats.counters.completed), ("late", 2), "its own numbers");
        let [pid] = pids(&snakepit, "late")[..] else { panic!("one worker") };
        wait(snakepit.stop_pool("late", PATIENCE)).unwrap();
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "its worker outlives it");
        assert_eq!(snakepit.pools(), ["default"]);
        assert_eq!(snakepit.stats().pools.len(), 1);
        let refused = wait(late.execute::<i64>("add", [5, 3])).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PoolClosed, "a handle is its pool's");
        let refused = wait(snakepit.call("add").args([2, 2]).pool("late").execute::<i64>());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PoolNotFound);
        let unknown = wait(snakepit.stop_pool("late", PATIENCE)).unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::PoolNotFound);
        over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    assert!(served > 0 && pids(&snakepit, "default") == before);
    stop(snakepit);
}

#[test]
fn a_name_is_one_pools_and_no_workers_id_comes_twice() {
    let snakepit = start("plain.py");
    let refused = wait(snakepit.start_pool("default", settings("plain.py"))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PoolExists);
    assert_eq!((refused.kind().code(), &*refused.details()["pool"]), ("pool_exists", "default"));
    // Two at once: one has the name, the other is told so at once.
    let slow = settings("plain.py");
    let mut first = Box::pin(snakepit.start_pool("twice", slow.clone()));
    assert!(poll(&mut first).is_pending());
    let refused = wait(snakepit.start_pool("twice", slow.clone())).unwrap_err();
    assert!(refused.message().contains("is starting"), "{refused}");
    let twice = wait(first).unwrap();
    let mut ids = vec![twice.stats()];
    wait(twice.stop(PATIENCE)).unwrap();
    ids.push(wait(snakepit.start_pool("twice", slow.clone())).unwrap().stats());
    // One that was drained keeps its name only until somebody wants it.
    wait(snakepit.drain("twice", PATIENCE)).unwrap();
    assert_eq!(snakepit.pools(), ["default", "twice"]);
    ids.push(wait(snakepit.start_pool("twice", slow.clone())).unwrap().stats());
    let mut ids: Vec<String> = ids.into_iter().map(id_of).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    // A start that is given up leaves the name and no worker.
    let mut given_up = Box::pin(snakepit.start_pool("other", slow.clone()));
    assert!(poll(&mut given_up).is_pending());
    drop(given_up);
    until("the name is free", || wait(snakepit.start_pool("other", slow.clone())).is_ok());
    stop(snakepit);
}

fn id_of(report: PoolReport) -> String {
    let PoolReport::Running { workers, .. } = report else { panic!("{report:?}") };
    workers[0].info.id.to_string()
}

#[test]
fn a_pool_that_does_not_start_says_why_and_leaves_nothing() {
    let snakepit = start("plain.py");
    let error = wait(snakepit.start_pool("broken", settings("import_error.py"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    assert!(error.to_string().contains("no weights on this machine"), "{error}");
    let missing = settings("plain.py").adapter("/nowhere/adapter.py");
    let error = wait(snakepit.start_pool("broken", missing)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let wrong = settings("plain.py").workers(0).queue(0).adapter("");
    let error = wait(snakepit.start_pool("broken", wrong)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.details().len() >= 2, "every problem at once: {error:?}");
    let error = wait(snakepit.start_pool("no name", settings("plain.py"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert_eq!(snakepit.pools(), ["default"]);
    wait(snakepit.start_pool("broken", settings("plain.py"))).expect("the name is free");
    stop(snakepit);
}

#[test]
fn a_pool_of_the_settings_that_does_not_start_leaves_the_others_up() {
    let broken = PoolConfig::builder("broken").adapter(adapter("import_error.py")).python(python());
    let started = builder("plain.py").pool(broken.workers(1).build().unwrap()).start();
    let snakepit = wait(started).unwrap();
    assert_eq!(wait(snakepit.execute::<i64>("add", [1, 2])).unwrap(), 3);
    assert_eq!(snakepit.pools(), ["broken", "default"]);
    let error = wait(snakepit.call("add").args([1, 2]).pool("broken").execute::<i64>());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::AdapterFailed);
    let [PoolReport::Failed { pool, error }, PoolReport::Running { .. }] =
        &snakepit.stats().pools[..]
    else {
        panic!("one has failed")
    };
    assert_eq!((pool.as_str(), error.kind()), ("broken", ErrorKind::AdapterFailed));
    assert_eq!(snakepit.pool_config("broken").unwrap().workers(), 1);
    // Mended, it starts under its name.
    let mended = wait(snakepit.start_pool("broken", settings("plain.py"))).unwrap();
    assert_eq!(wait(mended.execute::<i64>("add", [1, 2])).unwrap(), 3);
    stop(snakepit);
}

#[test]
fn a_pool_that_is_stopped_serves_its_line_first() {
    let place = tempfile::tempdir().unwrap();
    let snakepit = start("plain.py");
    wait(snakepit.start_pool("p", settings("together.py"))).unwrap();
    let running = waits(&snakepit, "p", place.path());
    let args = json!({"path": place.path(), "own": "second", "other": "go"});
    let in_line = submitted(snakepit.call("rendezvous").args(args.clone()).pool("p"));
    let mut stopping = Box::pin(snakepit.stop_pool("p", PATIENCE));
    assert!(poll(&mut stopping).is_pending());
    let refused = wait(snakepit.call("rendezvous").args(args).pool("p").execute::<Json>());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PoolClosed, "it takes no more");
    let again = wait(snakepit.start_pool("p", settings("plain.py"))).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::PoolExists, "it still has its name");
    std::fs::write(place.path().join("go"), "").unwrap();
    wait(stopping).unwrap();
    assert_eq!(wait(running).unwrap(), wait(in_line).unwrap(), "both by the one worker");
    stop(snakepit);
}

#[test]
fn at_the_deadline_whoever_is_in_line_is_told() {
    let place = tempfile::tempdir().unwrap();
    let snakepit = start("plain.py");
    wait(snakepit.start_pool("p", settings("together.py"))).unwrap();
    let running = waits(&snakepit, "p", place.path());
    let in_line = submitted(snakepit.call("rendezvous").args(json!(["", "", ""])).pool("p"));
    let late = wait(snakepit.stop_pool("p", Duration::from_secs(1))).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout(Phase::Drain));
    assert_eq!(wait(in_line).unwrap_err().kind(), ErrorKind::PoolClosed);
    assert!(wait(running).is_err(), "a call that is cut off still ends");
    assert_eq!(snakepit.pools(), ["default"], "it is gone all the same");
    stop(snakepit);
}

#[test]
fn pools_with_different_ages_each_follow_their_own() {
    let aged = |name: &str, seconds| {
        let pool = PoolConfig::builder(name).adapter(adapter("plain.py")).python(python());
        pool.workers(1).ttl(Duration::from_secs(seconds)).jitter(0.0).build().unwrap()
    };
    let builder = Snakepit::builder().pool(aged("quick", 1)).pool(aged("slow", 3));
    let snakepit = wait(builder.pool(aged("never", 3600)).start()).unwrap();
    let never = pids(&snakepit, "never");
    let recycled = |pool: &str| {
        let reports = snakepit.stats().pools;
        let report = reports.into_iter().find(|report| report.pool() == pool).unwrap();
        let PoolReport::Running { recycles, .. } = report else { panic!("it runs") };
        recycles.ttl_expired
    };
    until("the slow one is old", || recycled("slow") == 1);
    assert!(recycled("quick") >= 2, "three lives of the quick one fit into one of the slow one");
    assert_eq!((recycled("never"), pids(&snakepit, "never")), (0, never));
    stop(snakepit);
}

#[test]
fn what_the_original_asks_of_pools_can_be_asked() {
    let threads = PoolConfig::builder("hpc").adapter(adapter("together.py")).profile("thread");
    let threads = threads.threads(2).workers(1).python(free_threaded()).build().unwrap();
    let snakepit = wait(builder("plain.py").pool(threads.clone()).start()).unwrap();
    let configs = snakepit.pool_configs();
    let names: Vec<_> = configs.iter().map(PoolConfig::name).collect();
    assert_eq!(names, ["default", "hpc"]);
    assert_eq!(snakepit.pool_config("hpc").unwrap(), threads);
    assert!(
        snakepit.thread_profile("hpc").unwrap() && !snakepit.thread_profile("default").unwrap()
    );
    assert_eq!(snakepit.profile("default").unwrap(), Profile::Process);
    let error = snakepit.pool_config("hcp").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PoolNotFound);
    assert!(error.help().unwrap().contains("did you mean `hpc`?"), "{error:?}");
    let hpc = snakepit.pool("hpc").unwrap();
    assert_eq!((hpc.name(), hpc.config()), ("hpc", threads));
    assert_eq!(hpc.tools()[0].name, "rendezvous");
    stop(snakepit);
}

#[test]
fn pools_that_have_ended_leave_no_process_behind() {
    let place = tempfile::tempdir().unwrap();
    let of_its_own = |name: &str| {
        let file = place.path().join(name);
        std::fs::copy(adapter(name), &file).unwrap();
        settings("plain.py").adapter(file.to_str().unwrap())
    };
    let processes = || naming(place.path().to_str().unwrap());
    let snakepit = snakepit::blocking::Snakepit::from(start("plain.py"));
    let pool = snakepit.start_pool("brief", of_its_own("plain.py")).unwrap();
    assert_eq!(pool.execute::<i64>("add", [1, 2]).unwrap(), 3);
    assert_eq!(processes(), 2, "a worker, and what it was forked from");
    pool.stop(PATIENCE).unwrap();
    assert_eq!(processes(), 0);
    let failed = snakepit.start_pool("failed", of_its_own("import_error.py"));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::AdapterFailed);
    until("nothing is left of what failed", || processes() == 0);
    snakepit.shutdown(PATIENCE).unwrap();
}

/// How many processes have this text on their command line.
fn naming(text: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap();
    let lines = processes.filter_map(|process| {
        // A process that ends meanwhile has none.
        std::fs::read(process.ok()?.path().join("cmdline")).ok()
    });
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}
