//! Attempts, pauses, deadline, budget.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use snakepit_core::resilience::{Budget, Retry, RetryPolicy, Schedule, Subject};
use snakepit_core::testkit::Told;
use snakepit_core::{Error, ErrorKind, PythonException};
use tokio::time::Instant;

use crate::{MILLI, SECOND, lost, subject, timing, wrong};

fn policy(attempts: u32) -> RetryPolicy {
    RetryPolicy::new(attempts).pauses(Schedule::Linear, 100 * MILLI, SECOND).jitter(0.0)
}

fn retry(policy: RetryPolicy) -> Retry {
    Retry::new(policy, timing(), 7)
}

/// Runs attempts that end as listed, the last for ever; gives the result and when each began.
async fn run(
    retry: &Retry,
    subject: &Subject,
    ends: &[Result<u32, Error>],
) -> (Result<u32, Error>, Vec<Duration>) {
    let start = Instant::now();
    let began = RefCell::new(Vec::new());
    let result = retry.run(subject, || {
        let n = began.borrow().len();
        began.borrow_mut().push(start.elapsed());
        let end = ends[n.min(ends.len() - 1)].clone();
        async move { end }
    });
    let result = result.await;
    (result, began.into_inner())
}

fn millis(times: &[Duration]) -> Vec<u128> {
    times.iter().map(Duration::as_millis).collect()
}

#[tokio::test(start_paused = true)]
async fn the_third_attempt_saves_a_call_that_fails_twice() {
    let told = Told::default();
    let _listening = told.listen();
    let retry = retry(policy(3));
    let (result, began) = run(&retry, &subject(), &[Err(lost()), Err(lost()), Ok(5)]).await;
    assert_eq!(result.unwrap(), 5);
    assert_eq!(millis(&began), [0, 100, 300], "the pauses are the schedule's");
    assert_eq!((retry.counts().retries, retry.counts().recovered), (2, 1));
    let text = told.text();
    assert_eq!(text.matches("a call is tried again").count(), 2, "{text}");
    assert!(text.contains("command=command") && text.contains("attempt=3"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn attempts_end_with_their_number_and_the_last_error() {
    let retry = retry(policy(3));
    let (result, began) = run(&retry, &subject(), &[Err(lost())]).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    assert_eq!((error.details()["attempts"].as_str(), began.len()), ("3", 3));
    assert_eq!(retry.counts().exhausted, 1);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_not_idempotent_run_once_unless_the_policy_says_otherwise() {
    let mut subject = subject();
    subject.idempotent = false;
    let (_, began) = run(&retry(policy(3)), &subject, &[Err(lost())]).await;
    assert_eq!(began.len(), 1);
    let (_, began) = run(&retry(policy(3).any_call()), &subject, &[Err(lost())]).await;
    assert_eq!(began.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_at_or_after_the_deadline() {
    for (deadline, attempts) in [(99, 1), (100, 1), (101, 2), (300, 2), (301, 3)] {
        let mut subject = subject();
        subject.deadline = Some(Instant::now() + deadline * MILLI);
        let (result, began) = run(&retry(policy(9)), &subject, &[Err(lost())]).await;
        let kind = result.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::WorkerLost { maybe_executed: true });
        assert_eq!(began.len(), attempts, "{deadline} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn only_failures_that_may_pass_are_tried_again() {
    let raised = |type_name: &str| {
        let mut exception = PythonException::default();
        exception.type_name = type_name.to_owned();
        exception.bases = vec!["OSError".to_owned(), "Exception".to_owned()];
        Error::new(ErrorKind::Python, "it raised").with_python(exception)
    };
    let refused = Error::new(ErrorKind::CircuitOpen, "open");
    let some = policy(2).exception("OSError").exception("KeyError");
    for (policy, error, attempts) in [
        (policy(2), wrong(), 1),
        (policy(2), refused.clone(), 1),
        (policy(2), raised("TimeoutError"), 2),
        (policy(2).kinds([ErrorKind::Python]), lost(), 1),
        (policy(2).kinds([ErrorKind::CircuitOpen]), refused, 2),
        (policy(2).kinds([ErrorKind::WorkerLost { maybe_executed: false }]), lost(), 2),
        (some.clone(), raised("TimeoutError"), 2),
        (policy(2).exception("ValueError"), raised("TimeoutError"), 1),
        (some, lost(), 2),
    ] {
        let (_, began) = run(&retry(policy.clone()), &subject(), &[Err(error.clone())]).await;
        assert_eq!(began.len(), attempts, "{error:?} by {policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_link_is_tried_again_at_once() {
    let broken = Err(Error::new(ErrorKind::Protocol, "nonsense"));
    let (_, began) = run(&retry(policy(3)), &subject(), &[broken]).await;
    assert_eq!(millis(&began), [0, 0, 200]);
}

#[tokio::test(start_paused = true)]
async fn the_budget_keeps_further_attempts_a_share_of_the_calls() {
    let retry = retry(policy(2)).budget(Budget::new(0.1));
    let (attempts, subject) = (Cell::new(0), subject());
    for _ in 0..1000 {
        let failing = retry.run(&subject, || {
            attempts.set(attempts.get() + 1);
            async { Err::<u32, _>(lost()) }
        });
        failing.await.unwrap_err();
    }
    assert_eq!(attempts.get(), 1000 + 10 + 100, "the reserve, and a tenth");
    assert_eq!(retry.counts().over_budget, 1000 - 110);
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_policy_of_its_own() {
    let retry = retry(policy(5));
    let (attempts, subject) = (Cell::new(0), subject());
    let own = RetryPolicy::never();
    let failing = retry.run_with(&own, &subject, || {
        attempts.set(attempts.get() + 1);
        async { Err::<u32, _>(lost()) }
    });
    failing.await.unwrap_err();
    assert_eq!(attempts.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn pauses_repeat_with_their_seed_and_differ_without() {
    let jittery = || policy(6).jitter(0.5);
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let retry = Retry::new(jittery(), timing(), seed);
        seen.push(run(&retry, &subject(), &[Err(lost())]).await.1);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}
