//! A host to which orphans come takes over what its zygote leaves: it can say how those workers
//! ended, and none of them stays a zombie.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::sync::Arc;

use serde_json::json;
use snakepit_core::{Profile, Worker, WorkerExit};
use snakepit_lifecycle::process::adopt_orphans;
use support::host::{host, run};
use support::{LONG, call, kill, parent, profile, seat, template};
use tokio::time::timeout;

#[test]
fn how_workers_of_a_killed_zygote_end_is_known_to_a_host_that_adopts_them() {
    run(host("host_that_adopts"));
}

/// No test: what the test above runs, in a process of its own, whose children it can count.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn host_that_adopts() {
    adopt_orphans().unwrap();
    let profile = profile(template());
    let mut workers = Vec::new();
    for index in 0..4 {
        workers.push(timeout(LONG, profile.start(seat(index))).await.unwrap().unwrap());
    }
    let zygote = parent(&workers[0]).await;
    // Its zygote does not collect this one any more, and takes it along as a zombie.
    kill(zygote, "-STOP");
    let early = workers.pop().unwrap();
    kill(early.info().pid.unwrap(), "-KILL");
    kill(zygote, "-KILL");
    assert!(how_it_died(&early).await.contains("signal 9 (SIGKILL)"));

    for worker in &workers {
        assert_eq!(parent(worker).await, std::process::id(), "it has come to the host");
    }
    let error = call(&workers[0], "leave", json!({"code": 3})).error().await;
    assert!(error.message().contains("exited with code 3"), "{error}");
    kill(workers[1].info().pid.unwrap(), "-KILL");
    assert!(how_it_died(&workers[1]).await.contains("signal 9 (SIGKILL)"));
    let exit = timeout(LONG, workers[2].stop(LONG)).await.unwrap();
    assert!(matches!(exit, WorkerExit::Stopped), "{exit:?}");

    drop((early, workers));
    timeout(LONG, profile.all_gone()).await.unwrap();
    assert_eq!(children(), Vec::<String>::new(), "left, or left as zombies");
}

async fn how_it_died(worker: &Arc<dyn Worker>) -> String {
    match timeout(LONG, worker.exited()).await.unwrap() {
        WorkerExit::Died(how) => how,
        exit => panic!("{exit:?}"),
    }
}

/// The children of this process, ended or not.
fn children() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let of_each = threads.map(|thread| thread.unwrap().path().join("children"));
    let children = of_each.flat_map(|file| {
        let line = fs::read_to_string(file).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    });
    children.collect()
}
