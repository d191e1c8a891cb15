//! Settings in the forms of the original run: the flat one, and the one with several pools.

use serde_json::{Value as Json, json};
use snakepit::Snakepit;

use crate::support::{adapter, free_threaded, python, stop, wait};

fn ping_and_add(snakepit: &Snakepit, pool: &str) {
    let pong: Json = wait(snakepit.call("ping").args(json!({})).pool(pool).execute()).unwrap();
    assert_eq!(pong["status"], "pong", "{pool}: {pong}");
    let args = json!({ "a": 5, "b": 3 });
    let sum: f64 = wait(snakepit.call("add").args(args).pool(pool).execute()).unwrap();
    assert_eq!(sum, 8.0, "{pool}");
}

#[test]
fn flat_form_runs_as_one_process_pool() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("snakepit.json");
    let document = json!({
        "pooling_enabled": true,
        "adapter_module": "Snakepit.Adapters.GRPCPython",
        "pool_size": 2,
        "pool_config": { "pool_size": 2, "startup_batch_size": 8 },
        "grpc_config": { "base_port": 50051, "port_range": 100 },
        "worker_ttl": [3600, "seconds"],
        "worker_max_requests": 5000,
        "python_path": python(),
    });
    std::fs::write(&file, document.to_string()).unwrap();
    let snakepit = wait(Snakepit::from_file(&file)).unwrap();
    assert_eq!(snakepit.pools(), ["default"]);
    let pong: Json = wait(snakepit.execute("ping", json!({}))).unwrap();
    assert_eq!(pong["status"], "pong");
    ping_and_add(&snakepit, "default");
    stop(snakepit);
}

#[test]
fn form_with_several_pools_runs_each_with_its_profile() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("snakepit.yaml");
    let document = format!(
        "pools:\n\
         - name: default\n  worker_profile: process\n  pool_size: 1\n  \
           adapter_module: Snakepit.Adapters.GRPCPython\n  python_path: {process}\n\
         - name: hpc\n  worker_profile: thread\n  pool_size: 1\n  threads_per_worker: 4\n  \
           adapter_module: Snakepit.Adapters.GRPCPython\n  python_path: {thread}\n  \
           adapter_args: [--adapter, snakepit_bridge.adapters.showcase.showcase_adapter.ShowcaseAdapter]\n  \
           worker_ttl: [1, hours]\n",
        process = python().display(),
        thread = free_threaded().display(),
    );
    std::fs::write(&file, document).unwrap();
    let snakepit = wait(Snakepit::from_file(&file)).unwrap();
    assert_eq!(snakepit.pools(), ["default", "hpc"]);
    ping_and_add(&snakepit, "default");
    ping_and_add(&snakepit, "hpc");
    // By the names that the original's own showcase has.
    let counted = |command: &str, arguments: Json| {
        let call = snakepit.call(command).pool("hpc").session("s").args(arguments);
        wait(call.execute::<Json>()).unwrap()
    };
    assert_eq!(counted("set_counter", json!({"value": 7})), json!({"value": 7}));
    assert_eq!(counted("increment_counter", json!({})), json!({"value": 8}));
    assert_eq!(counted("echo", json!({"message": "hi"})), json!({"echoed": {"message": "hi"}}));
    stop(snakepit);
}

#[test]
fn adapters_are_named_and_found_as_in_the_original() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("snakepit.json");
    let document = json!({
        "pools": [{
            "name": "default",
            "pool_size": 1,
            "adapter_module": "Snakepit.Adapters.GRPCPython",
            "adapter_args": ["--adapter", "calculator.CalculatorAdapter"],
            "adapter_env": { "PYTHONPATH": adapter("original") },
            "python_path": python(),
        }, {
            "name": "threads",
            "worker_profile": "thread",
            "pool_size": 1,
            "threads_per_worker": 2,
            "adapter_args":
                ["--adapter", "snakepit_bridge.adapters.threaded_showcase.ThreadedShowcaseAdapter"],
            "python_path": free_threaded(),
        }],
    });
    std::fs::write(&file, document.to_string()).unwrap();
    let snakepit = wait(Snakepit::from_file(&file)).unwrap();
    let sum: i64 = wait(snakepit.execute("add", json!({"a": 5, "b": 3}))).unwrap();
    assert_eq!(sum, 8);
    let call = snakepit.call("compute_intensive").pool("threads");
    let computed: Json =
        wait(call.args(json!({"data": [1, 2], "iterations": 10})).execute()).unwrap();
    assert_eq!(computed["input_size"], 2);
    stop(snakepit);
}
