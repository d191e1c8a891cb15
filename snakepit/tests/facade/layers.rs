//! What pools do about failures, with workers that really fail.

use std::path::PathBuf;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::{Value as Json, json};
use snakepit::config::{CircuitPer, Config, PoolBuilder, PoolConfig};
use snakepit::{
    CircuitState, Error, ErrorKind, LayerCounts, PoolReport, RetryPolicy, Schedule, Snakepit,
};
use tempfile::TempDir;

use crate::support::{PATIENCE, adapter, builder, python, stop, until, wait};

const MILLI: Duration = Duration::from_millis(1);

fn start(workers: usize, set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Snakepit {
    let builder = builder("fragile.py").workers(workers);
    wait(builder.default_pool(|pool| set(pool.prefetch(0))).start()).unwrap()
}

/// Places for tools to note their attempts in.
struct Notes(TempDir);

impl Notes {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn attempts(&self, name: &str) -> u64 {
        std::fs::metadata(self.path(name)).map_or(0, |file| file.len())
    }

    fn put(&self, name: &str) {
        std::fs::write(self.path(name), "").unwrap();
    }
}

fn report(snakepit: &Snakepit) -> Json {
    serde_json::to_value(snakepit.stats()).unwrap()["pools"][0].take()
}

fn counts(snakepit: &Snakepit) -> LayerCounts {
    snakepit.stats().total.layers
}

/// Pauses that no test waits for.
fn quickly(attempts: u32) -> RetryPolicy {
    RetryPolicy::new(attempts).pauses(Schedule::Exponential, MILLI, MILLI)
}

#[test]
fn a_flaky_tool_succeeds_at_the_third_try_when_it_may_run_twice() {
    let notes = Notes::new();
    let snakepit = start(1, |pool| pool.retry(|retry| retry.attempts(3).base(MILLI)));
    let flaky = |name: &str| snakepit.call("flaky").args((notes.path(name), 3));
    assert_eq!(wait(flaky("a").idempotent().execute::<u64>()).unwrap(), 3);
    let error = wait(flaky("b").execute::<u64>()).unwrap_err();
    assert_eq!((error.kind(), notes.attempts("b")), (ErrorKind::Python, 1));
    let own = flaky("c").idempotent().retry(RetryPolicy::never());
    assert!(wait(own.execute::<u64>()).is_err());
    assert_eq!(notes.attempts("c"), 1, "a call may say otherwise");
    let wrong = snakepit.call("flaky").args((notes.path("d"), 3, 4)).idempotent();
    let error = wait(wrong.execute::<u64>()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);
    assert!(!error.details().contains_key("attempts"), "it stays wrong");
    let done = counts(&snakepit).retry;
    assert_eq!((done.retries, done.recovered), (2, 1));
    stop(snakepit);
}

#[test]
fn a_call_may_have_retries_where_its_pool_has_none_and_exceptions_are_chosen_by_type() {
    let notes = Notes::new();
    let snakepit = start(1, |pool| pool);
    for (name, exception, attempts) in [("a", "ConnectionError", 2), ("b", "LookupError", 1)] {
        let policy = quickly(5).exception(exception);
        let call = snakepit.call("flaky").args((notes.path(name), 2)).idempotent().retry(policy);
        assert_eq!(wait(call.execute::<u64>()).is_ok(), attempts == 2, "{exception}");
        assert_eq!(notes.attempts(name), attempts);
    }
    stop(snakepit);
}

#[test]
fn all_attempts_have_one_deadline() {
    let notes = Notes::new();
    let snakepit = start(1, |pool| pool);
    let pause = Duration::from_millis(100);
    let policy = RetryPolicy::new(1000).pauses(Schedule::Linear, pause, pause).jitter(0.0);
    let call = snakepit.call("flaky").args((notes.path("a"), 1000)).idempotent().retry(policy);
    let error = wait(call.timeout(4 * pause).execute::<u64>()).unwrap_err();
    // A slow machine may have been in an attempt when time was up.
    assert!(matches!(error.kind(), ErrorKind::Python | ErrorKind::Timeout(_)), "{error}");
    let attempts = notes.attempts("a");
    assert!((1..=4).contains(&attempts), "{attempts}");
    stop(snakepit);
}

#[test]
fn a_stream_is_tried_again_until_its_first_item_and_not_after_it() {
    let notes = Notes::new();
    let snakepit = start(1, |pool| pool.retry(|retry| retry.base(MILLI)));
    let stream = |name: &str, chunks: u32| {
        let call = snakepit.call("flaky_count").args((notes.path(name), 3, chunks));
        let mut stream = wait(call.idempotent().stream::<u64>()).unwrap();
        let mut items = Vec::new();
        while let Some(item) = wait(stream.next()) {
            items.push(item.map_err(|error| error.kind()));
        }
        items
    };
    assert_eq!(stream("a", 0), [Ok(3)]);
    assert_eq!(stream("b", 2), [Ok(0), Ok(1), Err(ErrorKind::Python)]);
    assert_eq!(notes.attempts("b"), 1);
    stop(snakepit);
}

#[test]
fn each_call_of_a_batch_is_tried_again_by_itself() {
    let notes = Notes::new();
    let snakepit = start(2, |pool| pool.retry(|retry| retry.base(MILLI).budget(1.0)));
    let calls = (0..20).map(|n| {
        // Some without layers' help in between.
        let call = snakepit.call("flaky").args((notes.path(&n.to_string()), 1 + n % 3));
        if n % 3 == 0 { call } else { call.idempotent() }
    });
    let results = wait(snakepit.execute_batch::<u64>(calls));
    let expected: Vec<u64> = (0..20).map(|n| 1 + n % 3).collect();
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);
    stop(snakepit);
}

#[test]
fn a_batch_waits_for_room_in_the_queue_through_layers_too() {
    let snakepit = start(1, |pool| pool.queue(1).breaker(|breaker| breaker.failures(1)));
    let calls = (0..30).map(|_| snakepit.call("who"));
    let mut batch = snakepit.execute_batch_unordered::<String, _>(calls).concurrency(8);
    let mut done = 0;
    while let Some((_, result)) = wait(batch.next()) {
        result.unwrap();
        done += 1;
    }
    assert_eq!(done, 30);
    drop(batch);
    stop(snakepit);
}

#[test]
fn a_crash_moves_a_call_that_may_run_twice_and_taints_the_seat() {
    let notes = Notes::new();
    let snakepit = start(2, |pool| pool.barrier(|barrier| barrier));
    let crash = |name: &str, times: u32, signal: &str| {
        snakepit.call("crash").args((notes.path(name), times, signal)).queue_timeout(PATIENCE)
    };
    let survivor = wait(crash("a", 1, "").idempotent().execute::<u32>()).unwrap();
    assert_eq!(notes.attempts("a"), 2, "it ran elsewhere, once more");
    assert_eq!(
        (&report(&snakepit)["moved"], &report(&snakepit)["tainted"]),
        (&json!(1), &json!(1))
    );

    // Its replacement has the seat, so that the call keeps to the one that survived.
    let back = || report(&snakepit)["workers"].as_array().is_some_and(|all| all.len() == 2);
    until("the crashed worker is replaced", back);
    for _ in 0..5 {
        let call = crash("a", 1, "").queue_timeout(PATIENCE);
        assert_eq!(wait(call.execute::<u32>()).unwrap(), survivor);
    }

    for signal in ["SIGKILL", "SIGABRT"] {
        let error = wait(crash(signal, 9, signal).execute::<u32>()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true }, "{error}");
        assert_eq!((error.crash_signal(), notes.attempts(signal)), (Some(signal), 1));
    }
    let error = wait(crash("b", 9, "").idempotent().execute::<u32>()).unwrap_err();
    assert_eq!((error.crash_signal(), notes.attempts("b")), (Some("SIGSEGV"), 2), "once");
    stop(snakepit);
}

#[test]
fn circuits_open_refuse_and_close_again() {
    let notes = Notes::new();
    notes.put("broken");
    let snakepit =
        start(1, |pool| pool.breaker(|breaker| breaker.failures(3).per(CircuitPer::Command)));
    let call = |snakepit: &Snakepit| {
        let call = snakepit.call("depends").args([notes.path("broken")]);
        wait(call.execute::<String>()).map_err(|error| error.kind())
    };
    for _ in 0..3 {
        assert_eq!(call(&snakepit), Err(ErrorKind::Python));
    }
    let error = wait(snakepit.execute::<String>("depends", [notes.path("broken")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CircuitOpen);
    let wait_ms: u64 = error.details()["retry_in_ms"].parse().unwrap();
    assert!((1..=30_000).contains(&wait_ms), "it says when: {error:?}");
    wait(snakepit.execute::<String>("who", ())).unwrap();
    assert_eq!(report(&snakepit)["circuits"][0]["state"], "open");
    assert_eq!(report(&snakepit)["circuits"][0]["command"], "depends");
    assert!(snakepit.reset_breaker("default", None).unwrap());
    assert_eq!(call(&snakepit), Err(ErrorKind::Python), "it passes again");
    let done = counts(&snakepit).breaker;
    assert_eq!((done.opened, done.closed, done.refused), (1, 1, 1));
    stop(snakepit);

    // And by itself, with the pool's only circuit.
    let open = 50 * MILLI;
    let snakepit = start(1, |pool| pool.breaker(|breaker| breaker.failures(2).open(open)));
    for _ in 0..2 {
        assert_eq!(call(&snakepit), Err(ErrorKind::Python));
    }
    std::fs::remove_file(notes.path("broken")).unwrap();
    until("a probe succeeds", || call(&snakepit).is_ok());
    let PoolReport::Running { circuits, layers, .. } = snakepit.stats().pools.remove(0) else {
        panic!("the pool runs")
    };
    assert_eq!((circuits[0].state, layers.breaker.closed), (CircuitState::Closed, 1));
    let error = snakepit.reset_breaker("defualt", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PoolNotFound);
    stop(snakepit);
}

#[test]
fn the_fallback_serves_while_a_pool_is_broken_full_or_was_never_there() {
    let notes = Notes::new();
    notes.put("broken");
    let pool = |name: &str, file: &str, layers: &str| {
        format!(
            "[pool.{name}]\nadapter = '{}'\npython = '{}'\nworkers = 1\n\
             env = {{ SNAKEPIT_TEST_VALUE = '{name}' }}\n{layers}\n",
            adapter(file),
            python().display()
        )
    };
    let document = [
        pool("default", "setup_error.py", "fallback.pool = 'ailing'"),
        pool("ailing", "fragile.py", "breaker.failures = 1\nfallback.pool = 'spare'"),
        pool("spare", "fragile.py", ""),
    ];
    let config = Config::from_toml(&document.concat()).unwrap();
    let snakepit = wait(Snakepit::builder().config(config).start()).unwrap();
    let who = |pool: &str| wait(snakepit.call("who").pool(pool).execute::<String>());
    assert_eq!(who("default").unwrap(), "ailing", "the first did not start");
    let failing = snakepit.call("depends").pool("ailing").args([notes.path("broken")]);
    assert_eq!(wait(failing.execute::<String>()).unwrap_err().kind(), ErrorKind::Python);
    assert_eq!(who("ailing").unwrap(), "spare", "its circuit is open");
    assert_eq!(who("default").unwrap(), "spare", "from one to the next");
    let mut stream = wait(
        snakepit.call("flaky_count").pool("ailing").args((notes.path("a"), 1, 1)).stream::<u64>(),
    )
    .unwrap();
    assert_eq!(wait(stream.next()).unwrap().unwrap(), 0, "streams, too");
    drop(stream);
    let done = counts(&snakepit).fallback;
    assert_eq!((done.fell_back, done.recovered), (3, 3));
    assert!(snakepit.reset_breaker("ailing", None).unwrap());
    assert_eq!(who("ailing").unwrap(), "ailing");
    wait(snakepit.drain("ailing", PATIENCE)).unwrap();
    assert_eq!(who("ailing").unwrap(), "spare", "it is gone");
    stop(snakepit);
}

#[test]
fn fallbacks_that_come_to_lead_in_a_circle_end() {
    let hour = Duration::from_secs(3600);
    let snakepit = start(1, |pool| pool);
    for (name, other) in [("a", "b"), ("b", "a")] {
        let pool = PoolConfig::builder(name)
            .adapter(adapter("fragile.py"))
            .python(python())
            .workers(1)
            .env("SNAKEPIT_TEST_VALUE", name)
            .rate_limit(|rate| rate.calls(1).per(hour))
            .fallback(|fallback| fallback.pool(other));
        wait(snakepit.start_pool(name, pool)).unwrap();
    }
    let who = || wait(snakepit.call("who").pool("a").execute::<String>());
    assert_eq!((who().unwrap(), who().unwrap()), ("a".to_owned(), "b".to_owned()));
    assert_eq!(who().unwrap_err().kind(), ErrorKind::RateLimited);
    stop(snakepit);
}

#[test]
fn a_slow_call_gets_a_second_attempt_and_the_first_is_cancelled() {
    let notes = Notes::new();
    let snakepit = start(2, |pool| pool.hedge(|hedge| hedge.after(20 * MILLI)));
    let slow = snakepit.call("slow_at_first").args([notes.path("a")]).idempotent();
    assert_eq!(wait(slow.execute::<u64>()).unwrap(), 2);
    let done = counts(&snakepit).hedge;
    assert_eq!((done.hedged, done.won), (1, 1));
    until("the loser is cancelled", || report(&snakepit)["in_flight"] == 0);
    assert_eq!(report(&snakepit)["cancelled"], 1);
    stop(snakepit);
}

/// A call that is under way.
type Held<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// Begins calls that run until the file `go` is there; gives those under way, and why others are not.
fn begin<'a>(snakepit: &Snakepit, notes: &Notes, calls: usize) -> (Vec<Held<'a>>, Vec<Error>) {
    let (mut waiting, mut refused) = (Vec::new(), Vec::new());
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..calls {
        let call = snakepit.call("hold").args([notes.path("go")]).queue_timeout(PATIENCE);
        let mut call: Held<'a> = Box::pin(call.execute::<()>());
        match call.as_mut().poll(&mut context) {
            Poll::Pending => waiting.push(call),
            Poll::Ready(result) => refused.push(result.unwrap_err()),
        }
    }
    (waiting, refused)
}

#[test]
fn calls_are_shed_while_the_line_is_long() {
    let notes = Notes::new();
    let snakepit = start(1, |pool| pool.shed(|shed| shed.queue(2)));
    let (waiting, refused) = begin(&snakepit, &notes, 5);
    assert_eq!((waiting.len(), refused.len()), (3, 2), "one runs, two wait");
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::LoadShed), "{refused:?}");
    assert_eq!(counts(&snakepit).shed.refused, 2);
    notes.put("go");
    waiting.into_iter().for_each(|call| wait(call).unwrap());
    wait(snakepit.execute::<String>("who", ())).unwrap();
    stop(snakepit);
}

#[test]
fn calls_beyond_the_rate_are_refused_and_no_failure_of_the_pool() {
    let hour = Duration::from_secs(3600);
    let snakepit = start(1, |pool| {
        pool.rate_limit(|rate| rate.calls(3).per(hour)).breaker(|breaker| breaker.failures(1))
    });
    let who = || wait(snakepit.execute::<String>("who", ()));
    assert!((0..3).all(|_| who().is_ok()));
    let error = who().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert!(error.details()["retry_in_ms"].parse::<u64>().unwrap() <= 1_200_001, "{error:?}");
    assert_eq!(who().unwrap_err().kind(), ErrorKind::RateLimited, "its circuit is closed");
    assert_eq!(counts(&snakepit).rate_limit.refused, 2);
    stop(snakepit);
}

#[test]
fn a_call_that_waits_to_be_tried_again_ends_with_its_pools() {
    let notes = Notes::new();
    let hour = Duration::from_secs(3600);
    let snakepit = start(1, |pool| pool.retry(|retry| retry.base(hour).cap(hour)));
    let call = snakepit.call("flaky").args((notes.path("a"), 9)).timeout(24 * hour).idempotent();
    let waiting = std::thread::spawn(move || wait(call.execute::<u64>()));
    until("it waits", || counts(&snakepit).retry.retries == 1);
    stop(snakepit);
    let error = waiting.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Python, "what it failed with");
}

#[test]
fn pools_that_are_started_at_run_time_have_their_layers() {
    let notes = Notes::new();
    let snakepit = start(1, |pool| pool);
    let late = PoolConfig::builder("late")
        .adapter(adapter("fragile.py"))
        .python(python())
        .workers(1)
        .retry(|retry| retry.base(MILLI))
        .build()
        .unwrap();
    let pool = wait(snakepit.start_pool("late", late)).unwrap();
    let call = pool.call("flaky").args((notes.path("a"), 2)).idempotent();
    assert_eq!(wait(call.execute::<u64>()).unwrap(), 2);
    stop(snakepit);
}
