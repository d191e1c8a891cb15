//! The layers as tower services, round a pool and round a service of one's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use snakepit_core::resilience::tower::{
    BreakerLayer, FallbackLayer, HedgeLayer, PoolService, RateLimitLayer, RetryLayer, ShedLayer,
};
use snakepit_core::resilience::{
    Breaker, BreakerOptions, Budget, Fallback, Hedge, RateLimit, Retry, RetryPolicy, Schedule,
    Shed, ShedOptions,
};
use snakepit_core::testkit::FakeWorker;
use snakepit_core::{
    BoxFuture, Codec, Completed, Error, ErrorKind, Payload, Pool, PoolName, PoolOptions, Request,
};
use tokio::runtime::Handle;
use tower_layer::Layer;
use tower_service::Service;

use crate::{MILLI, SECOND, clock, lost, timing};

/// A service that fails so many times before it succeeds.
#[derive(Clone)]
struct Failing(Arc<AtomicU32>);

impl Service<Request> for Failing {
    type Response = Option<std::time::Duration>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let less = |left: u32| left.checked_sub(1);
        let fails = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
        let end = if fails { Err(lost()) } else { Ok(request.timeout) };
        Box::pin(std::future::ready(end))
    }
}

fn failing(times: u32) -> Failing {
    Failing(Arc::new(AtomicU32::new(times)))
}

fn request() -> Request {
    let mut request = Request::new("c", Payload::encode(Codec::MsgPack, &()).unwrap());
    request.idempotent = true;
    request.timeout = Some(10 * SECOND);
    request
}

fn retry(attempts: u32) -> RetryLayer {
    let policy = RetryPolicy::new(attempts).pauses(Schedule::Linear, SECOND, SECOND).jitter(0.0);
    RetryLayer::new(Arc::new(Retry::new(policy, timing(), 1)), timing())
}

fn breaker(failures: u32) -> Arc<Breaker> {
    let mut options = BreakerOptions::default();
    options.failures = failures;
    Arc::new(Breaker::new(PoolName::from("p"), options, clock()))
}

#[tokio::test(start_paused = true)]
async fn retries_shorten_the_time_that_is_left() {
    let mut service = retry(3).layer(failing(2));
    assert_eq!(service.call(request()).await.unwrap(), Some(8 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn layers_stand_in_the_order_they_are_put_in() {
    // Each attempt asks the breaker, which opens in between.
    let mut inside = retry(5).layer(BreakerLayer::new(breaker(2)).layer(failing(9)));
    assert_eq!(inside.call(request()).await.unwrap_err().kind(), ErrorKind::CircuitOpen);
    // The breaker hears of one failure only.
    let outer = breaker(2);
    let mut outside = BreakerLayer::new(Arc::clone(&outer)).layer(retry(5).layer(failing(9)));
    assert_eq!(outside.call(request()).await.unwrap_err().kind(), lost().kind());
    assert_eq!(outer.counts().opened, 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_serve_here_is_asked_for_there() {
    let limit = Arc::new(RateLimit::new(PoolName::from("p"), 1, SECOND, 1, clock()));
    let limited = RateLimitLayer::new(limit).layer(failing(0));
    let layer = FallbackLayer::new(Arc::new(Fallback::default()), timing(), failing(1));
    let mut service = layer.layer(limited);
    service.call(request()).await.unwrap();
    assert_eq!(service.call(request()).await.unwrap_err().kind(), lost().kind(), "from there");
    service.call(request()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_a_service_among_layers() {
    let runtime = Handle::current();
    let mut options = PoolOptions::new("p");
    options.prefetch = 0;
    let pool = Pool::new(options, clock(), &runtime);
    let (a, b) = (FakeWorker::new("a", 1), FakeWorker::new("b", 1));
    pool.join(a.clone());
    pool.join(b.clone());
    let hedge = Hedge::new(50 * MILLI, Budget::new(1.0), timing());
    let shed = Arc::new(Shed::new(PoolName::from("p"), ShedOptions::new().queue(1)));
    let inner = ShedLayer::new(shed, pool.clone()).layer(PoolService::new(pool.clone()));
    let mut service = HedgeLayer::new(Arc::new(hedge), timing()).layer(inner);
    let slow = tokio::spawn(service.call(request()));
    tokio::time::sleep(60 * MILLI).await;
    assert_eq!((a.holds(), b.holds()), (vec![1], vec![2]), "a second attempt");
    b.finish(2);
    let completed: Completed = slow.await.unwrap().unwrap();
    assert_eq!((completed.worker.as_str(), a.cancelled().len()), ("b", 1));
    let _third = tokio::spawn(service.call(request()));
    let _fourth = tokio::spawn(service.call(request()));
    tokio::task::yield_now().await;
    assert_eq!(service.call(request()).await.unwrap_err().kind(), ErrorKind::LoadShed);
}
