//! Frames that are much smaller than what HTTP/2 puts round them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use snakepit_proto::framing::{Incoming, Outgoing};
use snakepit_proto::v1::worker_message::Frame;
use snakepit_proto::v1::{self, HostMessage, WorkerMessage};
use snakepit_proto::{ATTACH_PATH, v1::host_message};
use tokio::runtime::Builder;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::codegen::http::{Request, Version, header};

use support::{channel, hello, launch, server};

/// Several times what h2 lets wait of frames as small as these.
const FLOOD: usize = 200_000;

/// A hello, little frames, and a last word. Nothing is ready together with what precedes it, so each
/// message travels in an HTTP/2 frame of its own.
struct Chatter {
    said: usize,
    pausing: bool,
}

impl Stream for Chatter {
    type Item = Result<WorkerMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pausing = !self.pausing;
        if self.pausing {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = match self.said {
            0 => Frame::Hello(hello()),
            FLOOD => Frame::DrainDone(v1::DrainDone {}),
            said if said < FLOOD => Frame::Event(v1::Event::default()),
            _ => return Poll::Pending,
        };
        self.said += 1;
        Poll::Ready(Some(Ok(WorkerMessage { frame: Some(frame) })))
    }
}

/// h2 takes many small frames that nobody has read yet for an attack, and ends the connection.
#[tokio::test]
async fn a_worker_that_says_many_little_things_keeps_its_link() {
    let server = server();
    let (attaching, launched) = launch(&server);
    // A thread of its own, so that it writes while the host reads.
    let worker = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut channel = channel(launched.socket);
            let chatter = Chatter { said: 0, pausing: false };
            let request = Request::post(ATTACH_PATH)
                .version(Version::HTTP_2)
                .header(header::TE, "trailers")
                .header(header::CONTENT_TYPE, "application/grpc")
                .body(Body::new(Outgoing::new(chatter)))
                .unwrap();
            std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
            let response = channel.call(request).await.unwrap();
            let mut frames = Incoming::<HostMessage>::new(response.into_body());
            let welcome = frames.next().await.unwrap().unwrap();
            assert!(matches!(welcome.frame, Some(host_message::Frame::Welcome(_))), "{welcome:?}");
            // Until the host ends the link.
            while let Some(Ok(_)) = frames.next().await {}
        });
    });
    let link = attaching.await.unwrap();
    let said = link.drain(None).await;
    assert!(said.is_ok(), "{said:?}: {}", link.closed().await);
    drop(link);
    worker.join().unwrap();
}
