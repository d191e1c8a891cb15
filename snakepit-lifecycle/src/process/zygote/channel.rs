//! The channel to a zygote: packets of JSON with descriptors beside them.
//!
//! Owns asking and being answered. Invariant: whoever asked gets an answer or hears that the zygote
//! is gone; nothing waits here for ever but the reading of the channel itself.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::super::linux;

/// Longest packet either way. The arguments of a worker are what may be long, and the system
/// allows no more than 128 KiB for one that is passed to a program (execve(2)).
const PACKET_BYTES: usize = 192 * 1024;

/// Most descriptors of one packet: a worker's four, its output, and some to spare.
const DESCRIPTORS: usize = 8;

/// What the host asks of a zygote.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request<'a> {
    /// Fork a child; the descriptors come beside it, those of its output last.
    Fork {
        args: &'a [String],
        env: &'a [(String, String)],
        marker: &'a str,
        descriptors: &'a [i32],
    },
    /// Collect a child that has ended.
    Reap { pid: i32 },
}

#[derive(Serialize)]
struct Numbered<'a> {
    id: u64,
    #[serde(flatten)]
    request: &'a Request<'a>,
}

/// What a zygote says; which fields there are depends on the question.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    /// Number of the question; 0 for the first word, which nobody asked for.
    id: u64,
    /// In the first word: whether it can fork.
    pub(super) state: Option<String>,
    /// In the first word: why it cannot. In answers: why there is nothing else.
    pub(super) reason: Option<String>,
    pub(super) errno: Option<i32>,
    pub(super) pid: Option<i32>,
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    /// A descriptor that came beside it.
    #[serde(skip)]
    pub(super) descriptor: Option<OwnedFd>,
}

/// The zygote is gone, or its channel is of no use any more.
#[derive(Debug)]
pub(super) struct Gone;

/// The host's end.
#[derive(Debug)]
pub(super) struct Channel {
    socket: AsyncFd<OwnedFd>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    last: u64,
    /// `None` once the zygote is gone.
    answers: Option<HashMap<u64, oneshot::Sender<Answer>>>,
}

impl Channel {
    /// Makes a channel, and the receiver of the zygote's first word. To be called on the runtime
    /// that is to watch it.
    pub(super) fn new() -> io::Result<(Self, OwnedFd, oneshot::Receiver<Answer>)> {
        let (host, zygote) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&host, true)?;
        let socket = linux::watch(host, Interest::READABLE | Interest::WRITABLE)?;
        let (first, word) = oneshot::channel();
        let answers = Some(HashMap::from([(0, first)]));
        let waiting = Mutex::new(Waiting { last: 0, answers });
        Ok((Self { socket, waiting }, zygote, word))
    }

    /// Asks; the answer comes through the receiver, which fails when the zygote is gone.
    ///
    /// # Cancel safety
    /// Dropping the future has asked nothing.
    pub(super) async fn ask(
        &self,
        request: &Request<'_>,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<Result<oneshot::Receiver<Answer>, Gone>> {
        loop {
            let Ok(mut ready) = self.socket.writable().await else { return Ok(Err(Gone)) };
            match ready.try_io(|_| self.try_ask(request, descriptors)) {
                Ok(asked) => return asked,
                // The zygote has not read what was asked before.
                Err(_would_block) => {}
            }
        }
    }

    /// Asks if there is room for a question.
    pub(super) fn try_ask(
        &self,
        request: &Request<'_>,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<Result<oneshot::Receiver<Answer>, Gone>> {
        let mut waiting = self.lock();
        let id = waiting.last + 1;
        let Some(answers) = &mut waiting.answers else { return Ok(Err(Gone)) };
        let packet = serde_json::to_vec(&Numbered { id, request })?;
        if packet.len() > PACKET_BYTES {
            let text = "the worker's arguments are too long";
            return Err(io::Error::new(io::ErrorKind::ArgumentListTooLong, text));
        }
        if let Err(error) = send(self.socket.get_ref().as_fd(), &packet, descriptors) {
            let ended = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
            if ended.contains(&error.kind()) {
                waiting.answers = None;
                return Ok(Err(Gone));
            }
            return Err(error);
        }
        let (answer, answered) = oneshot::channel();
        answers.insert(id, answer);
        waiting.last = id;
        Ok(Ok(answered))
    }

    /// Whether the zygote is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.lock().answers.is_none()
    }

    /// Asks no more, and has whoever waits for an answer hear that there will be none.
    pub(super) fn give_up(&self) {
        self.lock().answers = None;
    }

    /// Hands out answers until the zygote closes the channel. An answer that nobody waits for any
    /// more goes to `unclaimed`.
    ///
    /// # Errors
    /// When it says what makes no sense; it is not listened to any more.
    pub(super) async fn read(&self, unclaimed: impl Fn(Answer)) -> io::Result<()> {
        let read = self.read_answers(unclaimed).await;
        self.give_up();
        read
    }

    async fn read_answers(&self, unclaimed: impl Fn(Answer)) -> io::Result<()> {
        let mut buffer = vec![0; PACKET_BYTES];
        while let Ok(mut ready) = self.socket.readable().await {
            let received = match ready.try_io(|socket| receive(socket.get_ref(), &mut buffer)) {
                Ok(received) => received,
                Err(_would_block) => continue,
            };
            let Some(answer) = received? else { break };
            let asked = match &mut self.lock().answers {
                Some(answers) => answers.remove(&answer.id),
                None => None,
            };
            match asked {
                Some(asked) => asked.send(answer).unwrap_or_else(&unclaimed),
                None => unclaimed(answer),
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics under this lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(socket: BorrowedFd<'_>, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(packet)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next answer; none at the end.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<Answer>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let got = rustix::net::recvmsg(socket, &mut parts, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let descriptors = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor = descriptors.flatten().next();
    let answer: Answer = serde_json::from_slice(&buffer[..got.bytes])?;
    Ok(Some(Answer { descriptor, ..answer }))
}
