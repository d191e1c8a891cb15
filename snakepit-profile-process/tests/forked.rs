//! What a worker is that was forked from a zygote: in nothing but its parent another than one that
//! was spawned.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use snakepit_core::{Profile, Worker};
use snakepit_profile_process::{ProcessProfile, StartMethod};
use support::{LONG, call, profile, seat, template};
use tokio::time::timeout;

/// Starts this many workers at the same time.
async fn workers(profile: &ProcessProfile, count: usize) -> Vec<Arc<dyn Worker>> {
    let starting: Vec<_> = (0..count).map(|n| tokio::spawn(profile.start(seat(n)))).collect();
    let mut workers = Vec::new();
    for starting in starting {
        workers.push(timeout(LONG, starting).await.unwrap().unwrap().unwrap());
    }
    workers
}

fn command_line(pid: u64) -> String {
    String::from_utf8(std::fs::read(format!("/proc/{pid}/cmdline")).unwrap()).unwrap()
}

#[tokio::test]
async fn twenty_workers_have_one_parent_that_imported_and_preloaded_once() {
    let directory = tempfile::tempdir().unwrap();
    let notes = directory.path().join("notes");
    let mut options = template();
    options.worker.env.push(("NOTES".to_owned(), notes.to_str().unwrap().to_owned()));
    let profile = profile(options);
    let workers = workers(&profile, 20).await;

    let mut parents = BTreeSet::new();
    let mut children = BTreeSet::new();
    for worker in &workers {
        assert_eq!(worker.info().metadata["start"], "zygote");
        let pids: Json = call(worker, "pids", json!({})).value().await;
        assert_eq!(pids["pid"], json!(worker.info().pid));
        assert_eq!(pids["group"], pids["pid"], "a group of its own");
        parents.insert(pids["parent"].as_u64().unwrap());
        children.insert(pids["pid"].as_u64().unwrap());
        let frozen: u64 = call(worker, "frozen", json!({})).value().await;
        assert!(frozen > 10_000, "the collector would write to all of them: {frozen}");
    }
    assert_eq!(children.len(), 20);
    let zygote = *parents.first().unwrap();
    assert_eq!(parents.len(), 1);
    assert!(command_line(zygote).contains("--zygote"), "{}", command_line(zygote));

    let text = std::fs::read_to_string(&notes).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let setups = lines.split_off(2);
    assert_eq!(lines, [format!("import {zygote}"), format!("preload {zygote}")]);
    let setups: BTreeSet<_> =
        setups.iter().map(|line| line.strip_prefix("setup ").unwrap().parse().unwrap()).collect();
    assert_eq!(setups, children);

    drop(workers);
    timeout(LONG, profile.all_gone()).await.unwrap();
    assert!(!Path::new(&format!("/proc/{zygote}")).exists(), "the zygote is left, or its zombie");
}

/// A runtime's descriptors, a thread or a lock it holds would be every child's, and broken there.
#[tokio::test]
async fn a_zygote_that_has_forked_has_one_thread_and_nothing_of_a_runtime() {
    let profile = profile(template());
    let workers = workers(&profile, 2).await;
    let pids: Json = call(&workers[0], "pids", json!({})).value().await;
    let zygote = pids["parent"].as_u64().unwrap();
    assert_eq!(std::fs::read_dir(format!("/proc/{zygote}/task")).unwrap().count(), 1);
    let entries = std::fs::read_dir(format!("/proc/{zygote}/fd")).unwrap();
    let mut open: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let number: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let target = std::fs::read_link(path).unwrap().to_str().unwrap().to_owned();
            (number, target.split(':').next().unwrap().to_owned())
        })
        .collect();
    open.sort();
    let expected = ["/dev/null", "pipe", "pipe", "socket", "/dev/null", "/dev/null"];
    let expected: Vec<_> = (0..).zip(expected.map(str::to_owned)).collect();
    assert_eq!(open, expected);
}

#[tokio::test]
async fn a_forked_worker_is_what_a_spawned_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut beings = Vec::new();
    for start in [StartMethod::Spawn, StartMethod::Zygote] {
        let mut options = template();
        options.start = start;
        options.worker.cwd = Some(directory.path().to_owned());
        options.worker.env.push(("DEVICE".to_owned(), "gpu{index}".to_owned()));
        let profile = profile(options);
        // The second of two: what the zygote keeps of the first would show.
        let workers = workers(&profile, 2).await;
        let being: Json = call(&workers[1], "being", json!({})).value().await;
        assert_eq!(workers[1].info().metadata["start"], start.name());
        beings.push(being);
    }
    let [spawned, forked] = &beings[..] else { unreachable!() };
    for (name, value) in spawned.as_object().unwrap() {
        assert_eq!(&forked[name], value, "{name}");
    }
    assert_eq!(forked["descriptors"].as_object().unwrap()["0"][0], "/dev/null");
}

#[tokio::test]
async fn workers_draw_other_random_numbers_than_their_siblings_and_than_the_seed_says() {
    let profile = profile(template());
    let workers = workers(&profile, 3).await;
    let mut drawn = Vec::new();
    for worker in &workers {
        drawn.push(call(worker, "draw", json!({})).value::<[f64; 2]>().await);
    }
    for which in 0..2 {
        let values: BTreeSet<_> = drawn.iter().map(|values| values[which].to_bits()).collect();
        assert_eq!(values.len(), 3, "{drawn:?}");
        // The first draws of `random` and numpy after seed 1, which the adapter has set.
        let seeded = [0.134_364_244_112_401_22, 0.417_022_004_702_574][which];
        assert!(!values.contains(&f64::to_bits(seeded)), "{drawn:?}");
    }
}

#[tokio::test]
async fn a_workers_own_variables_are_there_after_the_import() {
    let mut options = template();
    options.worker.env.push(("DEVICE".to_owned(), "gpu{index}".to_owned()));
    let profile = profile(options);
    for (index, worker) in workers(&profile, 2).await.iter().enumerate() {
        let devices: Json = call(worker, "devices", json!({})).value().await;
        let own = format!("gpu{index}");
        assert_eq!(devices, json!([null, own, own]));
    }
}

#[tokio::test]
async fn how_a_forked_worker_ended_is_known() {
    let profile = profile(template());
    let workers = workers(&profile, 2).await;
    let error = call(&workers[0], "leave", json!({"code": 3})).error().await;
    assert!(error.message().contains("exited with code 3"), "{error}");
    let pid = workers[1].info().pid.unwrap();
    support::kill(pid, "-KILL");
    let exit = timeout(LONG, workers[1].exited()).await.unwrap();
    assert!(format!("{exit:?}").contains("signal 9 (SIGKILL)"), "{exit:?}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "a zombie is left");
}

#[tokio::test]
async fn what_a_forked_worker_has_started_goes_with_it() {
    let sign = support::Sign::new();
    let profile = profile(template());
    let worker = workers(&profile, 1).await.remove(0);
    call(&worker, "bear", json!({"path": sign.path()})).value::<Json>().await;
    let held = sign.opened().await;
    support::kill(worker.info().pid.unwrap(), "-KILL");
    support::host::nobody_holds(held).await;
}
