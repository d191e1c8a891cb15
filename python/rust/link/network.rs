//! What is served: the link and the heartbeats.
//!
//! Owns connecting, attaching and the end of the link; which thread drives it is the driver's.
//! Never touches Python. Invariant: when the link is broken, this process ends, whatever the main
//! thread is doing.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_core::Stream as _;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use snakepit_proto::framing::{self, Incoming};
use snakepit_proto::socket::LinkSocket;
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::{HostMessage, Welcome};
use snakepit_proto::{ATTACH_PATH, CONNECTION_WINDOW_BYTES, HTTP2_FRAME_BYTES, WINDOW_BYTES};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Method, Request, Uri, Version, header};

use super::driver::Driver;
use super::outbox::{Outbox, Outgoing};
use super::reader::{After, Reader};
use super::{Shared, Violation};
use crate::process;

/// How long the last frames may take to leave.
pub(super) const FAREWELL: Duration = Duration::from_millis(500);

/// How long the host has to end the link after the last frame; writing it takes microseconds.
pub(super) const LINGER: Duration = Duration::from_millis(20);

/// A link that is being served.
pub(super) struct Network {
    driver: Arc<Driver>,
    serving: JoinHandle<()>,
}

impl Network {
    /// Starts serving. The first frame must be in the outbox.
    pub(super) fn start(link: StdUnixStream, shared: Arc<Shared>) -> io::Result<Self> {
        link.set_nonblocking(true)?;
        let driver = Driver::start(shared.outbox.clone())?;
        let serving = driver.spawn(run(link, shared));
        Ok(Self { driver, serving })
    }

    pub(super) fn driver(&self) -> &Arc<Driver> {
        &self.driver
    }

    /// Drives until the last frames have left: until the host has ended the link too, or has had
    /// `linger` to read what tonic took from the outbox, for which it had [`FAREWELL`].
    pub(super) fn wait(mut self, outbox: &Outbox, linger: Duration) {
        let serving = &mut self.serving;
        self.driver.drive(async {
            let last = Instant::now() + FAREWELL;
            while !outbox.is_drained() && Instant::now() < last {
                if timeout(LINGER / 10, &mut *serving).await.is_ok() {
                    return;
                }
            }
            // Either way there is nothing more to wait for.
            let _ = timeout(linger, serving).await;
        });
    }
}

async fn run(link: StdUnixStream, shared: Arc<Shared>) {
    let _guard = process::DieOnPanic("it panicked");
    // While leaving, the host may close its end in any way.
    if let Err(Violation(reason)) = serve(link, &shared).await
        && !shared.leaving.load(Ordering::Acquire)
    {
        process::die_of_broken_link(&reason);
    }
}

async fn serve(link: StdUnixStream, shared: &Arc<Shared>) -> Result<(), Violation> {
    let requests = connect(link).await?;
    let mut frames = match attach(requests, Outgoing(shared.outbox.clone())).await {
        Ok(frames) => frames,
        Err(_) if shared.leaving.load(Ordering::Acquire) => return Ok(()),
        Err(status) => return Err(ended_with("attach", &status)),
    };
    let Some(welcome) = welcome(&mut frames, shared).await? else {
        return Ok(());
    };
    if welcome.heartbeat_ms > 0 {
        let interval = Duration::from_millis(u64::from(welcome.heartbeat_ms));
        tokio::spawn(beat(shared.clone(), interval));
    }
    let mut reader = Reader::new(shared.clone(), &welcome);
    while let Some(frame) = next(&mut frames, shared).await? {
        if let After::CancelIn(limit) = reader.handle(frame)? {
            tokio::spawn(cancel_in(shared.clone(), limit));
        }
    }
    Ok(())
}

type Frames = framing::Outgoing<Outgoing>;

/// A connection over the one socket there is. It is never made again, so what tonic's channel is for,
/// finding and replacing connections, would only be in the way.
async fn connect(link: StdUnixStream) -> Result<SendRequest<Frames>, Violation> {
    let link = LinkSocket::new(link).map_err(Violation::of("link"))?;
    let (requests, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .handshake(TokioIo::new(link))
        .await
        .map_err(Violation::of("connect"))?;
    // How it ends, the one stream that it carries hears as well.
    tokio::spawn(connection);
    Ok(requests)
}

/// Opens the stream on which everything is said.
async fn attach(
    mut requests: SendRequest<Frames>,
    frames: Outgoing,
) -> Result<Incoming<HostMessage>, Status> {
    let mut request = Request::new(framing::Outgoing::new(frames));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    // The authority is never looked up: there only has to be one.
    let uri = Uri::builder().scheme("http").authority("snakepit.invalid");
    let uri = uri.path_and_query(ATTACH_PATH).build();
    *request.uri_mut() = uri.map_err(|error| Status::internal(error.to_string()))?;
    let headers = request.headers_mut();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let broken = |error| Status::from_error(Box::new(error));
    let response = requests.send_request(request).await.map_err(broken)?;
    match Status::from_header_map(response.headers()) {
        // Refused at once: there is no stream.
        Some(status) if status.code() != tonic::Code::Ok => Err(status),
        _ => Ok(Incoming::new(Body::new(response.into_body()))),
    }
}

/// The host's first frame; none if the link ended while leaving.
async fn welcome(
    frames: &mut Incoming<HostMessage>,
    shared: &Shared,
) -> Result<Option<Welcome>, Violation> {
    let welcome = match next(frames, shared).await? {
        Some(HostFrame::Welcome(welcome)) => welcome,
        Some(_) => return Err(Violation("the first frame is no Welcome".to_owned())),
        None => return Ok(None),
    };
    let own = snakepit_proto::contract();
    if welcome.contract != own {
        return Err(Violation(format!(
            "host {} speaks contract {}, this worker {} speaks {own}; install the worker package \
             of the host's version",
            welcome.version,
            welcome.contract,
            env!("CARGO_PKG_VERSION"),
        )));
    }
    Ok(Some(welcome))
}

/// The next frame; none at an end of the link that was announced.
async fn next(
    frames: &mut Incoming<HostMessage>,
    shared: &Shared,
) -> Result<Option<HostFrame>, Violation> {
    let message = std::future::poll_fn(|context| Pin::new(&mut *frames).poll_next(context)).await;
    if shared.leaving.load(Ordering::Acquire) && !matches!(message, Some(Ok(_))) {
        return Ok(None);
    }
    match message {
        Some(Ok(HostMessage { frame: Some(frame) })) => Ok(Some(frame)),
        Some(Ok(HostMessage { frame: None })) => {
            Err(Violation("a frame this worker does not know".to_owned()))
        }
        None => process::die_with_host(),
        Some(Err(status)) => Err(ended_with("link", &status)),
    }
}

/// Tells a host that ended the link for a reason from one that is gone.
fn ended_with(step: &str, status: &Status) -> Violation {
    // With a source it is the connection that broke, as it does when a host is killed; without
    // one it is what the host, or this side's own decoder, said.
    if std::error::Error::source(status).is_some() {
        process::die_with_host();
    }
    Violation(format!("{step}: {}", status.message()))
}

/// A sign of life whenever an interval passes in which nothing else was sent.
async fn beat(shared: Arc<Shared>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sent = 0;
    loop {
        ticks.tick().await;
        let now_sent = shared.outbox.sent();
        if now_sent == sent {
            shared.beat(0);
        }
        sent = now_sent;
    }
}

async fn cancel_in(shared: Arc<Shared>, limit: Duration) {
    tokio::time::sleep(limit).await;
    shared.queue.cancel_running();
    shared.tools.stop_those_told();
    shared.wake.wake();
}
