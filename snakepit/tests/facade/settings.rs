//! Settings reach the workers.

use serde_json::{Value as Json, json};
use snakepit::config::PoolConfig;
use snakepit::{ErrorKind, PoolReport, Snakepit};

use crate::support::{adapter, builder, python, stop, wait};

#[test]
fn file_sets_up_several_pools_and_its_directory_is_the_base() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(adapter("plain.py"), directory.path().join("local.py")).unwrap();
    std::fs::create_dir(directory.path().join("work")).unwrap();
    let file = directory.path().join("pools.toml");
    let text = format!(
        r#"
        [pool.default]
        adapter = "local.py"
        workers = 1
        python = "{python}"
        cwd = "work"
        env = {{ SNAKEPIT_TEST_VALUE = "set" }}

        [pool.greeters]
        adapter = "local.py:Configured"
        workers = 2
        python = "{python}"
        adapter_args = {{ greeting = "hi", times = 2 }}
        "#,
        python = python().display()
    );
    std::fs::write(&file, text).unwrap();
    let snakepit = wait(Snakepit::from_file(&file)).unwrap();
    assert_eq!(snakepit.pools(), ["default", "greeters"]);

    let who: Json = wait(snakepit.execute("who", ())).unwrap();
    assert_eq!(who["env"], "set");
    let work = directory.path().join("work").canonicalize().unwrap();
    assert_eq!(who["cwd"], work.to_str().unwrap());
    let greeting = snakepit.call("greet").args(["you"]).pool("greeters");
    assert_eq!(wait(greeting.execute::<String>()).unwrap(), "hi hi you");
    assert_eq!(snakepit.stats().pools.len(), 2);
    stop(snakepit);
}

#[test]
fn invalid_settings_are_all_told_before_anything_starts() {
    let error = wait(Snakepit::builder().start()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let error =
        wait(builder("plain.py").workers(0).default_pool(|p| p.queue(0)).start()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("workers") && error.message().contains("queue"), "{error}");
    assert!(error.details()["pool.default.workers"].starts_with("invalid_pool_size"), "{error:?}");
}

#[test]
fn builder_calls_are_over_the_document_key_by_key() {
    let document = format!(
        "[pool.default]\nadapter = '{}'\nworkers = 2\nenv = {{ SNAKEPIT_TEST_VALUE = 'document' }}",
        adapter("plain.py")
    );
    let config = snakepit::config::Config::from_toml(&document).unwrap();
    let builder = Snakepit::builder().config(config).workers(1).python(python());
    let snakepit = wait(builder.start()).unwrap();
    let who: Json = wait(snakepit.execute("who", ())).unwrap();
    assert_eq!(who["env"], "document", "what the calls do not set stays");
    let PoolReport::Running { workers, .. } = snakepit.stats().pools.remove(0) else {
        panic!("the pool runs");
    };
    assert_eq!(workers.len(), 1);
    stop(snakepit);
}

#[test]
fn two_pools_of_one_name_are_refused() {
    let pool = PoolConfig::builder("default").adapter("a.py").build().unwrap();
    let error = wait(builder("plain.py").pool(pool).start()).err().unwrap();
    assert!(error.details()["pool.default"].starts_with("duplicate_pool_names"), "{error:?}");
}

#[test]
fn strict_pool_and_its_limits_are_the_engines() {
    let pool = builder("plain.py").default_pool(|pool| pool.queue(1).prefetch(0));
    let snakepit = wait(pool.start()).unwrap();
    let call = || Box::pin(snakepit.call("nap").args(json!([5.0])).execute::<f64>());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let (mut running, mut queued, mut refused) = (call(), call(), call());
    assert!(running.as_mut().poll(&mut context).is_pending());
    assert!(queued.as_mut().poll(&mut context).is_pending());
    let std::task::Poll::Ready(Err(error)) = refused.as_mut().poll(&mut context) else {
        panic!("one runs, one waits, and there is room for no third");
    };
    assert_eq!(error.kind(), ErrorKind::PoolSaturated);
    drop((running, queued));
    stop(snakepit);
}
