//! A host that runs out of descriptors says which limit it has met.

mod support;

use std::process::Command;

use snakepit_core::Profile;
use support::host::{host_as, run};
use support::{profile, rough, seat};

const LIMIT: &str = "48";

#[test]
fn a_low_limit_on_descriptors_is_named_with_its_value() {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", LIMIT]);
    shell.arg(std::env::current_exe().unwrap());
    let said = run(host_as(shell, "host_with_a_low_limit"));
    let error = said.lines().find(|line| line.contains("error: ")).expect(&said);
    for part in ["RLIMIT_NOFILE of this process is 48, at most 48", "ulimit -n"] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    assert!(said.contains("all gone"), "the worker that nobody could watch is still there: {said}");
}

/// No test: the host that the test above starts with a limit.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn host_with_a_low_limit() {
    let profile = profile(rough());
    let mut workers = Vec::new();
    for index in 0..32 {
        match profile.start(seat(index)).await {
            Ok(worker) => workers.push(worker),
            Err(error) => {
                println!("error: {error}; {}", error.help().unwrap_or_default());
                break;
            }
        }
    }
    assert!(!workers.is_empty(), "not even one");
    drop(workers);
    profile.all_gone().await;
    println!("all gone");
}
