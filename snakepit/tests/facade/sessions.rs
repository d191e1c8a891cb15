//! Sessions against real Python: what tools keep, where calls run, what follows when a worker goes.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use snakepit::config::{Affinity as Setting, PoolBuilder};
use snakepit::{Affinity, Error, ErrorKind, Session, Snakepit};
use tempfile::TempDir;

use crate::support::{PATIENCE, builder, free_threaded, stop, until, wait};

/// How often the session was counted where the call ran, its id as Python sees it, the process.
type Count = (u64, Option<String>, u32);

fn start(set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Snakepit {
    wait(builder("sessions.py").default_pool(|pool| set(pool.workers(2).jitter(0.0))).start())
        .unwrap()
}

fn count(session: &Session) -> Result<Count, Error> {
    wait(session.call("count").queue_timeout(PATIENCE).execute())
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// A call that runs until its gate is opened.
struct Held {
    gate: PathBuf,
    _directory: TempDir,
    call: std::thread::JoinHandle<Result<u64, Error>>,
}

impl Held {
    /// Resolves when the tool runs.
    fn start(session: &Session) -> Self {
        let directory = TempDir::new().unwrap();
        let gate = directory.path().join("gate");
        let (told, runs) = mpsc::channel();
        let call = session.call("hold").args([gate.to_str().unwrap()]).queue_timeout(PATIENCE);
        // Only the first report is waited for.
        let call = call.on_progress(move |_| told.send(()).unwrap_or_default());
        let call = std::thread::spawn(move || wait(call.execute()));
        runs.recv_timeout(PATIENCE).unwrap();
        Self { gate, _directory: directory, call }
    }

    fn finish(self) -> Result<u64, Error> {
        std::fs::write(&self.gate, "").unwrap();
        self.call.join().unwrap()
    }
}

/// A call of a session that waits in line.
fn waiting(
    snakepit: &Snakepit,
    session: &Session,
) -> std::thread::JoinHandle<Result<Count, Error>> {
    let queued = |snakepit: &Snakepit| snakepit.stats().total.queued;
    let before = queued(snakepit);
    let own = session.clone();
    let call = std::thread::spawn(move || count(&own));
    until("it waits", || queued(snakepit) > before);
    call
}

#[test]
fn what_a_tool_keeps_is_its_sessions_alone() {
    let snakepit = start(|pool| pool.affinity(Setting::StrictQueue));
    let [ada, bob] = ["ada", "bob"].map(|id| snakepit.session(id));
    let made_up = snakepit.new_session();
    for n in 1..=3 {
        for session in [&ada, &bob, &made_up] {
            let (counted, id, _) = count(session).unwrap();
            assert_eq!((counted, id.as_deref()), (n, Some(session.id().as_str())));
        }
    }
    // Without a session it lasts as long as the call, in whichever worker.
    for _ in 0..4 {
        let (counted, id, _): Count = wait(snakepit.execute("count", ())).unwrap();
        assert_eq!((counted, id), (1, None));
    }
    assert_ne!(made_up.id(), snakepit.new_session().id());
    stop(snakepit);
}

#[test]
fn the_session_counter_of_the_showcase_counts() {
    let snakepit = wait(
        Snakepit::builder()
            .adapter("snakepit.showcase")
            .python(crate::support::python())
            .workers(2)
            .start(),
    )
    .unwrap();
    let ada = snakepit.session("ada").affinity(Affinity::StrictQueue);
    let counts: Vec<u64> = (0..3).map(|_| wait(ada.execute("counter", [2])).unwrap()).collect();
    assert_eq!(counts, [2, 4, 6]);
    stop(snakepit);
}

#[test]
fn each_mode_does_as_it_says_when_the_sessions_worker_is_busy() {
    let snakepit = start(|pool| pool);
    let ada = snakepit.session("ada");
    let (_, _, home) = count(&ada).unwrap();
    let held = Held::start(&ada);
    let (_, _, elsewhere) = count(&ada.clone().affinity(Affinity::Hint)).unwrap();
    assert_ne!(home, elsewhere, "a hint falls back, and takes the session along");
    // Strict calls hold to where the session is now.
    let strict = ada.clone().affinity(Affinity::StrictQueue);
    assert_eq!(count(&strict).unwrap().2, elsewhere);
    let other = Held::start(&strict);
    let hasty = ada.clone().affinity(Affinity::StrictFailFast);
    assert_eq!(kind(count(&hasty)), ErrorKind::WorkerBusy);
    let line = waiting(&snakepit, &strict);
    assert_eq!(held.finish().unwrap(), 2, "its own worker's count");
    // One of the two workers is free, and the call waits for the other.
    let free: Count = wait(snakepit.execute("count", ())).unwrap();
    assert_eq!(free.2, home);
    assert!(!line.is_finished());
    other.finish().unwrap();
    assert_eq!(line.join().unwrap().unwrap().2, elsewhere);
    stop(snakepit);
}

#[test]
fn recycling_moves_hint_sessions_and_tells_strict_ones() {
    let snakepit = start(|pool| pool.workers(1));
    let (hint, strict) = (snakepit.session("hint"), snakepit.session("strict"));
    let strict = strict.affinity(Affinity::StrictQueue);
    let (_, _, old) = count(&hint).unwrap();
    count(&strict).unwrap();
    let held = Held::start(&strict);
    let line = waiting(&snakepit, &strict);
    let recycling = {
        let snakepit = snakepit.clone();
        std::thread::spawn(move || wait(snakepit.recycle("default", None)))
    };
    let told = line.join().unwrap().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::SessionWorkerUnavailable);
    assert_eq!(told.details()["session"], "strict");
    // The replacement is there, and the old worker ends what it has.
    let (counted, _, new) = count(&hint).unwrap();
    assert!(counted == 1 && new != old, "what was kept is gone with the worker");
    assert_eq!(held.finish().unwrap(), 2);
    recycling.join().unwrap().unwrap();
    // The call in line was told: the next one binds the session anew.
    assert_eq!(count(&strict).unwrap(), (1, Some("strict".to_owned()), new));
    // Without a call in line, the next one is told.
    wait(snakepit.recycle("default", None)).unwrap();
    assert_eq!(kind(count(&strict)), ErrorKind::SessionWorkerUnavailable);
    assert_eq!(count(&strict).unwrap().0, 1);
    let sessions = snakepit.stats().total.sessions;
    assert_eq!((sessions.active, sessions.moved, sessions.lost), (2, 2, 2));
    stop(snakepit);
}

#[test]
fn a_worker_that_is_lost_mid_session_is_told_to_strict_calls_and_hints_go_on() {
    let snakepit = start(|pool| pool.workers(1));
    let strict = snakepit.session("strict").affinity(Affinity::StrictQueue);
    let hint = snakepit.session("hint");
    let (_, _, old) = count(&strict).unwrap();
    count(&hint).unwrap();
    let lost = kind(wait(strict.execute::<()>("die", ())));
    assert_eq!(lost, ErrorKind::WorkerLost { maybe_executed: true });
    until("the session is told", || match count(&strict) {
        Err(error) => error.kind() == ErrorKind::SessionWorkerUnavailable,
        Ok(_) => panic!("it was bound to a worker that is gone"),
    });
    let (counted, _, new) = count(&hint).unwrap();
    assert!(counted == 1 && new != old);
    assert_eq!(count(&strict).unwrap(), (1, Some("strict".to_owned()), new));
    stop(snakepit);
}

#[test]
fn a_session_ends_with_calls_in_flight_and_its_id_is_free_for_another() {
    let snakepit = start(|pool| pool.workers(1));
    let ada = snakepit.session("ada");
    count(&ada).unwrap();
    let held = Held::start(&ada);
    let line = waiting(&snakepit, &ada);
    assert!(ada.end().unwrap());
    assert_eq!(kind(line.join().unwrap()), ErrorKind::Cancelled);
    let next = waiting(&snakepit, &ada);
    assert_eq!(held.finish().unwrap(), 2, "what runs keeps what it had");
    assert_eq!(next.join().unwrap().unwrap().0, 1, "and shares it with nobody");
    let over = || wait(snakepit.execute::<Vec<(String, u64)>>("over", ())).unwrap();
    assert_eq!(over(), [("ada".to_owned(), 2)], "told after its last call");
    assert!(ada.end().unwrap());
    assert!(!ada.end().unwrap());
    until("told", || over() == [("ada".to_owned(), 2), ("ada".to_owned(), 1)]);
    stop(snakepit);
}

#[test]
fn among_threads_a_session_is_over_when_its_last_call_is() {
    let builder = builder("sessions.py").python(free_threaded());
    let builder = builder.default_pool(|pool| pool.profile("thread").threads(3).workers(1));
    let snakepit = wait(builder.start()).unwrap();
    let ada = snakepit.session("ada");
    let (one, two) = (Held::start(&ada), Held::start(&ada));
    assert!(ada.end().unwrap());
    let over = || wait(snakepit.execute::<Vec<(String, u64)>>("over", ())).unwrap();
    let first = one.finish().unwrap();
    assert_eq!((first, over()), (1, vec![]));
    assert_eq!(two.finish().unwrap(), 2, "both are calls of one session");
    until("told", || over() == [("ada".to_owned(), 2)]);
    stop(snakepit);
}

#[test]
fn a_session_that_nobody_uses_ends_in_the_host_and_in_python() {
    let snakepit = start(|pool| pool.workers(1).session_ttl(Duration::from_secs(1)));
    let ada = snakepit.session("ada");
    ada.put("name", "Ada").unwrap();
    count(&ada).unwrap();
    until("told", || {
        let over: Vec<(String, u64)> = wait(snakepit.execute("over", ())).unwrap();
        over == [("ada".to_owned(), 1)]
    });
    assert_eq!(ada.info().unwrap(), None);
    assert_eq!(ada.get::<String>("name").unwrap(), None);
    assert_eq!(snakepit.stats().total.sessions.expired, 1);
    stop(snakepit);
}

#[test]
fn values_are_kept_for_a_session_whichever_worker_serves_it() {
    let snakepit = start(|pool| pool.session_quota(2).session_data(2048));
    let (ada, bob) = (snakepit.session("ada"), snakepit.session("bob"));
    ada.put("program", &vec![1, 2, 3]).unwrap();
    bob.put("program", "none").unwrap();
    wait(snakepit.recycle("default", None)).unwrap();
    assert_eq!(ada.get::<Vec<u8>>("program").unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(kind(bob.get::<u64>("program")), ErrorKind::DecodeFailed);
    let info = ada.info().unwrap().unwrap();
    assert_eq!((info.keys, info.calls), (vec!["program".to_owned()], 0));
    let large = "x".repeat(2048);
    assert_eq!(kind(ada.put("large", &large)), ErrorKind::SessionQuotaExceeded);
    let third = snakepit.session("third");
    assert_eq!(kind(third.put("x", &1)), ErrorKind::SessionQuotaExceeded);
    assert_eq!(kind(count(&third)), ErrorKind::SessionQuotaExceeded);
    assert!(bob.remove("program").unwrap() && !bob.remove("program").unwrap());
    assert!(bob.end().unwrap());
    assert_eq!(count(&third).unwrap().0, 1);
    let sessions = snakepit.sessions("default").unwrap();
    let ids: Vec<&str> = sessions.iter().map(|session| session.id.as_str()).collect();
    assert_eq!(ids, ["ada", "third"]);
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    assert_eq!(stats["pools"][0]["sessions"]["refused"], 2);
    assert_eq!(stats["total"]["sessions"]["active"], 2);
    stop(snakepit);
}

#[test]
fn a_session_without_futures_and_one_of_a_pools_handle_are_the_same() {
    let snakepit = start(|pool| pool.affinity(Setting::StrictFailFast));
    let pool = snakepit.pool("default").unwrap();
    let blocking = snakepit::blocking::Snakepit::from(snakepit.clone());
    let one: Count = blocking.session("ada").execute("count", ()).unwrap();
    let two = count(&pool.session("ada")).unwrap();
    let three = count(&snakepit.session("ada").pool("default")).unwrap();
    assert_eq!((one.0, two.0, three.0), (1, 2, 3));
    stop(snakepit);
}
