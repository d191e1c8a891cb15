//! A host that may have no more processes says which limit it has met.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit};
use snakepit_core::{ErrorKind, Profile};
use snakepit_profile_process::StartMethod;
use support::host::{host_as, run};
use support::{LONG, parent, profile, seat, template};
use tokio::time::timeout;

/// Where nobody is: the limit counts all processes of a user.
const FIRST_USER: u32 = 100_000;

#[test]
fn a_refused_fork_names_the_limit_on_processes_and_a_later_one_is_tried_again() {
    let program = std::env::current_exe().unwrap();
    let command = if rustix::process::getuid().is_root() {
        // For root there is no such limit, nor for who may override it; the files of this tree may
        // be root's alone.
        let user = FIRST_USER + std::process::id();
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}")]);
        command.args(["--clear-groups", "--bounding-set=-all,+dac_override"]);
        command.args(["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    run(host_as(command, "host_that_may_have_no_more_processes"));
}

/// No test: the host that the test above starts as somebody else.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn host_that_may_have_no_more_processes() {
    for start in [StartMethod::Spawn, StartMethod::Zygote] {
        let mut options = template();
        options.start = start;
        let profile = profile(options);
        let begin = |index| timeout(LONG, profile.start(seat(index)));
        let first = begin(0).await.unwrap().unwrap();
        // The host's own is what the error tells.
        let mut forking = vec![None];
        if start == StartMethod::Zygote {
            forking.push(Pid::from_raw(parent(&first).await as i32));
        }
        let before: Vec<_> = forking.into_iter().map(|pid| (pid, limit(pid, Some(1)))).collect();
        let error = begin(1).await.unwrap().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::System, "{start:?}: {error}");
        assert!(error.message().contains("RLIMIT_NPROC of this user is 1,"), "{start:?}: {error}");
        assert!(error.help().unwrap().contains("ulimit -u"), "{start:?}: {error:?}");

        for (pid, before) in before {
            limit(pid, before.current);
        }
        let second = begin(2).await.unwrap().unwrap();
        assert_eq!(second.info().metadata["start"], start.name());
        drop((first, second));
        timeout(LONG, profile.all_gone()).await.unwrap();
    }
}

/// Changes how many processes one process's user may have for it to get another; gives the limit
/// before.
fn limit(pid: Option<Pid>, processes: Option<u64>) -> Rlimit {
    let hard = rustix::process::getrlimit(Resource::Nproc).maximum;
    let limit = Rlimit { current: processes, maximum: hard };
    rustix::process::prlimit(pid, Resource::Nproc, limit).unwrap()
}
