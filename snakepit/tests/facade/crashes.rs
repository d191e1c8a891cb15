//! Workers that are killed or late: each call has one outcome, and the pool comes back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use snakepit::{ErrorKind, Phase, PoolReport, Snakepit, WorkerState};

use crate::support::{PATIENCE, builder, start, stop, until, wait};

const WORKERS: usize = 8;
const CALLERS: usize = 16;
const ROUNDS: usize = 30;
const KILLS: usize = 2;

/// All workers serve again so long after the last kill at the latest.
const BACK: Duration = Duration::from_secs(2);

/// The processes that serve.
fn ready(snakepit: &Snakepit) -> Vec<u32> {
    let PoolReport::Running { workers, .. } = snakepit.stats().pools.remove(0) else {
        panic!("the pool runs")
    };
    let serving = workers.into_iter().filter(|worker| worker.state == WorkerState::Ready);
    serving.filter_map(|worker| worker.info.pid).collect()
}

#[test]
fn crash_storm_loses_no_call_and_the_pool_comes_back() {
    let snakepit = Arc::new(wait(builder("misbehaving.py").workers(WORKERS).start()).unwrap());
    let over = Arc::new(AtomicBool::new(false));
    let [done, lost] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..CALLERS as u64)
        .map(|caller| {
            let (snakepit, over) = (Arc::clone(&snakepit), Arc::clone(&over));
            let (done, lost) = (Arc::clone(&done), Arc::clone(&lost));
            std::thread::spawn(move || {
                let mut n = caller;
                while !over.load(Ordering::Relaxed) {
                    n += CALLERS as u64;
                    let call = snakepit.call("linger").args([n]).queue_timeout(PATIENCE);
                    match wait(call.execute::<u64>()) {
                        Ok(answer) => {
                            assert_eq!(answer, n, "another call's answer");
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            let kind = error.kind();
                            assert!(matches!(kind, ErrorKind::WorkerLost { .. }), "{error}");
                            lost.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            })
        })
        .collect();
    let mut killed = BTreeSet::new();
    let alive = |killed: &BTreeSet<u32>| -> Vec<u32> {
        ready(&snakepit).into_iter().filter(|pid| !killed.contains(pid)).collect()
    };
    let mut last_kill = Instant::now();
    for _ in 0..ROUNDS {
        for _ in 0..KILLS {
            let mut victim = None;
            until("a worker is alive", || {
                victim = alive(&killed).first().copied();
                victim.is_some()
            });
            let victim = victim.unwrap();
            let pid = rustix::process::Pid::from_raw(victim as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            last_kill = Instant::now();
            killed.insert(victim);
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let kills = killed.len() as u64;
    until("all serve again", || alive(&killed).len() == WORKERS);
    let took = last_kill.elapsed();
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().unwrap();
    }
    let (done, lost) = (done.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
    println!("{kills} kills, {done} calls done, {lost} lost, back to {WORKERS} after {took:?}");
    assert!(took < BACK, "{took:?}");
    assert!(kills == (ROUNDS * KILLS) as u64 && done > 0 && lost > 0, "no storm");
    // A process runs one call at a time: a kill costs one at most.
    assert!(lost <= kills, "{lost} calls lost by {kills} kills");
    stop(Arc::into_inner(snakepit).unwrap());
}

/// From a worker's death to the error of the call that it ran.
const TOLD: Duration = Duration::from_millis(100);

#[test]
fn caller_hears_of_a_killed_worker_within_100_ms() {
    // Each is killed once, so that no pause between a death and the next start plays a part.
    let snakepit = wait(builder("misbehaving.py").workers(9).start()).unwrap();
    let (started, starts) = mpsc::channel();
    let (told, errors) = mpsc::channel();
    std::thread::scope(|scope| {
        for caller in 0..9 {
            let (started, told) = (started.clone(), told.clone());
            let running = move |progress: snakepit::Progress| {
                let pid: i32 = progress.message.parse().unwrap();
                // The test may have failed and gone.
                let _ = started.send((caller, pid));
            };
            let call = snakepit.call("hold_on").on_progress(running);
            scope.spawn(move || {
                let error = wait(call.execute::<()>()).unwrap_err();
                told.send((caller, error, Instant::now())).unwrap();
            });
        }
        let running: Vec<_> = starts.iter().take(9).collect();
        let mut took = Vec::new();
        for (caller, pid) in running {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let killed = Instant::now();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            let (whose, error, when) = errors.recv_timeout(PATIENCE).unwrap();
            assert_eq!(whose, caller, "another one's call was lost");
            assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true }, "{error}");
            took.push(when - killed);
        }
        drop(told);
        assert!(errors.recv().is_err(), "one error each");
        // A claim of issue 3. One of them may be late because the machine is busy with something
        // else, most of them not.
        took.sort_unstable();
        println!("from the kill to the error: {took:?}");
        assert!(took[took.len() / 2] < TOLD, "{took:?}");
    });
    stop(snakepit);
}

#[test]
fn late_answer_goes_to_nobody() {
    let snakepit = start("misbehaving.py");
    for round in 0..3_u64 {
        let limit = Duration::from_millis(100);
        let late = snakepit.call("dawdle").args([0.4]).timeout(limit);
        let error = wait(late.execute::<String>()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Call), "{error}");
        let next = snakepit.call("echo").args([round]).queue_timeout(PATIENCE);
        assert_eq!(wait(next.execute::<u64>()).unwrap(), round, "after a timeout");

        // Dropped, and so cancelled, when it has been sent.
        let mut dropped = Box::pin(snakepit.call("dawdle").args([0.4]).execute::<String>());
        let poll = |cx: &mut std::task::Context<'_>| {
            let pending = dropped.as_mut().poll(cx).is_pending();
            std::task::Poll::Ready(pending)
        };
        assert!(wait(std::future::poll_fn(poll)));
        drop(dropped);
        let next = snakepit.call("echo").args([round]).queue_timeout(PATIENCE);
        assert_eq!(wait(next.execute::<u64>()).unwrap(), round, "after a cancel");
    }
    let PoolReport::Running { exits, .. } = snakepit.stats().pools.remove(0) else {
        panic!("the pool runs")
    };
    assert_eq!(exits.died, 0, "late, and not dead");
    stop(snakepit);
}
