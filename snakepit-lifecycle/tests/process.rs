//! Real children: how they start, write, end and are collected.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use snakepit_core::{Error, ErrorKind};
use snakepit_lifecycle::process::{Child, ChildSpec, ExitStatus, Reaper, Spawner};
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Time that is far more than any of these takes and still an end.
const LONG: Duration = Duration::from_secs(30);

fn spec(program: &str) -> ChildSpec {
    ChildSpec::new("pool".into(), "pool.0.0".into(), program)
}

fn shell(script: &str) -> ChildSpec {
    spec("/bin/sh").args(["-c", script])
}

async fn spawn(spec: ChildSpec) -> Result<Child, Error> {
    Spawner::get().unwrap().spawn(spec, &Reaper::new(Handle::current())).await
}

/// Waits for a line on a socket that the child holds: its sign that it has come so far.
async fn said(socket: &UnixStream, expected: &str) {
    let mut socket = socket.try_clone().unwrap();
    let expected = expected.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut received = vec![0; expected.len()];
        socket.read_exact(&mut received).unwrap();
        assert_eq!(String::from_utf8_lossy(&received), expected);
    });
    tokio::time::timeout(LONG, read).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_exit_code_and_the_last_lines_of_stderr_are_reported() {
    let script = "i=0; while [ $i -lt 60 ]; do echo line $i >&2; i=$((i+1)); done; exit 7";
    let child = spawn(shell(script)).await.unwrap();
    let report = child.exited().await;
    assert_eq!(report.status, ExitStatus::Code(7));
    assert_eq!(report.stderr.len(), 40);
    assert_eq!(report.stderr.last().unwrap(), "line 59");
    assert_eq!(report.status.to_string(), "exited with code 7");
}

#[tokio::test]
async fn a_killed_child_is_reported_with_its_signal_and_leaves_no_zombie() {
    let child = spawn(shell("sleep 100")).await.unwrap();
    child.kill();
    assert_eq!(child.exited().await.status, ExitStatus::Signal(9));
    assert!(!Path::new(&format!("/proc/{}", child.pid())).exists(), "a zombie is left");
    // The number may belong to somebody else now: these must do nothing.
    child.kill();
    child.ask_to_end();
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_killed_after_the_grace() {
    let (host, theirs) = UnixStream::pair().unwrap();
    let script = "trap '' TERM; echo ready >&3; while :; do sleep 1; done";
    let child = spawn(shell(script).descriptor(theirs.into(), 3)).await.unwrap();
    said(&host, "ready\n").await;
    let before = Instant::now();
    let report = child.terminate(Duration::from_millis(200)).await;
    assert_eq!(report.status, ExitStatus::Signal(9));
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_child_that_obeys_sigterm_is_given_its_time() {
    let (host, theirs) = UnixStream::pair().unwrap();
    let script = "trap 'exit 5' TERM; echo ready >&3; while :; do sleep 0.01; done";
    let child = spawn(shell(script).descriptor(theirs.into(), 3)).await.unwrap();
    said(&host, "ready\n").await;
    assert_eq!(child.terminate(LONG).await.status, ExitStatus::Code(5));
}

#[tokio::test]
async fn grandchildren_go_with_their_parent() {
    let (host, theirs) = UnixStream::pair().unwrap();
    let child =
        spawn(shell("sleep 1000 & echo ready >&3; exit 0").descriptor(theirs.into(), 3)).await;
    let child = child.unwrap();
    said(&host, "ready\n").await;
    assert_eq!(child.exited().await.status, ExitStatus::Code(0));
    // The sleeping grandchild holds the other end: its death ends the stream.
    let mut host = host;
    let end = tokio::task::spawn_blocking(move || host.read(&mut [0]).unwrap());
    assert_eq!(tokio::time::timeout(LONG, end).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn dropping_a_child_kills_its_group() {
    let (mut host, theirs) = UnixStream::pair().unwrap();
    let child = spawn(shell("sleep 1000").descriptor(theirs.into(), 3)).await.unwrap();
    let exited = child.exited();
    drop(child);
    assert_eq!(exited.await.status, ExitStatus::Signal(9));
    assert_eq!(host.read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn descriptors_arrive_at_their_numbers_even_when_these_cross() {
    // Sources that are likely to have each other's target numbers: the lowest there are.
    let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
    let mut spec = shell("echo a >&5; echo b >&3; echo c >&4");
    let mut ends = Vec::new();
    for ((host, theirs), number) in pairs.into_iter().zip([5, 3, 4]) {
        spec = spec.descriptor(theirs.into(), number);
        ends.push(host);
    }
    let child = spawn(spec).await.unwrap();
    let report = child.exited().await;
    assert_eq!(report.status, ExitStatus::Code(0), "{:?}", report.stderr);
    for (mut host, text) in ends.into_iter().zip(["a\n", "b\n", "c\n"]) {
        let mut received = String::new();
        host.read_to_string(&mut received).unwrap();
        assert_eq!(received, text);
    }
}

#[tokio::test]
async fn a_child_gets_no_descriptor_it_was_not_given() {
    // One that the host opened without close-on-exec, as C libraries do.
    let leaky: OwnedFd = fs::File::open("/dev/null").unwrap().into();
    rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).unwrap();
    let (mut host, theirs) = UnixStream::pair().unwrap();
    // The fifth is the directory that `ls` reads.
    let list = "exec ls /proc/self/fd >&3";
    let child = spawn(shell(list).descriptor(theirs.into(), 3)).await.unwrap();
    child.exited().await;
    let mut listed = String::new();
    host.read_to_string(&mut listed).unwrap();
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn environment_directory_and_input_are_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let script = "[ \"$ADDED\" = yes ] && [ -z \"$HOME\" ] && [ -z \"$(cat)\" ] && pwd >&2";
    let spec = shell(script).env("ADDED", "yes").env_remove("HOME").cwd(directory.path());
    let report = spawn(spec).await.unwrap().exited().await;
    assert_eq!(report.status, ExitStatus::Code(0));
    let expected = directory.path().canonicalize().unwrap();
    assert_eq!(Path::new(&report.stderr[0]).canonicalize().unwrap(), expected);
}

#[tokio::test]
async fn a_flood_on_stdout_does_not_block_the_child() {
    // 64 MiB without a newline and then many short lines, far over what a pipe holds.
    let script = "head -c 67108864 /dev/zero; yes | head -n 200000; echo done >&2; exit 3";
    let child = spawn(shell(script)).await.unwrap();
    let report = tokio::time::timeout(LONG, child.exited()).await.unwrap();
    assert_eq!(report.status, ExitStatus::Code(3));
    assert_eq!(*report.stderr, ["done"]);
}

#[tokio::test]
async fn a_grandchild_that_left_the_group_does_not_hold_up_the_report() {
    let (orphan, orphans) = UnixStream::pair().unwrap();
    let (parent, parents) = UnixStream::pair().unwrap();
    // It inherits stdout and stderr and keeps them open until its own socket ends.
    let script = "setsid sh -c 'echo ready >&3; read line <&3' & read line <&4; exit 0";
    let spec = shell(script).descriptor(orphans.into(), 3).descriptor(parents.into(), 4);
    let child = spawn(spec).await.unwrap();
    said(&orphan, "ready\n").await;
    (&parent).write_all(b"go\n").unwrap();
    let report = tokio::time::timeout(LONG, child.exited()).await.unwrap();
    assert_eq!(report.status, ExitStatus::Code(0));
}

#[tokio::test]
async fn a_missing_program_or_directory_is_named() {
    let error = spawn(spec("/nowhere/python3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InterpreterNotFound);
    assert!(error.message().contains("/nowhere/python3"), "{error}");
    let error = spawn(shell("true").cwd("/nowhere")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("/nowhere"), "{error}");
    let error = spawn(spec("/etc/passwd")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InterpreterNotFound);
}

#[tokio::test]
async fn giving_up_on_a_spawn_ends_the_child() {
    let (mut host, theirs) = UnixStream::pair().unwrap();
    let spawner = Spawner::get().unwrap();
    let reaper = Reaper::new(Handle::current());
    let mut spawning =
        Box::pin(spawner.spawn(shell("sleep 1000").descriptor(theirs.into(), 3), &reaper));
    // One poll sends the request; whether the answer is there already makes no difference.
    let poll = |cx: &mut std::task::Context<'_>| {
        let _ = spawning.as_mut().poll(cx);
        std::task::Poll::Ready(())
    };
    std::future::poll_fn(poll).await;
    drop(spawning);
    let end = tokio::task::spawn_blocking(move || host.read(&mut [0]).unwrap());
    assert_eq!(tokio::time::timeout(LONG, end).await.unwrap().unwrap(), 0);
}

#[test]
fn a_runtime_that_ends_leaves_no_zombie() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let child = runtime.block_on(async { spawn(shell("sleep 100")).await.unwrap() });
    let process = format!("/proc/{}", child.pid());
    assert!(Path::new(&process).exists());
    drop(child);
    drop(runtime);
    assert!(!Path::new(&process).exists(), "a zombie is left");
}
