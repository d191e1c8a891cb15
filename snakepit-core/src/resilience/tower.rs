//! The layers as [tower] services, for programs that put them round services of their own, or round a
//! pool in another order than Snakepit's. Each wraps a service of [`Request`]s whose errors are
//! [`Error`]s; [`PoolService`] is the innermost one.
//!
//! ```
//! use std::sync::Arc;
//! use snakepit_core::resilience::tower::{BreakerLayer, PoolService, RetryLayer};
//! use snakepit_core::resilience::{Breaker, BreakerOptions, Retry, RetryPolicy, Timing};
//! use snakepit_core::{Clock, Pool};
//! use tower_layer::Layer;
//!
//! # fn example(pool: Pool, runtime: tokio::runtime::Handle) {
//! let timing = Timing::new(Clock::system(), &runtime);
//! let breaker = Breaker::new(pool.name().clone(), BreakerOptions::default(), Clock::system());
//! let retry = Retry::new(RetryPolicy::default(), timing.clone(), 7);
//! let service = PoolService::new(pool);
//! let service = BreakerLayer::new(Arc::new(breaker)).layer(service);
//! let service = RetryLayer::new(Arc::new(retry), timing).layer(service);
//! # drop(service);
//! # }
//! ```
//!
//! A layer's inner service is cloned for each attempt, and each clone is asked whether it is ready.
//! Requests carry their deadline as time left: each layer that makes several attempts shortens it.
//!
//! [tower]: https://docs.rs/tower

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{Breaker, Fallback, Hedge, RateLimit, Retry, Shed, Subject, Timing};
use crate::call::Request;
use crate::error::Error;
use crate::ids::PoolName;
use crate::pool::{Completed, Pool};
use crate::worker::BoxFuture;

/// A pool as a service; always ready, because it queues by itself.
#[derive(Clone)]
pub struct PoolService(Pool);

impl PoolService {
    /// The service of this pool.
    pub fn new(pool: Pool) -> Self {
        Self(pool)
    }
}

impl Service<Request> for PoolService {
    type Response = Completed;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Completed, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // So that layers and pool mean the same deadline.
        request.timeout = request.timeout.or(self.0.options().call_timeout);
        let handle = self.0.submit(request);
        Box::pin(async move { handle?.await })
    }
}

/// What the inner service of a layer has to be.
trait Inner: Service<Request, Error = Error> + Clone + Send + 'static {}

impl<S: Service<Request, Error = Error> + Clone + Send + 'static> Inner for S {}

/// Makes one call of a service.
async fn call<S: Inner>(mut service: S, request: Request) -> Result<S::Response, Error>
where
    S::Future: Send,
{
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// What several attempts have in common: the request, and the deadline it means now.
struct Attempts<S> {
    service: S,
    request: Request,
    subject: Subject,
    timing: Timing,
}

impl<S: Inner> Attempts<S>
where
    S::Future: Send,
{
    fn new(service: &S, request: Request, timing: &Timing) -> Self {
        let subject = Subject::of(&PoolName::from(""), &request, None, timing.now());
        Self { service: service.clone(), request, subject, timing: timing.clone() }
    }

    fn make(&self) -> impl Future<Output = Result<S::Response, Error>> + Send + use<S> {
        let mut request = self.request.clone();
        request.timeout = self.subject.time_left(self.timing.now());
        call(self.service.clone(), request)
    }
}

/// A layer and the service it makes of another.
macro_rules! layer {
    (
        $(#[$doc:meta])* $layer:ident, $service:ident { $($field:ident: $type:ty),* }
        |$self:ident, $request:ident| $body:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $layer {
            $($field: $type,)*
        }

        impl $layer {
            /// Puts this round services.
            pub fn new($($field: $type),*) -> Self {
                Self { $($field),* }
            }
        }

        impl<S> Layer<S> for $layer {
            type Service = $service<S>;

            fn layer(&self, inner: S) -> $service<S> {
                $service { inner, $($field: self.$field.clone()),* }
            }
        }

        /// The service that the layer of that name makes.
        #[derive(Clone)]
        pub struct $service<S> {
            inner: S,
            $($field: $type,)*
        }

        impl<S> Service<Request> for $service<S>
        where
            S: Service<Request, Error = Error> + Clone + Send + Sync + 'static,
            S::Response: Send,
            S::Future: Send,
        {
            type Response = S::Response;
            type Error = Error;
            type Future = BoxFuture<'static, Result<S::Response, Error>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
                // Each attempt waits for the inner service itself.
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, $request: Request) -> Self::Future {
                let $self = self.clone();
                Box::pin(async move { $body })
            }
        }
    };
}

layer! {
    /// [`Retry`] round a service.
    RetryLayer, RetryService { retry: Arc<Retry>, timing: Timing }
    |this, request| {
        let attempts = Attempts::new(&this.inner, request, &this.timing);
        this.retry.run(&attempts.subject, || attempts.make()).await
    }
}

layer! {
    /// [`Hedge`] round a service.
    HedgeLayer, HedgeService { hedge: Arc<Hedge>, timing: Timing }
    |this, request| {
        let attempts = Attempts::new(&this.inner, request, &this.timing);
        this.hedge.run(&attempts.subject, || attempts.make()).await
    }
}

layer! {
    /// [`Breaker`] round a service.
    BreakerLayer, BreakerService { breaker: Arc<Breaker> }
    |this, request| {
        let command = Arc::clone(&request.command);
        this.breaker.run(&command, || call(this.inner, request)).await
    }
}

layer! {
    /// [`RateLimit`] round a service.
    RateLimitLayer, RateLimitService { rate_limit: Arc<RateLimit> }
    |this, request| {
        this.rate_limit.admit()?;
        call(this.inner, request).await
    }
}

layer! {
    /// [`Shed`] round a service, by the line of a pool.
    ShedLayer, ShedService { shed: Arc<Shed>, pool: Pool }
    |this, request| {
        this.shed.admit(this.pool.backlog())?;
        call(this.inner, request).await
    }
}

/// [`Fallback`] round a service: `other` is asked when the inner one cannot serve.
#[derive(Clone)]
pub struct FallbackLayer<O> {
    fallback: Arc<Fallback>,
    timing: Timing,
    other: O,
}

impl<O> FallbackLayer<O> {
    /// Puts this round services.
    pub fn new(fallback: Arc<Fallback>, timing: Timing, other: O) -> Self {
        Self { fallback, timing, other }
    }
}

impl<S, O: Clone> Layer<S> for FallbackLayer<O> {
    type Service = FallbackService<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService { inner, layer: self.clone() }
    }
}

/// The service that the layer of that name makes.
#[derive(Clone)]
pub struct FallbackService<S, O> {
    inner: S,
    layer: FallbackLayer<O>,
}

impl<S, O> Service<Request> for FallbackService<S, O>
where
    S: Service<Request, Error = Error> + Clone + Send + Sync + 'static,
    S::Response: Send,
    S::Future: Send,
    O: Service<Request, Response = S::Response, Error = Error> + Clone + Send + Sync + 'static,
    O::Future: Send,
{
    type Response = S::Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<S::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { inner, layer: FallbackLayer { fallback, timing, other } } = self.clone();
        Box::pin(async move {
            let here = Attempts::new(&inner, request.clone(), &timing);
            let there = Attempts::new(&other, request, &timing);
            fallback.run(&here.subject, &timing, || here.make(), || there.make()).await
        })
    }
}
