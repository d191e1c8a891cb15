//! The first frame decides whether a worker may stay.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use snakepit_bridge::LinkOptions;
use snakepit_core::{Error, ErrorKind};
use snakepit_proto::v1;
use snakepit_proto::v1::worker_message::Frame;
use support::{FakeWorker, hello, launch, server};

async fn refused(first: Frame) -> Error {
    let server = server();
    let (attaching, launched) = launch(&server);
    let (link, _worker) = tokio::join!(attaching, FakeWorker::attach(launched, first));
    link.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn another_release_is_refused_with_both_versions_and_the_remedy() {
    let other = v1::Hello {
        contract: "0123".to_owned(),
        version: "9.9.9".to_owned(),
        worker_id: "whoever".to_owned(),
        ..hello()
    };
    let error = refused(Frame::Hello(other)).await;
    assert_eq!(error.kind(), ErrorKind::VersionMismatch);
    assert!(error.message().contains("9.9.9"), "{error}");
    assert!(error.message().contains(env!("CARGO_PKG_VERSION")), "{error}");
    assert!(error.help().unwrap().contains("snakepit setup"));
}

#[tokio::test]
async fn a_start_failure_brings_its_phase_and_exception() {
    let exception = v1::PythonException {
        type_name: "ModuleNotFoundError".to_owned(),
        message: "No module named 'nowhere'".to_owned(),
        ..Default::default()
    };
    let failure = v1::StartFailure {
        worker_id: support::WORKER.to_owned(),
        contract: snakepit_proto::contract(),
        version: "0.1.0".to_owned(),
        phase: v1::StartPhase::Import.into(),
        message: "No module named 'nowhere'".to_owned(),
        help: "check the adapter's name".to_owned(),
        exception: Some(exception),
    };
    let error = refused(Frame::StartFailure(failure)).await;
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    assert!(error.message().starts_with("importing the adapter failed"), "{error}");
    assert_eq!(error.python().unwrap().type_name, "ModuleNotFoundError");
    assert_eq!(error.help(), Some("check the adapter's name"));
}

#[tokio::test]
async fn a_worker_that_is_not_who_it_should_be_is_refused() {
    let other = v1::Hello { worker_id: "default.7.0".to_owned(), ..hello() };
    let error = refused(Frame::Hello(other)).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains("default.7.0"), "{error}");
    let error = refused(Frame::DrainDone(v1::DrainDone {})).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let schema = v1::Tool { parameters_schema: "{".to_owned(), ..Default::default() };
    let error = refused(Frame::Hello(v1::Hello { tools: vec![schema], ..hello() })).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_worker_that_dies_before_hello_does_not_leave_the_host_waiting() {
    let server = server();
    let (attaching, launched) = launch(&server);
    drop(launched);
    let error = attaching.await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
}

#[tokio::test]
async fn bytes_that_are_not_http2_do_not_leave_the_host_waiting() {
    use std::io::Write;
    let server = server();
    let (attaching, mut launched) = launch(&server);
    launched.socket.write_all(&[b'x'; 4096]).unwrap();
    let error = attaching.await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
}

#[tokio::test]
async fn giving_up_on_a_worker_closes_its_link() {
    use tokio::io::AsyncReadExt;
    let server = server();
    let (attaching, launched) = launch(&server);
    drop(attaching);
    launched.socket.set_nonblocking(true).unwrap();
    let mut socket = tokio::net::UnixStream::from_std(launched.socket).unwrap();
    let mut greeting = Vec::new();
    socket.read_to_end(&mut greeting).await.unwrap();
}

#[tokio::test]
async fn shutdown_waits_for_links_and_then_takes_no_more() {
    let server = server();
    let (link, mut worker) = support::attached(&server).await;
    let mut shutdown = std::pin::pin!(server.shutdown());
    tokio::select! {
        biased;
        () = &mut shutdown => panic!("a link is still there"),
        () = support::ping(&link, &mut worker, 0, 0) => {}
    }
    drop(link);
    shutdown.await;
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    let page = snakepit_shm::ControlReader::create().unwrap();
    let late = LinkOptions::new("default".into(), support::WORKER.into(), page);
    assert!(server.adopt(socket, late).is_err());
    assert!(worker.next().await.is_none());
}
