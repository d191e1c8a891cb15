//! The results of a streamed call, decoded one by one. Order, credit and cancellation are the
//! engine's.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use snakepit_core::{CallStream, Error};

use crate::host::Snakepit;

/// The results of a streamed call, in order; ends after the last one or an error.
///
/// The worker runs ahead by as many items as the pool's `stream_credit` and then waits for the
/// reader.
///
/// # Cancel safety
/// Dropping it cancels the call. Dropping a future of [`next`](Self::next) loses no item.
#[must_use = "dropping a stream cancels its call"]
pub struct ResultStream<T> {
    items: CallStream,
    /// Keeps the pools running.
    _alive: Snakepit,
    decoded: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> ResultStream<T> {
    pub(crate) fn new(items: CallStream, alive: Snakepit) -> Self {
        Self { items, _alive: alive, decoded: PhantomData }
    }

    /// The next result; `None` after the last one or an error.
    ///
    /// # Errors
    /// Whatever ended the call, or `DecodeFailed` for an item that is no `T`; the items after that
    /// one still come.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<T: DeserializeOwned> Stream for ResultStream<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(Pin::new(&mut self.items).poll_next(cx));
        Poll::Ready(item.map(|item| item?.decode()))
    }
}
