//! A host and a worker over one socket pair, in one process: what the bare link costs.
//!
//! `cargo run --release --example echo -- [calls] [in flight]`

use std::error::Error;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use snakepit_bridge::{LinkOptions, LinkServer};
use snakepit_core::{
    Call, CallEvent, CallId, CallSink, Codec, CreditExceeded, Payload, Reply, Request,
};
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::worker_message::Frame;
use snakepit_proto::v1::worker_service_client::WorkerServiceClient;
use snakepit_proto::v1::{Hello, PythonInfo, Result as CallResult, WorkerMessage};
use snakepit_shm::ControlReader;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;

/// Answers each call with its arguments.
async fn worker(socket: UnixStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    socket.set_nonblocking(true)?;
    let mut socket = Some(TokioIo::new(tokio::net::UnixStream::from_std(socket)?));
    let connector = tower::service_fn(move |_| {
        let socket = socket.take().ok_or(std::io::ErrorKind::NotFound);
        async move { Ok::<_, std::io::Error>(socket?) }
    });
    let channel = Endpoint::from_static("http://host").connect_with_connector(connector).await?;
    let (send, frames) = mpsc::unbounded_channel();
    let say = |frame| {
        let sent = send.send(WorkerMessage { frame: Some(frame) });
        sent.map_err(|_| "the link has ended")
    };
    say(Frame::Hello(Hello {
        worker_id: "echo.0.0".to_owned(),
        contract: snakepit_proto::contract(),
        python: Some(PythonInfo::default()),
        capacity: 1,
        ..Default::default()
    }))?;
    let frames = UnboundedReceiverStream::new(frames);
    let mut calls = WorkerServiceClient::new(channel).attach(frames).await?.into_inner();
    while let Some(message) = calls.message().await? {
        if let Some(HostFrame::Call(call)) = message.frame {
            let (call_id, value) = (call.call_id, call.arguments);
            say(Frame::Result(CallResult { call_id, value, run_us: 0 }))?;
        }
    }
    Ok(())
}

/// Tells the caller that a call has ended.
struct Done(mpsc::UnboundedSender<()>);

impl CallSink for Done {
    fn event(self: Arc<Self>, _: u64, _: CallId, _: CallEvent) -> Result<(), CreditExceeded> {
        // The receiver outlives the calls.
        let _ = self.0.send(());
        Ok(())
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let calls = numbers.next().transpose()?.unwrap_or(200_000);
    let in_flight = numbers.next().transpose()?.unwrap_or(16);

    let (host_end, worker_end) = UnixStream::pair()?;
    std::thread::spawn(move || runtime().map(|runtime| runtime.block_on(worker(worker_end))));
    let io = runtime()?;
    let links = LinkServer::start(io.handle().clone());
    let options = LinkOptions::new("echo".into(), "echo.0.0".into(), ControlReader::create()?);
    let link = io.block_on(links.adopt(host_end, options)?)?;

    let (done, mut ended) = mpsc::unbounded_channel();
    let sink: Arc<dyn CallSink> = Arc::new(Done(done));
    let request = Request::new("echo", Payload::from_bytes(Codec::Raw, vec![7; 160]));
    let submit = |number: u64| {
        let id = CallId::new(number + 1)?;
        let call = Call { id, request: request.clone(), stream_credit: None };
        let reply = Reply::new(Arc::clone(&sink), 0, id);
        link.submit(&call, Some(Duration::from_secs(60)), reply).ok()
    };
    let start = Instant::now();
    io.block_on(async {
        let mut next = 0;
        for answered in 0..calls {
            while next < calls && next - answered < in_flight {
                submit(next);
                next += 1;
            }
            link.flush();
            ended.recv().await;
        }
    });
    let rate = calls as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0} calls/s with {in_flight} in flight, {:.1} µs each", 1e6 / rate);
    Ok(())
}
