//! Futures only wait: they work without a runtime, on any, and outlive the one that polled them.

use std::future::poll_fn;
use std::task::Poll;

use serde_json::Value as Json;

use crate::support::{builder, start, stop, wait};

#[test]
fn tokio_and_no_runtime_at_all_serve_alike() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let snakepit = runtime.block_on(builder("plain.py").start()).unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let snakepit = snakepit.clone();
            runtime.spawn(async move { snakepit.execute::<i64>("add", (n, 1)).await })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(wait(task).unwrap().unwrap(), n as i64 + 1);
    }
    let local = snakepit.clone();
    let on_io = snakepit.handle().spawn(async move { local.execute::<i64>("add", (1, 1)).await });
    assert_eq!(wait(on_io).unwrap().unwrap(), 2);
    stop(snakepit);
}

#[test]
fn call_outlives_the_runtime_that_polled_it_first() {
    let snakepit = start("plain.py");
    let mut stream = wait(snakepit.call("count").args((3, 0.01)).stream::<u64>()).unwrap();
    // Behind the stream, so it cannot have ended when it is polled.
    let mut call = Box::pin(snakepit.call("nap").args([0.2]).execute::<f64>());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    runtime.block_on(async {
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
    });
    drop(runtime);
    assert_eq!(wait(stream.next()).unwrap().unwrap(), 2);
    assert_eq!(wait(stream.next()).unwrap().unwrap(), 3);
    assert_eq!(wait(call).unwrap(), 0.2);
    stop(snakepit);
}

#[test]
fn abandoned_start_ends_what_it_started() {
    let mut starting = Box::pin(builder("plain.py").start());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(starting.as_mut().poll(&mut context).is_pending());
    drop(starting);
    let snakepit = start("plain.py");
    assert!(wait(snakepit.execute::<Json>("echo", ())).is_ok());
    stop(snakepit);
}
