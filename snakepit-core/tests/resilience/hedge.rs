//! Second attempts, and calls that are made elsewhere.

use std::cell::Cell;
use std::time::Duration;

use snakepit_core::resilience::{Budget, Fallback, Hedge, Subject};
use snakepit_core::{Error, ErrorKind, Phase};
use tokio::time::Instant;

use crate::{MILLI, lost, subject, timing, wrong};

struct Flag<'a>(&'a Cell<u32>);

impl Drop for Flag<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Runs attempts that take so long and end so; gives the result, the time, and how many there were.
async fn run(
    hedge: &Hedge,
    subject: &Subject,
    ends: [(u32, Result<u32, Error>); 2],
) -> (Result<u32, Error>, Duration, u32) {
    let (start, began, gone) = (Instant::now(), Cell::new(0), Cell::new(0));
    let result = hedge.run(subject, || {
        let (time, end) = ends[began.get() as usize].clone();
        began.set(began.get() + 1);
        let flag = Flag(&gone);
        async move {
            let _flag = flag;
            tokio::time::sleep(time * MILLI).await;
            end
        }
    });
    let result = result.await;
    assert_eq!(began.get(), gone.get(), "an attempt outlives its call");
    (result, start.elapsed(), began.get())
}

fn hedge() -> Hedge {
    Hedge::new(100 * MILLI, Budget::new(1.0), timing())
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_gets_a_second_attempt_and_the_loser_is_dropped() {
    let hedge = hedge();
    let (result, time, attempts) = run(&hedge, &subject(), [(900, Ok(1)), (50, Ok(2))]).await;
    assert_eq!((result.unwrap(), time, attempts), (2, 150 * MILLI, 2));
    assert_eq!((hedge.counts().hedged, hedge.counts().won), (1, 1));
    let (result, time, _) = run(&hedge, &subject(), [(120, Ok(1)), (50, Ok(2))]).await;
    assert_eq!((result.unwrap(), time), (1, 120 * MILLI));
    assert_eq!((hedge.counts().hedged, hedge.counts().won), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn fast_calls_and_calls_that_are_not_idempotent_get_none() {
    let hedge = hedge();
    let (_, _, attempts) = run(&hedge, &subject(), [(99, Ok(1)), (0, Ok(2))]).await;
    assert_eq!(attempts, 1);
    let mut other = subject();
    other.idempotent = false;
    let (_, _, attempts) = run(&hedge, &other, [(900, Ok(1)), (0, Ok(2))]).await;
    assert_eq!(attempts, 1);
    let mut late = subject();
    late.deadline = Some(Instant::now() + 100 * MILLI);
    let (_, _, attempts) = run(&hedge, &late, [(900, Ok(1)), (0, Ok(2))]).await;
    assert_eq!(attempts, 1, "its deadline is over");
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_leaves_it_to_the_other() {
    for (first, second, expected, took) in [
        ((150, Err(lost())), (100, Ok(2)), Ok(2), 200),
        ((900, Ok(1)), (10, Err(lost())), Ok(1), 900),
        ((150, Err(lost())), (100, Err(wrong())), Err(ErrorKind::InvalidArguments), 200),
        ((900, Err(lost())), (10, Err(wrong())), Err(lost().kind()), 900),
        // It has failed before there was another.
        ((10, Err(lost())), (0, Ok(2)), Err(lost().kind()), 10),
    ] {
        let (result, time, _) = run(&hedge(), &subject(), [first, second]).await;
        assert_eq!((result.map_err(|error| error.kind()), time), (expected, took * MILLI));
    }
}

#[tokio::test(start_paused = true)]
async fn second_attempts_stay_within_the_budget() {
    let hedge = Hedge::new(100 * MILLI, Budget::new(0.0), timing());
    let mut made = 0;
    for _ in 0..20 {
        made += run(&hedge, &subject(), [(900, Ok(1)), (0, Ok(2))]).await.2 - 1;
    }
    assert_eq!((made, hedge.counts().over_budget), (10, 10), "the reserve");
}

#[tokio::test(start_paused = true)]
async fn elsewhere_goes_what_has_not_run_and_what_may_run_twice() {
    let queued = Error::new(ErrorKind::Timeout(Phase::Queue), "no slot");
    let broken = Error::new(ErrorKind::AdapterFailed, "no module");
    let raised = Error::new(ErrorKind::Python, "it raised");
    let raising: Option<_> = Some([ErrorKind::Python].into_iter().collect());
    for (kinds, error, idempotent, goes) in [
        (None, queued.clone(), false, true),
        (None, broken, false, true),
        (None, Error::worker_lost(false, "it died"), false, true),
        (None, lost(), false, false),
        (None, lost(), true, true),
        (None, wrong(), true, false),
        (None, raised.clone(), true, false),
        (raising.clone(), raised.clone(), true, true),
        (raising.clone(), raised, false, false),
        (raising, queued, true, false),
    ] {
        let mut subject = subject();
        subject.idempotent = idempotent;
        let fallback = Fallback::new(kinds);
        let time = timing();
        let first = || async { Err(error.clone()) };
        let result = fallback.run(&subject, &time, first, || async { Ok("elsewhere") }).await;
        assert_eq!(result.is_ok(), goes, "{error:?}, idempotent: {idempotent}");
        assert_eq!(fallback.counts().recovered, u64::from(goes));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_elsewhere_after_the_deadline() {
    let (fallback, time, mut subject) = (Fallback::default(), timing(), subject());
    subject.deadline = Some(Instant::now());
    let first = || async { Err::<(), _>(lost()) };
    let result = fallback.run(&subject, &time, first, || async { Ok(()) }).await;
    assert_eq!(result.unwrap_err().kind(), lost().kind());
}
