//! A worker made of the generated tonic client, and a sink that notes what calls come to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use snakepit_bridge::{Attaching, Link, LinkOptions, LinkServer};
use snakepit_core::{
    Call, CallEvent, CallId, CallSink, Codec, CreditExceeded, Payload, Reply, Request, WorkerId,
};
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::worker_message::Frame;
use snakepit_proto::v1::worker_service_client::WorkerServiceClient;
use snakepit_proto::v1::{self, HostMessage, WorkerMessage};
use snakepit_proto::{CONNECTION_WINDOW_BYTES, MESSAGE_BYTES, WINDOW_BYTES};
use snakepit_shm::{ControlReader, ControlWriter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream as AsyncStream;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

pub const WORKER: &str = "default.0.0";

pub fn server() -> LinkServer {
    LinkServer::start(Handle::current())
}

/// The worker's ends of what it is given at launch.
pub struct Launched {
    pub socket: UnixStream,
    pub control: ControlWriter,
}

pub fn launch(server: &LinkServer) -> (Attaching, Launched) {
    launch_with(server, |_| {})
}

pub fn launch_with(
    server: &LinkServer,
    set: impl FnOnce(&mut LinkOptions),
) -> (Attaching, Launched) {
    let (host, socket) = UnixStream::pair().unwrap();
    let page = ControlReader::create().unwrap();
    let control = ControlWriter::open(page.as_fd()).unwrap();
    let mut options = LinkOptions::new("default".into(), WorkerId::from(WORKER), page);
    set(&mut options);
    (server.adopt(host, options).unwrap(), Launched { socket, control })
}

pub struct FakeWorker {
    pub out: mpsc::UnboundedSender<WorkerMessage>,
    pub frames: Streaming<HostMessage>,
    pub control: ControlWriter,
}

impl FakeWorker {
    /// Opens the stream and says `first`.
    pub async fn attach(launched: Launched, first: Frame) -> Result<Self, Status> {
        let Launched { socket, control } = launched;
        let channel = channel(socket);
        let (out, messages) = mpsc::unbounded_channel();
        out.send(WorkerMessage { frame: Some(first) }).unwrap();
        let frames = WorkerServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES)
            .attach(UnboundedReceiverStream::new(messages))
            .await?
            .into_inner();
        Ok(Self { out, frames, control })
    }

    pub fn send(&self, frame: Frame) {
        self.out.send(WorkerMessage { frame: Some(frame) }).unwrap();
    }

    /// The next frame from the host; `None` once the stream has ended, however it did.
    pub async fn next(&mut self) -> Option<HostFrame> {
        self.frames.message().await.ok().flatten().map(|message| message.frame.unwrap())
    }

    pub async fn next_call(&mut self) -> v1::Call {
        match self.next().await {
            Some(HostFrame::Call(call)) => call,
            other => panic!("expected a call, got {other:?}"),
        }
    }

    pub fn result(&self, call_id: u64, data: &'static [u8]) {
        self.send(Frame::Result(v1::Result { call_id, value: Some(raw(data)), run_us: 5 }));
    }
}

/// A client connection over one socket.
pub fn channel(socket: UnixStream) -> Channel {
    socket.set_nonblocking(true).unwrap();
    let socket = Arc::new(Mutex::new(Some(socket)));
    Endpoint::from_static("http://host")
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_with_connector_lazy(tower::service_fn(move |_| {
            let socket = Arc::clone(&socket);
            async move {
                let socket = socket.lock().await.take().ok_or(std::io::ErrorKind::NotFound)?;
                Ok::<_, std::io::Error>(TokioIo::new(AsyncStream::from_std(socket)?))
            }
        }))
}

pub fn raw(data: impl Into<bytes::Bytes>) -> v1::Payload {
    v1::Payload { codec: v1::Codec::Raw.into(), data: data.into(), ..Default::default() }
}

pub fn hello() -> v1::Hello {
    v1::Hello {
        worker_id: WORKER.to_owned(),
        pid: std::process::id(),
        contract: snakepit_proto::contract(),
        version: "0.1.0".to_owned(),
        python: Some(v1::PythonInfo { version: "3.13.0".to_owned(), ..Default::default() }),
        capacity: 1,
        tools: vec![v1::Tool { name: "add".to_owned(), ..Default::default() }],
        ..Default::default()
    }
}

/// A worker that was welcomed, and the host's link to it.
pub async fn attached(server: &LinkServer) -> (Link, FakeWorker) {
    attached_with(server, |_| {}).await
}

pub async fn attached_with(
    server: &LinkServer,
    set: impl FnOnce(&mut LinkOptions),
) -> (Link, FakeWorker) {
    let (attaching, launched) = launch_with(server, set);
    let (link, worker) =
        tokio::join!(attaching, FakeWorker::attach(launched, Frame::Hello(hello())));
    let mut worker = worker.unwrap();
    let welcome = worker.next().await;
    assert!(matches!(welcome, Some(HostFrame::Welcome(_))), "{welcome:?}");
    (link.unwrap(), worker)
}

/// Notes events; `refuse_chunks` makes every chunk exceed its credit.
pub struct Sink {
    events: mpsc::UnboundedSender<(u64, CallEvent)>,
    refuse_chunks: bool,
}

pub type Events = mpsc::UnboundedReceiver<(u64, CallEvent)>;

impl CallSink for Sink {
    fn event(
        self: Arc<Self>,
        _: u64,
        call: CallId,
        event: CallEvent,
    ) -> Result<(), CreditExceeded> {
        if self.refuse_chunks && matches!(event, CallEvent::Chunk(_)) {
            return Err(CreditExceeded);
        }
        let _ = self.events.send((call.get(), event));
        Ok(())
    }
}

pub fn sink() -> (Arc<Sink>, Events) {
    let (events, received) = mpsc::unbounded_channel();
    (Arc::new(Sink { events, refuse_chunks: false }), received)
}

pub fn stingy_sink() -> (Arc<Sink>, Events) {
    let (events, received) = mpsc::unbounded_channel();
    (Arc::new(Sink { events, refuse_chunks: true }), received)
}

pub fn call(id: u64, command: &str, arguments: impl Into<bytes::Bytes>) -> Call {
    Call {
        id: CallId::new(id).unwrap(),
        request: Request::new(command, Payload::from_bytes(Codec::Raw, arguments)),
        stream_credit: None,
    }
}

pub fn streamed(id: u64, credit: u32) -> Call {
    Call { stream_credit: Some(credit), ..call(id, "count", "") }
}

/// Queues a call without flushing.
pub fn queue(link: &Link, sink: &Arc<Sink>, call: &Call) {
    let sink: Arc<dyn CallSink> = sink.clone();
    link.submit(call, None, Reply::new(sink, 0, call.id)).unwrap();
}

/// Queues and sends a call.
pub fn submit(link: &Link, sink: &Arc<Sink>, call: &Call) {
    queue(link, sink, call);
    link.flush();
}

/// Pings the worker, which answers with these figures: whatever was sent before has been read when
/// this returns.
pub async fn ping(link: &Link, worker: &mut FakeWorker, running: u32, queued: u32) {
    let pong = link.ping();
    let Some(HostFrame::Ping(ping)) = worker.next().await else { panic!("expected a ping") };
    let nonce = ping.nonce;
    let beat = v1::Heartbeat { running, queued, nonce, ..Default::default() };
    worker.send(Frame::Heartbeat(beat));
    pong.await.unwrap();
}

/// Carries bytes between the worker and the host until told to stop.
async fn carry(
    mut worker: AsyncStream,
    mut host: AsyncStream,
    mut stop: oneshot::Receiver<()>,
) -> (AsyncStream, AsyncStream) {
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    loop {
        tokio::select! {
            _ = &mut stop => return (worker, host),
            n = worker.read(&mut up) => host.write_all(&up[..n.unwrap()]).await.unwrap(),
            n = host.read(&mut down) => worker.write_all(&down[..n.unwrap()]).await.unwrap(),
        }
    }
}

/// Stands between a worker and its host; stopped, it leaves both ends to the test.
pub struct Relay {
    stop: oneshot::Sender<()>,
    carried: JoinHandle<(AsyncStream, AsyncStream)>,
}

impl Relay {
    /// The end towards the worker and the end towards the host.
    pub async fn stop(self) -> (AsyncStream, AsyncStream) {
        self.stop.send(()).unwrap();
        self.carried.await.unwrap()
    }
}

/// As [`attached`], with a relay on the socket.
pub async fn attached_through_relay(server: &LinkServer) -> (Link, FakeWorker, Relay) {
    let (attaching, mut launched) = launch(server);
    let (near, far) = UnixStream::pair().unwrap();
    let to_host = std::mem::replace(&mut launched.socket, far);
    let [near, to_host] = [near, to_host].map(|socket| {
        socket.set_nonblocking(true).unwrap();
        AsyncStream::from_std(socket).unwrap()
    });
    let (stop, stopped) = oneshot::channel();
    let relay = Relay { stop, carried: tokio::spawn(carry(near, to_host, stopped)) };
    let hello = Frame::Hello(hello());
    let (link, worker) = tokio::join!(attaching, FakeWorker::attach(launched, hello));
    let mut worker = worker.unwrap();
    worker.next().await;
    (link.unwrap(), worker, relay)
}
