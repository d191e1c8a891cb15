//! The life of a zygote: made when it is needed, replaced when it is gone, and never in the way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use snakepit_core::{Error, ErrorKind, Phase, Profile, Worker, WorkerExit};
use snakepit_profile_process::{ProcessOptions, ProcessProfile};
use support::host::{host, nobody_holds};
use support::{LONG, Sign, adapter, call, kill, parent, profile, python, seat, template};
use tokio::time::{Instant, timeout};

async fn start(profile: &ProcessProfile, index: usize) -> Result<Arc<dyn Worker>, Error> {
    timeout(LONG, profile.start(seat(index))).await.unwrap()
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// A template adapter of which every process holds the pipe.
fn held_by(sign: &Sign) -> ProcessOptions {
    let mut options = template();
    options.worker.env.push(("HELD".to_owned(), sign.path().to_str().unwrap().to_owned()));
    options
}

#[tokio::test]
async fn workers_serve_on_without_their_zygote_and_the_next_one_has_another() {
    let profile = profile(template());
    let (first, second) = (start(&profile, 0).await.unwrap(), start(&profile, 1).await.unwrap());
    let zygote = parent(&first).await;
    kill(zygote, "-KILL");
    // The start below may come before its end is known, and must not be lost over it.
    let third = start(&profile, 2).await.unwrap();
    let next = parent(&third).await;
    assert_ne!(next, zygote);
    for worker in [&first, &second] {
        let new_parent = parent(worker).await;
        assert!(new_parent != zygote && new_parent != next, "{new_parent}");
    }

    // Nobody can say how they end any more, but that they do.
    kill(first.info().pid.unwrap(), "-KILL");
    let WorkerExit::Died(how) = timeout(LONG, first.exited()).await.unwrap() else {
        panic!("not dead")
    };
    assert!(how.contains("who could have said how did not"), "{how}");
    let exit = timeout(LONG, second.stop(LONG)).await.unwrap();
    assert!(matches!(exit, WorkerExit::Stopped), "{exit:?}");
    drop((first, second, third));
    timeout(LONG, profile.all_gone()).await.unwrap();
    assert!(!exists(next));
}

#[tokio::test]
async fn a_zygote_that_does_not_answer_is_replaced_and_holds_nobody_up() {
    let sign = Sign::new();
    let profile = profile(held_by(&sign));
    let (held, first) = tokio::join!(sign.opened(), start(&profile, 0));
    let first = first.unwrap();
    let zygote = parent(&first).await;
    kill(zygote, "-STOP");
    let second = start(&profile, 1).await.unwrap();
    assert_ne!(parent(&second).await, zygote);
    assert!(parent(&first).await > 0, "it serves on");
    drop((first, second));
    timeout(LONG, profile.all_gone()).await.unwrap();
    assert!(!exists(zygote));
    nobody_holds(held).await;
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_process() {
    let sign = Sign::new();
    let profile = profile(held_by(&sign));
    let (held, first) = tokio::join!(sign.opened(), start(&profile, 0));
    // From before anything was asked for to beyond the readiness.
    for step in 0..40 {
        let _ = timeout(Duration::from_micros(500 * step), profile.start(seat(1))).await;
    }
    drop(first);
    timeout(LONG, profile.all_gone()).await.unwrap();
    nobody_holds(held).await;
}

#[tokio::test]
async fn an_adapter_that_cannot_be_imported_is_imported_once_for_all_who_wait() {
    for (how, kind) in [("raise", ErrorKind::AdapterFailed), ("exit", ErrorKind::StartFailed)] {
        let directory = tempfile::tempdir().unwrap();
        let notes = directory.path().join("notes");
        let mut options = ProcessOptions::new(python(), adapter("counted.py"));
        options.worker.env = vec![
            ("NOTES".to_owned(), notes.to_str().unwrap().to_owned()),
            ("HOW".to_owned(), how.to_owned()),
        ];
        let profile = profile(options);
        let starting: Vec<_> = (0..8).map(|n| tokio::spawn(profile.start(seat(n)))).collect();
        for (index, starting) in starting.into_iter().enumerate() {
            let error = timeout(LONG, starting).await.unwrap().unwrap().err().unwrap();
            assert_eq!(error.kind(), kind, "{error:?}");
            assert_eq!(error.details()["worker"], format!("pool.{index}.0"));
            match error.python() {
                Some(exception) => assert_eq!(exception.message, "not today"),
                None => assert!(
                    error.message().contains("exited with code 9")
                        && error.message().contains("out of luck"),
                    "{error}"
                ),
            }
        }
        assert_eq!(std::fs::read_to_string(&notes).unwrap().lines().count(), 1);
        // Whoever comes later gets a try of its own: the file may be another one by then.
        assert_eq!(start(&profile, 0).await.err().unwrap().kind(), kind);
        assert_eq!(std::fs::read_to_string(&notes).unwrap().lines().count(), 2);
        timeout(LONG, profile.all_gone()).await.unwrap();
    }
}

#[tokio::test]
async fn an_import_that_does_not_end_runs_into_the_timeout_and_is_ended() {
    let mut options = ProcessOptions::new(python(), adapter("counted.py"));
    options.worker.env =
        vec![("NOTES".to_owned(), "/dev/null".to_owned()), ("HOW".to_owned(), "hang".to_owned())];
    options.worker.start_timeout = Duration::from_secs(1);
    let profile = profile(options);
    let error = start(&profile, 0).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Start));
    timeout(LONG, profile.all_gone()).await.unwrap();
}

#[tokio::test]
async fn a_renewed_pool_takes_the_adapter_as_it_is_and_its_old_zygote_goes_with_the_last_worker() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edition.py");
    let write = |edition: u32| {
        let text = format!(
            "import os, snakepit\n@snakepit.tool\ndef pids() -> dict[str, int]:\n    \
             return {{'parent': os.getppid(), 'edition': {edition}}}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    let edition = async |worker: &Arc<dyn Worker>| {
        call(worker, "pids", json!({})).value::<Json>().await["edition"].clone()
    };
    write(1);
    let mut options = ProcessOptions::new(python(), file.to_str().unwrap());
    // The files are of one second and one length: Python would take the first's code for both.
    options.worker.env.push(("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()));
    let profile = profile(options);
    let old = start(&profile, 0).await.unwrap();
    write(2);
    let same = start(&profile, 1).await.unwrap();
    profile.renew();
    let new = start(&profile, 2).await.unwrap();
    assert_eq!((edition(&old).await, edition(&same).await), (json!(1), json!(1)));
    assert_eq!(edition(&new).await, json!(2));

    let zygote = parent(&old).await;
    drop(old);
    assert!(matches!(same.stop(LONG).await, WorkerExit::Stopped), "its zygote is there to say so");
    drop(same);
    let before = Instant::now();
    while exists(zygote) {
        assert!(before.elapsed() < LONG, "the old zygote stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(edition(&new).await, json!(2));
}

#[tokio::test]
async fn zygote_and_workers_are_gone_two_seconds_after_the_host_is_killed() {
    let sign = Sign::new();
    let mut host = host("host_of_a_zygote");
    let mut host = host.env("HELD", sign.path()).stdout(Stdio::piped()).spawn().unwrap();
    let held = sign.opened().await;
    let mut output = host.stdout.take().unwrap();
    let ready = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        while !seen.ends_with(b"ready") {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            seen.extend(byte);
        }
        output
    });
    let _output = timeout(LONG, ready).await.unwrap().unwrap();
    host.kill().unwrap();
    host.wait().unwrap();
    timeout(Duration::from_secs(2), nobody_holds(held)).await.unwrap();
}

/// No test: the host that the test above kills.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn host_of_a_zygote() {
    let profile = profile(template());
    let mut workers = Vec::new();
    for index in 0..3 {
        workers.push(start(&profile, index).await.unwrap());
    }
    println!("ready");
    std::future::pending::<()>().await;
}
