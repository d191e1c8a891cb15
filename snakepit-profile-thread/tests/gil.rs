//! The GIL: what is seen of it, who turned it on, and what each policy makes of that.

mod support;

use serde_json::json;
use snakepit_core::ErrorKind;
use snakepit_core::testkit::Told;
use snakepit_profile_thread::{GilPolicy, ThreadOptions};
use support::{LONG, Running, adapter, free_threaded, needs_gil, side_by_side, start, with_gil};

const POLICIES: [GilPolicy; 3] = [GilPolicy::Refuse, GilPolicy::Degrade, GilPolicy::Warn];

/// Workers that can find the extension.
fn tempted(mut options: ThreadOptions, policy: GilPolicy) -> (ThreadOptions, tempfile::TempDir) {
    let extension = needs_gil();
    let path = extension.path().display().to_string();
    options.worker.env.push(("PYTHONPATH".to_owned(), path));
    options.gil = policy;
    (options, extension)
}

async fn capacity_becomes(running: &Running, capacity: usize) {
    running.until("its capacity", |running| running.worker().capacity == capacity).await;
}

#[tokio::test]
async fn an_adapter_that_needs_the_gil_is_refused_degraded_or_told_of_and_the_module_is_named() {
    for policy in POLICIES {
        let told = Told::default();
        let _listening = told.listen();
        let options = ThreadOptions::new(free_threaded(), adapter("with_needs_gil.py"), 3);
        let (options, _extension) = tempted(options, policy);
        let started = start(options, 1).await;
        if policy == GilPolicy::Refuse {
            let error = started.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::AdapterFailed);
            assert!(error.message().contains("`needs_gil` turned the GIL on"), "{error:?}");
            assert!(error.help().unwrap().contains("degrade"), "{error:?}");
            continue;
        }
        let running = started.unwrap();
        let worker = running.worker();
        assert_eq!(worker.info.metadata["python.gil"], "true");
        assert_eq!(worker.info.metadata["python.gil_module"], "needs_gil");
        assert_eq!(worker.capacity, if policy == GilPolicy::Warn { 3 } else { 1 });
        assert_eq!(running.call::<String>("name", json!({})).await, "needs_gil");
        assert!(told.text().contains("`needs_gil` turned the GIL on"), "{}", told.text());
        running.shutdown().await;
    }
}

#[tokio::test]
async fn a_call_that_turns_the_gil_on_is_noticed_at_once_and_the_policy_acts() {
    for policy in POLICIES {
        let told = Told::default();
        let _listening = told.listen();
        let (options, _extension) = tempted(side_by_side(3), policy);
        let running = start(options, 1).await.unwrap();
        let old = running.worker();
        assert_eq!(old.info.metadata["python.gil"], "false");
        // Modules that can do without change nothing.
        running.call::<String>("load", json!({"module": "_queue"})).await;
        running.call::<String>("load", json!({"module": "json.tool"})).await;
        assert!(!told.text().contains("turned the GIL on"), "{}", told.text());
        running.call::<String>("load", json!({"module": "needs_gil"})).await;
        running
            .until("it is told of", |_| told.text().contains("`needs_gil` turned the GIL on"))
            .await;
        match policy {
            GilPolicy::Degrade => capacity_becomes(&running, 1).await,
            GilPolicy::Refuse => {
                running
                    .until("it is replaced", |running| {
                        let workers = running.pool.workers();
                        workers.len() == 1 && workers[0].info.id != old.info.id
                    })
                    .await;
                assert_eq!(running.supervisor.status().recycles.unfit, 1);
            }
            _ => assert_eq!(running.worker().capacity, 3),
        }
        running.call::<u32>("pid", json!({})).await;
        running.shutdown().await;
    }
}

#[tokio::test]
async fn an_interpreter_that_cannot_be_without_a_gil_serves_with_one_warning_for_the_pool() {
    let told = Told::default();
    let _listening = told.listen();
    let mut options = side_by_side(2);
    options.worker.python = with_gil();
    let running = start(options, 2).await.unwrap();
    assert_eq!(running.pool.stats().capacity, 4);
    let warnings = told.text().matches("cannot be without a GIL").count();
    assert_eq!(warnings, 1, "{}", told.text());
    running.shutdown().await;
}

#[tokio::test]
async fn an_interpreter_that_cannot_be_without_a_gil_may_be_refused_or_degraded() {
    let mut options = side_by_side(2);
    options.worker.python = with_gil();
    options.gil = GilPolicy::Degrade;
    let running = start(options.clone(), 1).await.unwrap();
    assert_eq!(running.worker().capacity, 1);
    running.shutdown().await;
    options.gil = GilPolicy::Refuse;
    let error = tokio::time::timeout(LONG, start(options, 1)).await.unwrap().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InterpreterUnsupported);
    assert!(error.help().unwrap().contains("3.14t"), "{error:?}");
}
