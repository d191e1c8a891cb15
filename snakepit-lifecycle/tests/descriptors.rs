//! Alone in its process, because it counts the process's descriptors.

use std::fs;
use std::os::unix::net::UnixStream;

use snakepit_lifecycle::process::{ChildSpec, Reaper, Spawner, raise_descriptor_limit};
use tokio::runtime::Handle;

#[tokio::test]
async fn children_leave_no_descriptor_behind_and_get_the_old_limit() {
    let count = || fs::read_dir("/proc/self/fd").unwrap().count();
    let spawner = Spawner::get().unwrap();
    let reaper = Reaper::new(Handle::current());
    let program = |worker: &str| ChildSpec::new("pool".into(), worker.into(), "/bin/sh");
    let mut before = 0;
    for round in 0..50 {
        let (host, theirs) = UnixStream::pair().unwrap();
        let spec = program("pool.0.0").args(["-c", "exit 0"]).descriptor(theirs.into(), 3);
        spawner.spawn(spec, &reaper).await.unwrap().exited().await;
        if spawner.spawn(program("none").cwd("/nowhere"), &reaper).await.is_ok() {
            panic!("started in a directory that does not exist");
        }
        drop(host);
        if round == 0 {
            // A search for strays holds descriptors of its own.
            reaper.idle().await;
            before = count();
        }
    }
    reaper.idle().await;
    assert_eq!(count(), before);

    let limit = |spec: ChildSpec| async {
        let spec = spec.args(["-c", "ulimit -Sn >&2"]);
        let child = Spawner::get().unwrap().spawn(spec, &reaper).await.unwrap();
        child.exited().await.stderr[0].clone()
    };
    let original = limit(program("pool.1.0")).await;
    raise_descriptor_limit().unwrap();
    raise_descriptor_limit().unwrap();
    assert_eq!(limit(program("pool.2.0")).await, original);
}
