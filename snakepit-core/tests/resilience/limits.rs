//! The two that refuse: by rate, and by how busy the pool is.

use std::time::Duration;

use proptest::prelude::*;
use snakepit_core::resilience::{RateLimit, Shed, ShedOptions};
use snakepit_core::testkit::FakeWorker;
use snakepit_core::{Clock, Codec, ErrorKind, Payload, Pool, PoolName, PoolOptions, Request};
use tokio::runtime::Handle;

use crate::{MILLI, SECOND, clock};

#[tokio::test(start_paused = true)]
async fn a_bucket_gives_its_burst_and_then_its_rate() {
    let limit = RateLimit::new(PoolName::from("pool"), 10, SECOND, 3, clock());
    let taken = || std::iter::repeat_with(|| limit.admit()).take_while(Result::is_ok).count();
    assert_eq!(taken(), 3);
    let error = limit.admit().unwrap_err();
    assert_eq!(
        (error.kind(), error.details()["retry_in_ms"].as_str()),
        (ErrorKind::RateLimited, "101")
    );
    tokio::time::advance(99 * MILLI).await;
    assert_eq!(taken(), 0);
    tokio::time::advance(MILLI).await;
    assert_eq!(taken(), 1);
    tokio::time::advance(250 * MILLI).await;
    assert_eq!(taken(), 2, "half of the third has come");
    tokio::time::advance(3600 * SECOND).await;
    assert_eq!(taken(), 3, "no more than a burst is kept");
    assert_eq!(limit.counts().refused, 6);
}

proptest! {
    /// Against a bucket that is filled step by step, in whole parts of tokens.
    #[test]
    fn a_bucket_never_gives_more_or_less_than_one_that_is_filled_by_hand(
        per_second in prop::sample::select(vec![1_u32, 2, 4, 5, 10, 20, 100]),
        burst in 1_u32..10,
        pauses in prop::collection::vec(0_u64..400, 1..100),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limit = RateLimit::new(PoolName::from("pool"), per_second, SECOND, burst, clock());
            // A token is a thousand parts; so many come each millisecond.
            let (most, each) = (u64::from(burst) * 1000, u64::from(per_second));
            let mut parts = most;
            for pause in pauses {
                tokio::time::advance(Duration::from_millis(pause)).await;
                parts = (parts + pause * each).min(most);
                let expected = parts >= 1000;
                if expected {
                    parts -= 1000;
                }
                prop_assert_eq!(limit.admit().is_ok(), expected);
            }
            Ok(())
        })?;
    }
}

fn request(command: &str) -> Request {
    Request::new(command, Payload::encode(Codec::MsgPack, &()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn calls_are_shed_by_the_length_of_the_line_and_by_the_time_it_will_take() {
    let mut options = PoolOptions::new("pool");
    options.prefetch = 0;
    let runtime = Handle::current();
    let pool = Pool::new(options, Clock::of_runtime(runtime.clone()), &runtime);
    let worker = FakeWorker::new("w", 1);
    pool.join(worker.clone());
    let handle = pool.submit(request("slow")).unwrap();
    worker.finish_after(1, SECOND);
    handle.await.unwrap();

    let name = PoolName::from("pool");
    let by_length = Shed::new(name.clone(), ShedOptions::new().queue(2));
    let by_time = Shed::new(name, ShedOptions::new().wait(2 * SECOND));
    let mut calls = vec![pool.submit(request("slow")).unwrap()];
    for (length, time) in [(true, true), (true, true), (false, true), (false, false)] {
        assert_eq!(by_length.admit(pool.backlog()).is_ok(), length, "{:?}", pool.backlog());
        assert_eq!(by_time.admit(pool.backlog()).is_ok(), time, "{:?}", pool.backlog());
        calls.push(pool.submit(request("slow")).unwrap());
    }
    let error = by_time.admit(pool.backlog()).unwrap_err();
    assert_eq!((error.kind(), error.details()["queued"].as_str()), (ErrorKind::LoadShed, "4"));
    assert_eq!((by_length.counts().refused, by_time.counts().refused), (2, 2));

    // Nothing is known of this command, but the first has waited.
    calls.clear();
    worker.finish(2);
    let _running = pool.submit(request("unknown")).unwrap();
    let _waiting = pool.submit(request("unknown")).unwrap();
    by_time.admit(pool.backlog()).unwrap();
    tokio::time::advance(3 * SECOND).await;
    by_time.admit(pool.backlog()).unwrap_err();
}
