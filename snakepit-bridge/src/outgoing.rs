//! The stream of frames that the transport pulls. Owns when to wait and when to end; what comes
//! next is the outbox's decision.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use snakepit_proto::v1::HostMessage;
use snakepit_proto::v1::host_message::Frame;
use tonic::Status;

use crate::shared::{Next, Shared};

/// Frames for one worker, in the order they are to be written.
///
/// Everything that is ready is given without pause, so that the transport writes it at once.
pub(crate) struct Outgoing {
    shared: Arc<Shared>,
    batch: VecDeque<Frame>,
}

impl Outgoing {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, batch: VecDeque::new() }
    }
}

impl Stream for Outgoing {
    type Item = Result<HostMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.batch.pop_front() {
                this.shared.traffic.sent();
                return Poll::Ready(Some(Ok(HostMessage { frame: Some(frame) })));
            }
            match this.shared.next_out(&mut this.batch, cx) {
                Next::Batch => {}
                Next::Fragment(frame) => {
                    this.shared.traffic.sent();
                    return Poll::Ready(Some(Ok(HostMessage { frame: Some(frame) })));
                }
                Next::Farewell(text) => {
                    return Poll::Ready(Some(Err(Status::failed_precondition(text))));
                }
                Next::Wait => return Poll::Pending,
                Next::End => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // The transport gave the stream up: nothing can be sent any more, so the link is over.
        self.shared.hang_up();
    }
}
