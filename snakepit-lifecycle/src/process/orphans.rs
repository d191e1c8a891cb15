//! Processes whose parent has ended, in a host that they come to.
//!
//! That is a host that is process 1 of its container, or that has asked for them. Owns whom it
//! collects: what is left of a child's group, and strays that carry a child's mark. Invariant: it
//! never waits for "any child", so what the host program itself has started keeps its exit status.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

/// Between two looks at a group whose last members are ending.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks at most: killed processes end within milliseconds, or wait for a disk that does not answer.
const LOOKS: u32 = 100;

/// Has processes that lost their parent come to this process instead of the system's first, as
/// long as they descend from it (prctl(2), PR_SET_CHILD_SUBREAPER). So no process that a worker has
/// started leaves the host's tree. A host that is process 1 of its container has this without
/// asking.
///
/// Those that descend from a worker are collected when they end. Orphans of other children of the
/// program come to it too, and are its own to collect, as are those that others bring into a
/// container (`docker exec`; `docker run --init` sees to them).
///
/// # Errors
/// Whatever the system says.
pub fn adopt_orphans() -> io::Result<()> {
    // Any number but zero switches it on.
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Whether orphans come to this process.
pub(super) fn are_adopted() -> bool {
    rustix::process::getpid() == Pid::INIT
        || matches!(rustix::process::child_subreaper(), Ok(Some(_)))
}

/// Collects what is left of a group that was killed and whose leader was reaped.
///
/// The leader's number stays taken for as long as the group has members, and the system gives
/// numbers out in turn: for the group to be another one by now, all others would have to have been
/// given out since the last look.
pub(super) async fn collect_group(leader: Pid) {
    for _ in 0..LOOKS {
        let left = collect_ended(WaitId::Pgid(Some(leader)));
        // Members that are no children yet lose their parent when that has ended.
        if !left && rustix::process::test_kill_process_group(leader).is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Collects a stray that has ended, if it has come to this process.
pub(super) fn collect(stray: impl AsFd) {
    collect_ended(WaitId::PidFd(stray.as_fd()));
}

/// Whether such children are left that have not ended.
fn collect_ended(whom: WaitId<'_>) -> bool {
    loop {
        match rustix::process::waitid(whom.clone(), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) if matches!(whom, WaitId::PidFd(_)) => return false,
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return true,
            // There is none.
            Err(_) => return false,
        }
    }
}
