//! How workers come to be, as far as a program can choose and see it.

use snakepit::config::Start;
use snakepit::{PoolReport, Snakepit};

use crate::support::{builder, python, stop, wait};

/// How each worker of the pool was started.
fn starts(snakepit: &Snakepit) -> Vec<String> {
    let report = snakepit.stats().pools.remove(0);
    let PoolReport::Running { workers, .. } = report else { panic!("the pool runs") };
    workers.into_iter().map(|worker| worker.info.metadata["start"].clone()).collect()
}

#[test]
fn workers_are_forked_unless_the_settings_say_otherwise() {
    let forked = wait(builder("plain.py").workers(2).start()).unwrap();
    assert_eq!(starts(&forked), ["zygote", "zygote"]);
    stop(forked);
    let pool = builder("plain.py").default_pool(|pool| pool.workers(2).start(Start::Spawn));
    let spawned = wait(pool.start()).unwrap();
    assert_eq!(starts(&spawned), ["spawn", "spawn"]);
    stop(spawned);
}

#[test]
fn an_adapter_that_imports_pyarrow_is_forked_too() {
    let forked = wait(builder("record_batches.py").workers(2).start()).unwrap();
    assert_eq!(starts(&forked), ["zygote", "zygote"]);
    let rows: snakepit::RecordBatches = wait(forked.execute("make", (3,))).unwrap();
    assert_eq!(rows.num_rows(), 3);
    stop(forked);
}

#[test]
fn recycling_a_whole_pool_takes_the_adapter_as_it_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edition.py");
    let write = |edition: u32| {
        let text = format!(
            "import snakepit\n@snakepit.tool\ndef edition() -> int:\n    return {edition}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    let edition = |snakepit: &Snakepit| wait(snakepit.call("edition").execute::<u32>()).unwrap();
    write(1);
    let pool = Snakepit::builder().adapter(file.to_str().unwrap()).python(python());
    // Both files are of one second and one length: Python would take the first's code for both.
    let pool = pool.default_pool(|pool| pool.env("PYTHONDONTWRITEBYTECODE", "1")).workers(1);
    let snakepit = wait(pool.start()).unwrap();
    assert_eq!(edition(&snakepit), 1);
    write(2);
    wait(snakepit.recycle("default", None)).unwrap();
    assert_eq!(edition(&snakepit), 2);
    stop(snakepit);
}
