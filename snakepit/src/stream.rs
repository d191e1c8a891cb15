//! The results of a streamed call, decoded one by one. Order, credit and cancellation are the
//! engine's.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use snakepit_core::{BoxFuture, CallStream, Error, Payload};

use crate::host::Snakepit;
use crate::layers::Opened;

/// The results of a streamed call, in order; ends after the last one or an error.
///
/// The worker runs ahead by as many items as the pool's `stream_credit` and then waits for the
/// reader.
///
/// # Cancel safety
/// Dropping it cancels the call. Dropping a future of [`next`](Self::next) loses no item.
#[must_use = "dropping a stream cancels its call"]
pub struct ResultStream<T> {
    items: Items,
    /// Keeps the pools running.
    _alive: Snakepit,
    decoded: PhantomData<fn() -> T>,
}

/// Where the results come from.
enum Items {
    Running(CallStream),
    /// It may yet be tried again: nobody has seen a result.
    Opening(BoxFuture<'static, Result<Opened, Error>>),
    /// The first result is there, and was not given yet.
    Opened(Option<Payload>, CallStream),
    /// It never began.
    Failed,
}

impl<T: DeserializeOwned> ResultStream<T> {
    pub(crate) fn new(items: CallStream, alive: Snakepit) -> Self {
        Self { items: Items::Running(items), _alive: alive, decoded: PhantomData }
    }

    /// Begins a call that goes through layers; fails with what can be known at once.
    pub(crate) async fn open(
        mut opening: BoxFuture<'static, Result<Opened, Error>>,
        alive: Snakepit,
    ) -> Result<Self, Error> {
        let items = poll_fn(|cx| match opening.as_mut().poll(cx) {
            Poll::Ready(opened) => Poll::Ready(Some(opened)),
            Poll::Pending => Poll::Ready(None),
        });
        let items = match items.await.transpose()? {
            Some((first, stream)) => Items::Opened(first, stream),
            None => Items::Opening(opening),
        };
        Ok(Self { items, _alive: alive, decoded: PhantomData })
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
        let item = std::task::ready!(self.items.poll_next(cx));
        Poll::Ready(item.map(|item| item?.decode()))
    }
}

impl Items {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload, Error>>> {
        loop {
            match self {
                Self::Running(stream) => return Pin::new(stream).poll_next(cx),
                Self::Failed => return Poll::Ready(None),
                Self::Opening(opening) => match std::task::ready!(opening.as_mut().poll(cx)) {
                    Ok((first, stream)) => *self = Self::Opened(first, stream),
                    Err(error) => {
                        *self = Self::Failed;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                Self::Opened(..) => {
                    let Self::Opened(first, stream) = std::mem::replace(self, Self::Failed) else {
                        return Poll::Ready(None);
                    };
                    *self = Self::Running(stream);
                    // Without a first result the stream has ended, and says so itself.
                    if let Some(first) = first {
                        return Poll::Ready(Some(Ok(first)));
                    }
                }
            }
        }
    }
}
