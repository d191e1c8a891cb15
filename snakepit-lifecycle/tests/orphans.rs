//! A host to which orphans come collects those of its workers, and nobody else's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use snakepit_lifecycle::process::{ChildSpec, Reaper, Spawner, adopt_orphans};
use tokio::runtime::Handle;

/// Two in the group and two that left it, each with a parent that ends before them.
const FAMILY: &str = "(sleep 1000 & sleep 1000 & wait) & \
     setsid sh -c 'sleep 1000 & sleep 1000 & echo >&3; wait' & read x <&3; exit 7";

/// The children of this process, ended or not.
fn children() -> Vec<u32> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let numbers = processes.filter_map(|name| name.to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which is in brackets: the state, and the parent.
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        rest.split_whitespace().nth(1) == Some(&own)
    };
    numbers.filter(is_child).collect()
}

#[test]
fn orphans_of_workers_are_collected_and_the_programs_own_children_are_not() {
    let host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_that_adopts", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(host.status.success(), "{}", String::from_utf8_lossy(&host.stdout));
}

/// No test: what the test above runs, in a process of its own, whose children it can count. Run by
/// hand as process 1: `unshare -rpf --mount-proc TEST --exact host_that_adopts --ignored`.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn host_that_adopts() {
    if std::process::id() != 1 {
        adopt_orphans().unwrap();
    }
    // One in the host's group and one in a group of its own, both long ended and not waited for.
    let mut own = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
    let mut apart = Command::new("sh").args(["-c", "exit 4"]).process_group(0).spawn().unwrap();

    let reaper = Reaper::new(Handle::current());
    for _ in 0..5 {
        let (mut told, theirs) = UnixStream::pair().unwrap();
        let spec = ChildSpec::new("pool".into(), "pool.0.0".into(), "/bin/sh");
        let spec = spec.args(["-c", FAMILY]).descriptor(theirs.into(), 3);
        let child = Spawner::get().unwrap().spawn(spec, &reaper).await.unwrap();
        let waiting = tokio::task::spawn_blocking(move || {
            told.read_exact(&mut [0]).unwrap();
            told
        });
        let told = waiting.await.unwrap();
        child.kill();
        child.exited().await;
        drop(told);
    }
    reaper.idle().await;
    let left = children();
    assert!(left.len() == 2 && left.contains(&own.id()) && left.contains(&apart.id()), "{left:?}");
    assert_eq!(own.wait().unwrap().code(), Some(3));
    assert_eq!(apart.wait().unwrap().code(), Some(4));
}
