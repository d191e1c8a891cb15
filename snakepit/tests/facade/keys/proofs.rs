//! What can be seen of keys that no other test is about, each set by a document. A test bears the name
//! of its key.

use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use serde_json::{Value as Json, json};
use snakepit::{Config, Error, ErrorKind, Phase, Snakepit};

use crate::support::{PATIENCE, adapter, python, stop, until, wait};

/// A host with one pool of one worker, and what else its table says.
fn start(name: &str, keys: &str) -> Result<Snakepit, Error> {
    let text = format!(
        "[pool.default]\nadapter = '{}'\npython = '{}'\nworkers = 1\n{keys}\n",
        adapter(name),
        python().display()
    );
    let config = Config::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
    wait(Snakepit::builder().config(config).start())
}

fn pid(snakepit: &Snakepit) -> u64 {
    let stats = serde_json::to_value(snakepit.stats()).unwrap();
    stats["pools"][0]["workers"][0]["pid"].as_u64().unwrap_or_default()
}

#[test]
fn prefetch() {
    let prefetched = |keys: &str| {
        let snakepit = start("plain.py", keys).unwrap();
        let calls = (0..500).map(|n| snakepit.call("add").args([n, 1]));
        let sums = wait(snakepit.execute_batch::<i64>(calls));
        assert!(sums.into_iter().all(|sum| sum.is_ok()));
        let stats = serde_json::to_value(snakepit.stats()).unwrap();
        stop(snakepit);
        stats["pools"][0]["prefetched"].as_u64().unwrap()
    };
    assert_eq!(prefetched("prefetch = 0"), 0);
    assert!(prefetched("prefetch = 8") > 0);
}

#[test]
fn strategy() {
    let busy = |keys: &str| {
        let keys = format!("profile = 'thread'\nthreads = 2\nworkers = 2\n{keys}");
        let text = format!(
            "[pool.default]\nadapter = '{}'\npython = '{}'\n{keys}\n",
            adapter("keyed.py"),
            python().display()
        );
        let config = Config::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
        let snakepit = wait(Snakepit::builder().config(config).start()).unwrap();
        let streams: Vec<_> = (0..2)
            .map(|_| {
                let mut items = wait(snakepit.execute_stream::<u64>("silent", ())).unwrap();
                assert_eq!(wait(items.next()).unwrap().unwrap(), 1);
                items
            })
            .collect();
        let stats = serde_json::to_value(snakepit.stats()).unwrap();
        drop(streams);
        stop(snakepit);
        let workers = stats["pools"][0]["workers"].as_array().unwrap().clone();
        let mut busy: Vec<u64> =
            workers.iter().map(|worker| worker["in_flight"].as_u64().unwrap()).collect();
        busy.sort_unstable();
        busy
    };
    assert_eq!(busy("strategy = 'spread'"), [1, 1]);
    assert_eq!(busy("strategy = 'fill'"), [0, 2]);
}

#[test]
fn cancel_grace() {
    let ignored = |keys: &str| {
        let snakepit = start("keyed.py", keys).unwrap();
        let before = pid(&snakepit);
        let call = snakepit.call("deaf").args([4]).timeout(Duration::from_millis(200));
        let late = wait(call.execute::<Json>()).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout(Phase::Call));
        // It waits for whichever comes first: the end of the call, or that of the worker.
        let next = snakepit.call("remaining").queue_timeout(PATIENCE);
        let _: f64 = wait(next.execute()).unwrap();
        let same = pid(&snakepit) == before;
        stop(snakepit);
        same
    };
    assert!(!ignored("cancel_grace = '100ms'"), "the worker was ended");
    assert!(ignored("cancel_grace = '1h'"), "with the two seconds of the default it were not");
}

#[test]
fn stream_credit() {
    for credit in [1, 16] {
        let place = tempfile::tempdir().unwrap();
        let ledger = place.path().join("ledger");
        let snakepit = start("keyed.py", &format!("stream_credit = {credit}")).unwrap();
        let made = || std::fs::metadata(&ledger).map_or(0, |file| file.len());
        let args = json!({"ledger": ledger, "to": 100});
        let mut items = wait(snakepit.execute_stream::<u64>("items", args)).unwrap();
        until("it runs ahead as far as it may", || made() >= credit);
        for read in 0..100 {
            // One is made before it is held back.
            assert!(made() <= read + credit + 1, "{} of {read} with {credit}", made());
            assert_eq!(wait(items.next()).unwrap().unwrap(), read);
        }
        stop(snakepit);
    }
}

#[test]
fn timeouts_profile_and_call() {
    let remaining = |keys: &str| {
        let snakepit = start("keyed.py", keys).unwrap();
        let seconds: Option<f64> = wait(snakepit.execute("remaining", ())).unwrap();
        stop(snakepit);
        seconds
    };
    // Within a minute of what the profile or the key says.
    let near = |seconds: Option<f64>, limit: f64| {
        let seconds = seconds.unwrap();
        assert!(seconds <= limit && seconds > limit - 60.0, "{seconds} of {limit}");
    };
    near(remaining("timeouts = { profile = 'batch' }"), 3600.0);
    near(remaining("timeouts = { profile = 'development' }"), 900.0);
    near(remaining("timeouts = { profile = 'batch', call = '500s' }"), 500.0);
    assert_eq!(remaining("timeouts = { call = 'none' }"), None);
}

#[test]
fn timeouts_stream_idle() {
    let snakepit = start("keyed.py", "timeouts = { stream_idle = '300ms' }").unwrap();
    let mut items = wait(snakepit.execute_stream::<u64>("silent", ())).unwrap();
    assert_eq!(wait(items.next()).unwrap().unwrap(), 1);
    let error = wait(items.next()).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::StreamIdle));
    stop(snakepit);
}

/// Submits a call of a tool that takes hours, and waits until it has begun.
fn endless(snakepit: &Snakepit, tool: &str) -> Pin<Box<dyn Future<Output = Result<Json, Error>>>> {
    let (tell, told) = std::sync::mpsc::channel();
    let call = snakepit.call(tool).args([1_000_000]).on_progress(move |_| {
        // Only the first report is waited for.
        let _ = tell.send(());
    });
    let mut running: Pin<Box<dyn Future<Output = _>>> = Box::pin(call.execute());
    assert!(running.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    told.recv_timeout(PATIENCE).unwrap();
    running
}

#[test]
fn timeouts_queue() {
    let snakepit = start(
        "plain.py",
        "prefetch = 0\ncancel_grace = '100ms'\ntimeouts = { queue = '150ms', drain = '0s' }",
    )
    .unwrap();
    let running = endless(&snakepit, "steps");
    let late = wait(snakepit.execute::<i64>("add", [1, 2])).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout(Phase::Queue));
    drop(running);
    // It ends by itself only in hours, and is cut off.
    let _ = wait(snakepit.shutdown(PATIENCE));
}

#[test]
fn timeouts_start() {
    let late = start("slow_to_start.py", "timeouts = { start = '700ms' }").err().unwrap();
    assert_eq!(late.kind(), ErrorKind::Timeout(Phase::Start));
    assert!(late.message().contains("700ms"), "{late}");
}

#[test]
fn timeouts_drain() {
    for profile in ["", "profile = 'thread'\nthreads = 2\ngil = 'warn'\n"] {
        let keys = format!("{profile}cancel_grace = '100ms'\ntimeouts = {{ drain = '150ms' }}");
        let snakepit = start("keyed.py", &keys).unwrap();
        let running = endless(&snakepit, "deaf");
        // The call ignores its end for hours. It is cut off for its caller, and its worker ended for
        // it; whoever waited for that by the deadline alone would wait for most of an hour here.
        let late = wait(snakepit.shutdown(Duration::from_secs(3600))).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout(Phase::Drain));
        assert!(late.message().contains("150ms"), "{late}");
        assert_eq!(wait(running).unwrap_err().kind(), ErrorKind::Timeout(Phase::Drain));
    }
}

#[test]
fn session_affinity() {
    for (affinity, strict) in [("hint", false), ("strict_queue", true), ("strict_fail_fast", true)]
    {
        let keys = format!("session.affinity = '{affinity}'");
        let snakepit = start("plain.py", &keys).unwrap();
        let ada = snakepit.session("ada");
        assert_eq!(wait(ada.execute::<u64>("add", [1, 2])).unwrap(), 3);
        assert_eq!(ada.info().unwrap().unwrap().strict, strict, "{affinity}");
        stop(snakepit);
    }
}
