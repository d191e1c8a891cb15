//! Pools of both profiles in one host.

use serde_json::json;
use snakepit::config::GilPolicy;
use snakepit::{Config, ErrorKind, PoolConfig, PoolReport, Snakepit};

use crate::support::{adapter, free_threaded, python, stop, wait};

#[test]
fn a_pool_of_processes_and_one_of_threads_serve_side_by_side() {
    let text = format!(
        "[pool.processes]\nadapter = '{adapter}'\npython = '{gil}'\nworkers = 2\nprefetch = 0\n\
         [pool.threads]\nadapter = '{adapter}'\npython = '{free}'\nprofile = 'thread'\nthreads = 2\n\
         gil = 'refuse'\n",
        adapter = adapter("together.py"),
        gil = python().display(),
        free = free_threaded().display(),
    );
    let config = Config::from_toml(&text).unwrap();
    let snakepit = wait(Snakepit::builder().config(config).start()).unwrap();
    let place = tempfile::tempdir().unwrap();
    let at_once = |pool: &'static str| {
        let call = |own: String, other: String| {
            let arguments = json!({"path": place.path(), "own": own, "other": other});
            snakepit.call("rendezvous").pool(pool).args(arguments).execute::<u32>()
        };
        let name = |n: usize| format!("{pool}-{n}");
        wait(futures_util::future::try_join(call(name(0), name(1)), call(name(1), name(0))))
            .unwrap()
    };
    let (first, second) = at_once("processes");
    assert_ne!(first, second, "two processes");
    let (first, second) = at_once("threads");
    assert_eq!(first, second, "two threads of one");

    // A batch has room for as many calls as there are slots, also before it knows how long they are.
    let batched = ["batch-0", "batch-1"].map(|own| {
        let other = if own == "batch-0" { "batch-1" } else { "batch-0" };
        let arguments = json!({"path": place.path(), "own": own, "other": other});
        snakepit.call("rendezvous").pool("threads").args(arguments)
    });
    let pids = wait(snakepit.execute_batch::<u32>(batched));
    assert!(pids.iter().all(|pid| pid.as_ref().is_ok_and(|pid| *pid == first)), "{pids:?}");

    let stats = snakepit.stats();
    let profiles = stats.pools.iter().map(|report| match report {
        PoolReport::Running { workers, .. } => (workers[0].info.profile, workers[0].capacity),
        PoolReport::Failed { error, .. } => panic!("{error:?}"),
        _ => panic!("a report of another kind"),
    });
    let profiles: Vec<_> = profiles.collect();
    assert_eq!(profiles, [("process", 1), ("thread", 2)]);
    stop(snakepit);
}

#[test]
fn a_thread_pool_that_refuses_a_gil_does_not_start_on_an_interpreter_with_one() {
    let pool = PoolConfig::builder("default")
        .adapter(adapter("together.py"))
        .python(python())
        .profile("thread")
        .threads(2)
        .gil(GilPolicy::Refuse)
        .build()
        .unwrap();
    let error = wait(Snakepit::builder().pool(pool).start()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InterpreterUnsupported);
    assert!(error.help().unwrap().contains("3.14t"), "{error:?}");
}

#[test]
fn free_threaded_python_3_13_is_refused_and_the_remedy_named() {
    let program = "../snakepit-compat/tests/programs/python-3.13t";
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(program);
    let pool = PoolConfig::builder("default")
        .adapter(adapter("together.py"))
        .python(python)
        .profile("thread")
        .build()
        .unwrap();
    let error = wait(Snakepit::builder().pool(pool).start()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InterpreterUnsupported);
    assert!(error.message().contains("python3.14t"), "{error:?}");
}
