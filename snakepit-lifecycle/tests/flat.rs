//! Alone in its process, because it counts what the process has.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use snakepit_lifecycle::process::{ChildSpec, Reaper, Spawner};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

const CHILDREN: usize = 500;

/// At the same time.
const WORKERS: usize = 4;

/// The host's open descriptors, threads, and children, zombies among them.
fn counts() -> (usize, usize, usize) {
    let own = format!(" {} ", std::process::id());
    let entries = |directory: &str| fs::read_dir(directory).unwrap().count();
    // The parent is the second field after the name, which is in brackets.
    let is_child = |stat: String| {
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.get(2..).unwrap().starts_with(&own))
    };
    let processes = fs::read_dir("/proc").unwrap().map(Result::unwrap);
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let children = stats.filter(|stat| is_child(stat.clone())).count();
    (entries("/proc/self/fd"), entries("/proc/self/task"), children)
}

/// Starts a child with a grandchild, has it write and end, `times` over.
async fn replace(reaper: Reaper, times: usize) {
    for n in 0..times {
        let spec = ChildSpec::new("pool".into(), "pool.0.0".into(), "/bin/sh");
        let script = "sleep 1000 & echo out; echo err >&2; exit 3";
        let spec = spec.args(["-c", script]);
        let child = Spawner::get().unwrap().spawn(spec, &reaper).await.unwrap();
        match n % 2 {
            0 => child.exited().await,
            _ => child.terminate(std::time::Duration::from_secs(30)).await,
        };
    }
}

#[tokio::test]
async fn hundreds_of_replaced_children_leave_the_host_as_it_was() {
    let reaper = Reaper::new(Handle::current());
    replace(reaper.clone(), 2).await;
    reaper.idle().await;
    let before = counts();
    let zombie = std::process::Command::new("true").spawn().unwrap();
    assert_eq!(counts().2, before.2 + 1, "a child counts");
    zombie.wait_with_output().unwrap();
    let mut replacing = JoinSet::new();
    for _ in 0..WORKERS {
        replacing.spawn(replace(reaper.clone(), CHILDREN / WORKERS));
    }
    while let Some(done) = replacing.join_next().await {
        done.unwrap();
    }
    reaper.idle().await;
    let after = counts();
    assert_eq!((after.0, after.2), (before.0, before.2), "descriptors and children");
    // The thread of the runtime that waits for blocking work may have been at rest before.
    assert!(after.1 <= before.1 + 1, "threads: {} before, {} now", before.1, after.1);
}
