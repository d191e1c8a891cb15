//! What a host holds does not grow with the workers it has had.

use std::fs;

use crate::support::{stop, wait};
use crate::{alone, full_size, start};

/// May come and go: threads of the runtime that wait for blocking work.
const THREADS: usize = 2;

/// May come and go: those of a zygote that is ending, and of a search for strays. A leak of one for
/// each zygote alone would be more in the smallest run.
const DESCRIPTORS: usize = 8;

/// Allocators keep some; a leak of a frame's buffer for each worker would be several times as much.
const KIBIBYTES: u64 = 8 << 10;

#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    kibibytes: u64,
    zombies: usize,
}

fn held() -> Held {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    Held {
        descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        threads: fs::read_dir("/proc/self/task").unwrap().count(),
        kibibytes: line.split_whitespace().nth(1).unwrap().parse().unwrap(),
        zombies: zombies(),
    }
}

fn zombies() -> usize {
    let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        // The name may hold anything; what follows its last bracket are plain fields.
        let fields = stat.rsplit_once(") ")?.1.to_owned();
        let mut fields = fields.split(' ');
        Some((fields.next()? == "Z", fields.next()?.parse::<u32>().ok()?))
    });
    children.filter(|(zombie, parent)| *zombie && *parent == std::process::id()).count()
}

#[test]
fn a_host_holds_no_more_after_many_recycles() {
    let _alone = alone();
    let recycles = if full_size() { 500 } else { 25 };
    let snakepit = start(|pool| pool.workers(2));
    let recycle = || wait(snakepit.recycle("default", None)).unwrap();
    (0..3).for_each(|_| recycle());
    let before = held();
    (0..recycles / 2).for_each(|_| recycle());
    let after = held();
    let text = format!("before {before:?}, after {after:?}");
    assert!(after.descriptors <= before.descriptors + DESCRIPTORS, "{text}");
    // One that has just been replaced may not have been collected yet.
    assert!(after.zombies <= 1, "{text}");
    assert!(after.threads <= before.threads + THREADS, "{text}");
    assert!(after.kibibytes <= before.kibibytes + KIBIBYTES, "{text}");
    stop(snakepit);
}
