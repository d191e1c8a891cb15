//! The breaker round calls: what it counts, whom it refuses, what it says.

use std::sync::Arc;

use snakepit_core::resilience::{Breaker, BreakerOptions, CircuitState};
use snakepit_core::testkit::Told;
use snakepit_core::{Error, ErrorKind, PoolName};

use crate::{SECOND, clock, lost, wrong};

fn breaker(change: impl FnOnce(&mut BreakerOptions)) -> Breaker {
    let mut options = BreakerOptions::default();
    change(&mut options);
    Breaker::new(PoolName::from("pool"), options, clock())
}

async fn call(breaker: &Breaker, command: &str, end: Result<(), Error>) -> Result<(), ErrorKind> {
    let command = Arc::from(command);
    let ended = breaker.run(&command, || async move { end });
    ended.await.map_err(|error| error.kind())
}

async fn fail(breaker: &Breaker, times: usize) {
    for _ in 0..times {
        call(breaker, "c", Err(lost())).await.unwrap_err();
    }
}

fn state(breaker: &Breaker) -> CircuitState {
    breaker.status()[0].state
}

#[tokio::test(start_paused = true)]
async fn five_failures_open_it_and_a_probe_closes_it_after_its_time() {
    let told = Told::default();
    let _listening = told.listen();
    let breaker = breaker(|_| {});
    fail(&breaker, 4).await;
    call(&breaker, "c", Ok(())).await.unwrap();
    fail(&breaker, 4).await;
    assert_eq!(state(&breaker), CircuitState::Closed, "not in a row");
    fail(&breaker, 1).await;
    assert_eq!(state(&breaker), CircuitState::Open);

    tokio::time::advance(29 * SECOND).await;
    let error = breaker.admit(&Arc::from("c")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CircuitOpen);
    assert_eq!(error.details()["retry_in_ms"], "1000", "it says when");
    assert!(error.message().contains("in 1000 ms"), "{error}");

    tokio::time::advance(SECOND).await;
    let command = Arc::from("c");
    let probe = breaker.admit(&command).unwrap();
    assert_eq!(state(&breaker), CircuitState::HalfOpen);
    let beside = breaker.admit(&command).unwrap_err();
    assert!(beside.message().contains("at this moment"), "{beside}");
    drop(probe);
    call(&breaker, "c", Ok(())).await.unwrap();
    assert_eq!(state(&breaker), CircuitState::Closed, "a dropped probe lets another one try");
    let counts = breaker.counts();
    assert_eq!((counts.opened, counts.closed, counts.refused), (1, 1, 2));
    let text = told.text();
    for part in ["a circuit opens", "is tried again", "closed again", "pool=pool", "SIGKILL"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_opens_it_for_as_long_again() {
    let breaker = breaker(|_| {});
    fail(&breaker, 5).await;
    tokio::time::advance(30 * SECOND).await;
    fail(&breaker, 1).await;
    assert_eq!(breaker.status()[0].retry_in, Some(30 * SECOND));
    assert_eq!(call(&breaker, "c", Ok(())).await, Err(ErrorKind::CircuitOpen));
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_about_the_pool_neither_opens_nor_closes_it() {
    let breaker = breaker(|_| {});
    fail(&breaker, 4).await;
    for kind in [
        ErrorKind::Cancelled,
        ErrorKind::RateLimited,
        ErrorKind::PoolSaturated,
        ErrorKind::WorkerBusy,
    ] {
        call(&breaker, "c", Err(Error::new(kind, "no"))).await.unwrap_err();
    }
    for _ in 0..9 {
        call(&breaker, "c", Err(wrong())).await.unwrap_err();
    }
    assert_eq!(breaker.status()[0].failures, 4);
    fail(&breaker, 1).await;
    assert_eq!(state(&breaker), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn each_command_has_a_circuit_of_its_own_when_asked() {
    let breaker = breaker(|options| options.per_command = true);
    assert!(breaker.status().is_empty());
    fail(&breaker, 5).await;
    assert_eq!(call(&breaker, "c", Ok(())).await, Err(ErrorKind::CircuitOpen));
    call(&breaker, "other", Ok(())).await.unwrap();
    let status = breaker.status();
    assert_eq!(status.len(), 1, "nothing is kept of what never failed");
    assert_eq!(status[0].command.as_deref(), Some("c"));
    assert!(!breaker.reset(Some("other")));
    assert!(breaker.reset(Some("c")));
    call(&breaker, "c", Ok(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_result_that_comes_after_a_reset_counts_for_nothing() {
    let breaker = breaker(|options| options.failures = 1);
    let command = Arc::from("c");
    let late = breaker.admit(&command).unwrap();
    fail(&breaker, 1).await;
    assert!(breaker.reset(None));
    late.settle(&Err::<(), _>(lost()));
    assert_eq!(state(&breaker), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn only_the_kinds_that_are_named_count() {
    let breaker = breaker(|options| {
        options.kinds = Some([ErrorKind::Python].into_iter().collect());
        options.failures = 1;
    });
    fail(&breaker, 9).await;
    assert_eq!(breaker.counts().opened, 0);
    let raised = Error::new(ErrorKind::Python, "it raised");
    call(&breaker, "c", Err(raised)).await.unwrap_err();
    assert_eq!(state(&breaker), CircuitState::Open);
}
