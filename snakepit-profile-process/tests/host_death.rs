//! Nothing outlives a host that is killed, whatever its worker is doing at that moment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use snakepit_core::Profile;
use snakepit_profile_process::ProcessOptions;
use support::host::{host, nobody_holds};
use support::{Sign, adapter, call, profile, python, seat, start};

/// The claim.
const NOTHING_LEFT: Duration = Duration::from_secs(2);

/// A process that hosts one worker, and where that worker is to be when its host is killed.
struct Host {
    process: Child,
    sign: Sign,
    /// The worker has a child before it stays where it is.
    has_child: bool,
}

impl Host {
    fn start(phase: &str) -> Self {
        let sign = Sign::new();
        let process = host("host_that_is_killed")
            .env("PHASE", phase)
            .env("SIGN", sign.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, sign, has_child: phase != "early" }
    }

    /// Kills it when its worker is there, and waits until that is gone with all it has started.
    async fn die(mut self, then: impl FnOnce(&mut Child)) {
        // The worker and its child hold the other end for as long as they live.
        let mut held = self.sign.opened().await;
        if self.has_child {
            held.read_exact(&mut [0]).unwrap();
        }
        then(&mut self.process);
        let killed = Instant::now();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        nobody_holds(held).await;
        let took = killed.elapsed();
        assert!(took < NOTHING_LEFT, "{took:?}");
    }
}

#[tokio::test]
async fn before_the_worker_has_run_a_line_of_its_own() {
    Host::start("early").die(|_| ()).await;
}

#[tokio::test]
async fn while_the_adapter_is_imported() {
    Host::start("import").die(|_| ()).await;
}

#[tokio::test]
async fn while_the_adapter_is_set_up() {
    Host::start("setup").die(|_| ()).await;
}

#[tokio::test]
async fn in_a_call() {
    Host::start("call").die(|_| ()).await;
}

#[tokio::test]
async fn while_it_drains() {
    Host::start("drain")
        .die(|host| {
            host.stdin.take().unwrap().write_all(b"drain\n").unwrap();
            let said = BufReader::new(host.stdout.as_mut().unwrap());
            let draining = said.lines().any(|line| line.unwrap().contains("draining"));
            assert!(draining);
        })
        .await;
}

/// No test: the host that the tests above kill.
#[tokio::test]
#[ignore = "run by other tests, in a process of its own"]
async fn host_that_is_killed() {
    let phase = std::env::var("PHASE").unwrap();
    let mut options = ProcessOptions::new(python(), adapter("family.py"));
    if phase == "early" {
        options.worker.env.push(("PYTHONPATH".to_owned(), adapter("early")));
    }
    let profile = profile(options);
    let worker = profile.start(seat(0)).await.unwrap();
    let staying = call(&worker, "stay", json!({}));
    if phase == "drain" {
        let asked = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        asked.await.unwrap().unwrap();
        let stopping = worker.stop(Duration::from_secs(1000));
        println!("draining");
        stopping.await;
    }
    staying.error().await;
}

#[tokio::test]
async fn the_end_of_the_thread_that_asked_for_a_worker_is_not_the_hosts() {
    let profile = profile(ProcessOptions::new(python(), adapter("rough.py:Rough")));
    let (sent, received) = tokio::sync::oneshot::channel();
    let asking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = sent.send(runtime.block_on(profile.start(seat(0))).unwrap());
    });
    let worker = received.await.unwrap();
    let thread = tokio::task::spawn_blocking(move || asking.join().unwrap());
    thread.await.unwrap();
    // The death signal would come at the thread's end: by now it has.
    let greeting: String = call(&worker, "greet", json!({})).value().await;
    assert_eq!(greeting, "hello");
}

#[tokio::test]
async fn a_group_goes_with_a_worker_that_crashes() {
    let sign = Sign::new();
    let mut options = ProcessOptions::new(python(), adapter("family.py"));
    options.worker.env.push(("PHASE".to_owned(), "call".to_owned()));
    options.worker.env.push(("SIGN".to_owned(), sign.path().to_str().unwrap().to_owned()));
    let worker = start(options).await.unwrap();
    let staying = call(&worker, "stay", json!({}));
    let mut held = sign.opened().await;
    held.read_exact(&mut [0]).unwrap();
    let pid = worker.info().pid.unwrap();
    support::kill(pid, "-SEGV");
    staying.error().await;
    nobody_holds(held).await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "not reaped");
}
