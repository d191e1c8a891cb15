//! What a child leaves behind outside its group.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use snakepit_lifecycle::process::{Child, ChildSpec, Reaper, Spawner};
use tokio::runtime::Handle;

/// Time that is far more than any of these takes and still an end.
const LONG: Duration = Duration::from_secs(30);

/// Leaves the group, twice removed, and says so; holds the socket for as long as it lives.
const STRAY: &str = "setsid sh -c 'sleep 1000 & echo ready >&3; wait' & wait";

/// The same without the mark.
const UNMARKED: &str = "env -u SNAKEPIT_WORKER setsid sh -c 'echo ready >&3; read x <&3' & wait";

struct Family {
    child: Child,
    stray: UnixStream,
}

impl Family {
    /// Starts a child and waits until its grandchild has left the group.
    async fn start(script: &str, reaper: &Reaper) -> Self {
        let (stray, theirs) = UnixStream::pair().unwrap();
        let spec = ChildSpec::new("pool".into(), "pool.0.0".into(), "/bin/sh").args(["-c", script]);
        let spec = spec.descriptor(theirs.into(), 3);
        let child = Spawner::get().unwrap().spawn(spec, reaper).await.unwrap();
        let family = Self { child, stray };
        assert_eq!(family.read(6).await, b"ready\n");
        family
    }

    /// Reads so many bytes from the stray; fewer if it has ended.
    async fn read(&self, bytes: u64) -> Vec<u8> {
        let stray = self.stray.try_clone().unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            stray.take(bytes).read_to_end(&mut read).unwrap();
            read
        });
        tokio::time::timeout(LONG, read).await.unwrap().unwrap()
    }

    fn lives(&self) -> bool {
        self.stray.set_nonblocking(true).unwrap();
        let read = (&self.stray).read(&mut [0]);
        self.stray.set_nonblocking(false).unwrap();
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

#[tokio::test]
async fn a_grandchild_that_left_the_group_ends_with_its_own_worker_only() {
    let reaper = Reaper::new(Handle::current());
    let gone = Family::start(STRAY, &reaper).await;
    let other = Family::start(STRAY, &reaper).await;
    gone.child.kill();
    assert_eq!(gone.read(1).await, b"");
    assert!(other.lives(), "it belongs to a worker that lives");
    other.child.kill();
    reaper.idle().await;
    assert!(!other.lives(), "idle came before its end");
}

#[tokio::test]
async fn a_process_that_took_its_mark_off_is_let_go() {
    let reaper = Reaper::new(Handle::current());
    let family = Family::start(UNMARKED, &reaper).await;
    family.child.kill();
    reaper.idle().await;
    assert!(family.lives());
}
