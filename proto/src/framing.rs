//! gRPC messages in the body of a request or response, with payloads that are never copied.
//!
//! Owns how messages become HTTP/2 DATA and back. It speaks plain gRPC, as any generated client or
//! server does; what those do beyond is to copy each payload into a buffer of their own on either
//! side, which takes as long as writing it to the socket. Invariant: a payload that travels in
//! fragments leaves as the memory it was encoded to, and arrives as slices of what was received.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_core::Stream;
use http_body::{Body as _, Frame};
use prost::Message;
use prost::encoding::{WireType, encode_key, key_len};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::HeaderMap;

use crate::MESSAGE_BYTES;
use crate::v1::{Fragment, HostMessage, WorkerMessage, host_message, worker_message};

/// What precedes a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Messages are gathered into one piece of DATA up to this size, and as far as they are ready.
const BATCH_BYTES: usize = 32 * 1024;

/// Below this size a copy is cheaper than a piece of DATA of its own.
const ALONG_BYTES: usize = 4 * 1024;

/// The position of `Fragment.data` in the contract.
const DATA_TAG: u32 = 3;

/// A message that travels on a link.
pub trait LinkMessage: Message + Default {
    /// The position of the `fragment` frame in it.
    const FRAGMENT_TAG: u32;

    /// The fragment, if that is what it carries.
    fn fragment(&mut self) -> Option<&mut Fragment>;
}

impl LinkMessage for HostMessage {
    const FRAGMENT_TAG: u32 = 13;

    fn fragment(&mut self) -> Option<&mut Fragment> {
        match &mut self.frame {
            Some(host_message::Frame::Fragment(fragment)) => Some(fragment),
            _ => None,
        }
    }
}

impl LinkMessage for WorkerMessage {
    const FRAGMENT_TAG: u32 = 15;

    fn fragment(&mut self) -> Option<&mut Fragment> {
        match &mut self.frame {
            Some(worker_message::Frame::Fragment(fragment)) => Some(fragment),
            _ => None,
        }
    }
}

/// A stream of messages as a body.
///
/// Ends with the stream, or with the status it fails with.
pub struct Outgoing<S> {
    messages: S,
    batch: BytesMut,
    /// Follows the batch that was given out last.
    payload: Option<Bytes>,
    ending: Ending,
}

enum Ending {
    NotYet,
    /// What the trailers have to say.
    Due(Status),
    Done,
}

impl<S> Outgoing<S> {
    /// Sends what the stream gives.
    pub fn new(messages: S) -> Self {
        Self { messages, batch: BytesMut::new(), payload: None, ending: Ending::NotYet }
    }
}

impl<S, M> http_body::Body for Outgoing<S>
where
    S: Stream<Item = Result<M, Status>> + Unpin,
    M: LinkMessage,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(payload) = this.payload.take() {
            return Poll::Ready(Some(Ok(Frame::data(payload))));
        }
        while matches!(this.ending, Ending::NotYet)
            && this.payload.is_none()
            && this.batch.len() < BATCH_BYTES
        {
            match Pin::new(&mut this.messages).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => this.payload = write(message, &mut this.batch),
                Poll::Ready(Some(Err(status))) => this.ending = Ending::Due(status),
                Poll::Ready(None) => this.ending = Ending::Due(Status::ok("")),
                Poll::Pending if this.batch.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if !this.batch.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(this.batch.split().freeze()))));
        }
        match std::mem::replace(&mut this.ending, Ending::Done) {
            Ending::Due(status) => {
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            _ => Poll::Ready(None),
        }
    }
}

/// Appends a message; gives back the end of it that is to follow uncopied.
fn write<M: LinkMessage>(mut message: M, out: &mut BytesMut) -> Option<Bytes> {
    let large = message.fragment().filter(|fragment| fragment.data.len() >= ALONG_BYTES);
    let Some(fragment) = large else {
        let len = message.encoded_len();
        write_prefix(len, out);
        let written = message.encode(out);
        debug_assert!(written.is_ok(), "a growing buffer has room");
        return None;
    };
    // What prost would write, but for the data, which comes last.
    let data = std::mem::take(&mut fragment.data);
    let data_head = key_len(DATA_TAG) + prost::length_delimiter_len(data.len());
    let inner = fragment.encoded_len() + data_head + data.len();
    let outer_head = key_len(M::FRAGMENT_TAG) + prost::length_delimiter_len(inner);
    write_prefix(outer_head + inner, out);
    write_head(M::FRAGMENT_TAG, inner, out);
    let written = fragment.encode(out);
    debug_assert!(written.is_ok(), "a growing buffer has room");
    write_head(DATA_TAG, data.len(), out);
    Some(data)
}

fn write_prefix(len: usize, out: &mut BytesMut) {
    out.reserve(PREFIX_BYTES + len.min(BATCH_BYTES));
    out.put_u8(0);
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

fn write_head(tag: u32, len: usize, out: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    prost::encoding::encode_varint(len as u64, out);
}

/// The messages in a body.
///
/// Ends when the body does, whatever its trailers say if that is no error.
pub struct Incoming<M> {
    body: Body,
    received: Pieces,
    message: PhantomData<fn() -> M>,
}

impl<M> Incoming<M> {
    /// Reads the messages of a body.
    pub fn new(body: Body) -> Self {
        Self { body, received: Pieces::default(), message: PhantomData }
    }
}

/// Fails with a status without a source when what came is not a message, or not even HTTP/2, and with
/// the status in the trailers, or one with the transport's error as its source.
impl<M: LinkMessage> Stream for Incoming<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(message) = read(&mut this.received).transpose() {
                return Poll::Ready(Some(message));
            }
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(frame) => frame.map_err(named)?,
                None if this.received.len == 0 => return Poll::Ready(None),
                None => {
                    this.received = Pieces::default();
                    let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Some(Err(Status::from_error(Box::new(cut)))));
                }
            };
            match frame.into_data() {
                Ok(data) => this.received.push(data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    match Status::from_header_map(&trailers) {
                        Some(status) if status.code() != tonic::Code::Ok => {
                            return Poll::Ready(Some(Err(status)));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Tells a connection that one end gave up over the other's behaviour, which is no end of either
/// process, from one that broke.
fn named(status: Status) -> Status {
    let mut source = std::error::Error::source(&status);
    while let Some(error) = source {
        match error.downcast_ref::<h2::Error>() {
            Some(error) if error.is_go_away() && error.reason() != Some(h2::Reason::NO_ERROR) => {
                return Status::internal(error.to_string());
            }
            _ => source = error.source(),
        }
    }
    status
}

/// Takes the next message off what was received, if it is whole.
fn read<M: LinkMessage>(received: &mut Pieces) -> Result<Option<M>, Status> {
    let malformed = |what: String| Err(Status::internal(what));
    let Some(prefix) = received.peek::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let [compressed, len @ ..] = prefix;
    let len = u32::from_be_bytes(len) as usize;
    if compressed != 0 {
        return malformed(format!("a message with flag {compressed}, and none is compressed"));
    }
    if len > MESSAGE_BYTES {
        return malformed(format!("a message of {len} bytes, over the limit of {MESSAGE_BYTES}"));
    }
    if received.len < PREFIX_BYTES + len {
        return Ok(None);
    }
    received.advance(PREFIX_BYTES);
    match M::decode(received.take(len)) {
        Ok(message) => Ok(Some(message)),
        Err(error) => malformed(error.to_string()),
    }
}

/// What was received and not read yet.
#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// The first bytes, if there are as many.
    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        if let Some(first) = self.pieces.front().and_then(|piece| piece.first_chunk()) {
            return Some(*first);
        }
        let mut bytes = [0; N];
        let mut all = self.pieces.iter().flatten();
        for byte in &mut bytes {
            *byte = *all.next()?;
        }
        Some(bytes)
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        match self.pieces.front_mut() {
            // Slices where they can be had.
            Some(first) if count <= first.len() => {
                let bytes = first.slice(..count);
                self.advance(count);
                bytes
            }
            _ => {
                let mut bytes = BytesMut::with_capacity(count);
                bytes.put(self.take(count));
                bytes.freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Call, Payload};

    /// What an ordinary gRPC stack sends for a message.
    fn plain(message: &impl Message) -> Vec<u8> {
        let mut out = vec![0];
        out.put_u32(message.encoded_len() as u32);
        message.encode(&mut out).unwrap();
        out
    }

    fn fragment(size: usize) -> Fragment {
        Fragment { payload_id: 7, offset: 300_000, data: vec![5; size].into() }
    }

    fn host(fragment: Fragment) -> HostMessage {
        HostMessage { frame: Some(host_message::Frame::Fragment(fragment)) }
    }

    fn worker(fragment: Fragment) -> WorkerMessage {
        WorkerMessage { frame: Some(worker_message::Frame::Fragment(fragment)) }
    }

    fn written<M: LinkMessage>(message: M) -> (Vec<u8>, Option<Bytes>) {
        let mut out = BytesMut::new();
        let payload = write(message, &mut out);
        (out.to_vec(), payload)
    }

    #[test]
    fn fragments_are_written_as_prost_would_and_their_data_is_not_copied() {
        for size in [0, 1, ALONG_BYTES - 1, ALONG_BYTES, 128 * 1024, 300_000] {
            let data = fragment(size).data;
            for (ours, (mut head, payload)) in [
                (
                    plain(&host(fragment(size))),
                    written(host(Fragment { data: data.clone(), ..fragment(0) })),
                ),
                (
                    plain(&worker(fragment(size))),
                    written(worker(Fragment { data: data.clone(), ..fragment(0) })),
                ),
            ] {
                assert_eq!(payload.is_some(), size >= ALONG_BYTES);
                if let Some(payload) = payload {
                    assert_eq!(payload.as_ptr(), data.as_ptr());
                    head.extend_from_slice(&payload);
                }
                assert_eq!(head, ours, "{size}");
            }
        }
    }

    #[test]
    fn messages_are_read_however_they_were_cut() {
        let call = Call {
            call_id: 3,
            command: "echo".to_owned(),
            arguments: Some(Payload { data: Bytes::from_static(b"abc"), ..Default::default() }),
            ..Default::default()
        };
        let call = HostMessage { frame: Some(host_message::Frame::Call(call)) };
        let mut bytes = plain(&call);
        bytes.extend(plain(&host(fragment(9))));
        let bytes = Bytes::from(bytes);
        for cut in 0..bytes.len() {
            for second in cut..bytes.len() {
                let mut received = Pieces::default();
                let mut messages = Vec::new();
                for piece in [bytes.slice(..cut), bytes.slice(cut..second), bytes.slice(second..)] {
                    received.push(piece);
                    while let Some(message) = read::<HostMessage>(&mut received).unwrap() {
                        messages.push(message);
                    }
                }
                assert_eq!(messages, [call.clone(), host(fragment(9))], "{cut} {second}");
                assert_eq!(received.len, 0);
            }
        }
    }

    #[test]
    fn received_payloads_are_slices_of_what_was_received() {
        let bytes = Bytes::from(plain(&host(fragment(5000))));
        let mut received = Pieces::default();
        received.push(bytes.clone());
        let mut message = read::<HostMessage>(&mut received).unwrap().unwrap();
        let data = &message.fragment().unwrap().data;
        assert!(bytes.as_ptr_range().contains(&data.as_ptr()));
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        for bytes in [&[1, 0, 0, 0, 1, 0][..], &[0, 255, 255, 255, 255], &[0, 0, 0, 0, 1, 255]] {
            let mut received = Pieces::default();
            received.push(Bytes::copy_from_slice(bytes));
            assert!(read::<HostMessage>(&mut received).is_err(), "{bytes:?}");
        }
    }
}
