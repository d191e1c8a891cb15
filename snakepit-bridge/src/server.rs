//! The tonic server every worker's link ends at.
//!
//! Owns the accept loop, which is fed with sockets instead of listening, the HTTP/2 settings, and
//! which launch a socket belongs to. What is said on a link is the reader's and the outbox's.
//! Invariant: a socket that is adopted leads to exactly one outcome of its [`Attaching`].

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use snakepit_core::{Error, ErrorKind, PoolName, WorkerId};
use snakepit_proto::framing;
use snakepit_proto::socket::LinkSocket;
use snakepit_proto::{
    ATTACH_PATH, CONNECTION_WINDOW_BYTES, HTTP2_FRAME_BYTES, MAX_PAYLOAD_BYTES, WINDOW_BYTES,
};
use snakepit_shm::{ControlReader, DescriptorSender};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, header};

use crate::hello;
use crate::io::{Closer, LinkIo};
use crate::link::Link;
use crate::memory::Memory;
use crate::outgoing::Outgoing;
use crate::reader::{self, Unreadable};
use crate::shared::Shared;
use crate::traffic::{Frames, Traffic};

/// Adopted sockets that may wait for the accept loop, which only has to spawn a task for each.
const ADOPT_BACKLOG: usize = 1024;

/// One gRPC server for all workers of a host, without a path, a port or a listener.
///
/// Dropping it stops adopting; links live until their owners let go of them.
pub struct LinkServer {
    runtime: Handle,
    /// Taken at shutdown, which ends the accept loop.
    adopted: Mutex<Option<mpsc::Sender<LinkIo>>>,
    readers: TaskTracker,
    traffic: Arc<Traffic>,
}

/// What a new link must know.
pub struct LinkOptions {
    /// The pool the worker was started for.
    pub pool: PoolName,
    /// The id the worker was given; its `Hello` must name it.
    pub worker_id: WorkerId,
    /// The page on which the worker notes the calls it starts.
    pub control: ControlReader,
    /// Time between two signs of life.
    pub heartbeat: Duration,
    /// Largest payload either side accepts, in bytes.
    pub max_payload_bytes: u64,
    /// The pool's shared memory, and the host's end of the worker's descriptor socket; without it
    /// everything travels inline.
    pub memory: Option<(Arc<Memory>, DescriptorSender)>,
}

impl LinkOptions {
    /// Options with the default limits: a beat each second, payloads up to 1 GiB, no
    /// shared memory.
    pub fn new(pool: PoolName, worker_id: WorkerId, control: ControlReader) -> Self {
        Self {
            pool,
            worker_id,
            control,
            heartbeat: Duration::from_secs(1),
            max_payload_bytes: MAX_PAYLOAD_BYTES,
            memory: None,
        }
    }
}

impl LinkServer {
    /// Starts the server on a runtime, best one with a single thread of its own: a call then takes
    /// no hand-off between threads inside the host.
    pub fn start(runtime: Handle) -> Self {
        let (adopted, incoming) = mpsc::channel(ADOPT_BACKLOG);
        let readers = TaskTracker::new();
        let service = WorkerService { readers: readers.clone() };
        let incoming = ReceiverStream::new(incoming).map(Ok::<LinkIo, std::convert::Infallible>);
        // No timeout and no keepalive: a local socket does not go silent, and a busy host must not
        // take a busy worker for a dead one. Missed heartbeats are the supervisor's business.
        let serving = tonic::transport::Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_adaptive_window(Some(false))
            .http2_keepalive_interval(None)
            .max_frame_size(HTTP2_FRAME_BYTES)
            .serve_with_incoming(service, incoming);
        readers.spawn_on(
            async move {
                if let Err(error) = serving.await {
                    tracing::error!(%error, "the link server stopped");
                }
            },
            &runtime,
        );
        Self { runtime, adopted: Mutex::new(Some(adopted)), readers, traffic: Arc::default() }
    }

    /// Takes over the host's end of a socket pair whose other end a worker was given.
    ///
    /// # Errors
    /// `System` when the socket cannot be used, or the server takes none any more.
    pub fn adopt(&self, socket: UnixStream, options: LinkOptions) -> Result<Attaching, Error> {
        let failed = |what: &str| {
            Error::new(ErrorKind::System, format!("cannot adopt the worker's socket: {what}"))
        };
        socket.set_nonblocking(true).map_err(|e| failed(&e.to_string()))?;
        // Registers with the reactor of the server's runtime, whichever thread this is.
        let runtime = self.runtime.enter();
        let closer = Closer::new(&socket);
        let stream = LinkSocket::new(socket).map_err(|e| failed(&e.to_string()))?;
        drop(runtime);
        let shared = Arc::new(Shared::new(options, closer.clone(), Arc::clone(&self.traffic)));
        let (done, outcome) = oneshot::channel();
        let session = Arc::new(Session::new(closer.clone(), Some(Pending { shared, done })));
        let adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        let io = LinkIo::new(stream, session);
        match adopted.as_ref().map(|adopted| adopted.try_send(io)) {
            Some(Ok(())) => Ok(Attaching { outcome, close: Some(closer) }),
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err(failed("too many wait already")),
            _ => Err(failed("the server has stopped")),
        }
    }

    /// Frames over all its links so far.
    pub fn frames(&self) -> Frames {
        self.traffic.frames()
    }

    /// Stops adopting and waits until every link has ended. Links end when their owners let go.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    pub async fn shutdown(&self) {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.readers.close();
        self.readers.wait().await;
    }
}

/// A link whose worker has not said hello yet.
///
/// # Cancel safety
/// Dropping it closes the link.
#[must_use = "dropping it closes the link"]
pub struct Attaching {
    outcome: oneshot::Receiver<Result<Link, Error>>,
    close: Option<Closer>,
}

/// Resolves when the worker was welcomed.
///
/// # Errors
/// `AdapterFailed` with the Python exception when the worker says that it cannot start,
/// `VersionMismatch` when it comes from another release, `Protocol` when it does not say who it
/// is, `StartFailed` when its link ended first.
impl Future for Attaching {
    type Output = Result<Link, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = std::task::ready!(Pin::new(&mut self.outcome).poll(cx));
        self.close = None;
        Poll::Ready(outcome.unwrap_or_else(|_| Err(hello::missing())))
    }
}

impl Drop for Attaching {
    fn drop(&mut self) {
        if let Some(closer) = self.close.take() {
            closer.close();
        }
    }
}

/// Which launch a connection belongs to; travels with it through tonic.
pub(crate) struct Session {
    closer: Closer,
    pending: Mutex<Option<Pending>>,
}

/// A link until its worker has attached.
pub(crate) struct Pending {
    pub(crate) shared: Arc<Shared>,
    pub(crate) done: oneshot::Sender<Result<Link, Error>>,
}

impl Session {
    pub(crate) fn new(closer: Closer, pending: Option<Pending>) -> Self {
        Self { closer, pending: Mutex::new(pending) }
    }

    pub(crate) fn closer(&self) -> &Closer {
        &self.closer
    }

    fn take(&self) -> Option<Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a worker's request comes to.
#[derive(Clone)]
struct WorkerService {
    readers: TaskTracker,
}

impl WorkerService {
    fn attach(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        if request.uri().path() != ATTACH_PATH {
            return Err(Status::unimplemented("there is nothing here but `Attach`"));
        }
        let session = request.extensions().get::<Arc<Session>>().cloned();
        let pending = session
            .and_then(|session| session.take())
            .ok_or_else(|| Status::failed_precondition("this link is attached already"))?;
        let outgoing = framing::Outgoing::new(Outgoing::new(Arc::clone(&pending.shared)));
        let incoming = framing::Incoming::new(request.into_body());
        self.readers.spawn(reader::run(pending, incoming.map(|item| item.map_err(unreadable))));
        let mut response = Response::new(Body::new(outgoing));
        let content_type = header::HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(response)
    }
}

impl Service<Request<Body>> for WorkerService {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        std::future::ready(Ok(self.attach(request).unwrap_or_else(Status::into_http)))
    }
}

/// Tells a frame that does not parse from a connection that broke, whose error is the status's
/// source.
fn unreadable(status: Status) -> Unreadable {
    match std::error::Error::source(&status) {
        None => Unreadable::Malformed(status.message().to_owned()),
        Some(_) => Unreadable::Lost,
    }
}
