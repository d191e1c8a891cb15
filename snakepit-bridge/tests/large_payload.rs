//! Payloads over one fragment, in both directions.

mod support;

use bytes::Bytes;
use snakepit_core::{CallEvent, CallId, CancelReason};
use snakepit_proto::FRAGMENT_BYTES;
use snakepit_proto::v1;
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::worker_message::Frame;
use support::{FakeWorker, attached, call, ping, server, sink, submit};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_cancel_overtakes_the_call_it_is_about() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, _events) = sink();
    let bytes: Bytes = (0..64 * MIB).map(|i| i as u8).collect::<Vec<_>>().into();
    submit(&link, &sink, &call(1, "store", bytes.clone()));

    let head = worker.next_call().await.arguments.unwrap();
    assert_eq!((head.total_bytes, head.data.len()), (bytes.len() as u64, 0));
    link.cancel(CallId::new(1).unwrap(), CancelReason::Dropped);
    link.flush();

    let mut received = head.data.to_vec();
    let mut cancelled_at = None;
    while received.len() < bytes.len() {
        match worker.next().await.unwrap() {
            HostFrame::Fragment(fragment) => {
                assert_eq!(fragment.payload_id, head.payload_id);
                assert_eq!(fragment.offset, received.len() as u64);
                received.extend_from_slice(&fragment.data);
            }
            HostFrame::Cancel(_) => cancelled_at = Some(received.len()),
            other => panic!("{other:?}"),
        }
    }
    assert!(received == bytes, "the payload came out changed");
    // What lies between is what h2 and the socket had taken already.
    assert!(cancelled_at.unwrap() < 8 * MIB, "the cancel waited for {cancelled_at:?} bytes");
}

#[tokio::test]
async fn two_large_payloads_share_the_link() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, _events) = sink();
    for id in 1..=2 {
        support::queue(&link, &sink, &call(id, "store", vec![id as u8; 8 * MIB]));
    }
    link.flush();
    worker.next_call().await;
    worker.next_call().await;
    let mut order = Vec::new();
    while order.len() < 20 {
        let Some(HostFrame::Fragment(fragment)) = worker.next().await else { panic!() };
        order.push(fragment.payload_id);
    }
    assert!(order.windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
}

fn result_head(worker: &FakeWorker, call_id: u64, bytes: &Bytes) {
    let value = v1::Payload {
        codec: v1::Codec::Raw.into(),
        data: bytes.slice(..FRAGMENT_BYTES),
        total_bytes: bytes.len() as u64,
        payload_id: call_id,
        ..Default::default()
    };
    worker.send(Frame::Result(v1::Result { call_id, value: Some(value), run_us: 1 }));
}

fn fragment(worker: &FakeWorker, payload_id: u64, bytes: &Bytes, offset: usize) {
    let data = bytes.slice(offset..bytes.len().min(offset + FRAGMENT_BYTES));
    worker.send(Frame::Fragment(v1::Fragment { payload_id, offset: offset as u64, data }));
}

#[tokio::test]
async fn a_heartbeat_and_another_result_overtake_a_large_result() {
    let server = server();
    let (link, mut worker) = attached(&server).await;
    let (sink, mut events) = sink();
    submit(&link, &sink, &call(1, "load", ""));
    submit(&link, &sink, &call(2, "load", ""));
    worker.next_call().await;
    worker.next_call().await;

    let bytes: Bytes = (0..64 * MIB).map(|i| (i / 7) as u8).collect::<Vec<_>>().into();
    result_head(&worker, 1, &bytes);
    let offsets: Vec<_> = (FRAGMENT_BYTES..bytes.len()).step_by(FRAGMENT_BYTES).collect();
    let (early, late) = offsets.split_at(offsets.len() / 2);
    for &offset in early {
        fragment(&worker, 1, &bytes, offset);
    }
    worker.result(2, b"small");
    ping(&link, &mut worker, 2, 0).await;
    let Some((2, CallEvent::Finished { .. })) = events.recv().await else { panic!() };
    assert_eq!(link.in_flight(), 1, "the large one is still on its way");
    for &offset in late {
        fragment(&worker, 1, &bytes, offset);
    }
    let Some((1, CallEvent::Finished { value, .. })) = events.recv().await else { panic!() };
    assert!(value.into_bytes() == bytes);
}
