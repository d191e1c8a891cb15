//! The way of descriptors from the host to one worker: a pair of packet sockets. Owns the packet's
//! form and both ends. What is done with a descriptor is decided elsewhere.
//!
//! Invariant: one packet carries one descriptor, and neither end ever waits.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use crate::error::LendError;
use crate::segment::SegmentId;

/// The length of a packet: three 64-bit numbers, little endian.
pub const PACKET_BYTES: usize = 24;

/// What the receiver may do with the descriptor's memory, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A segment that the host fills.
    Read,
    /// A segment that this worker fills.
    Write,
    /// A file on disk, to be read.
    File,
}

/// What comes with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) segment: SegmentId,
    pub(crate) size_bytes: u64,
    pub(crate) kind: Kind,
}

impl Packet {
    pub(crate) fn to_bytes(self) -> [u8; PACKET_BYTES] {
        let kind: u64 = match self.kind {
            Kind::Read => 0,
            Kind::Write => 1,
            Kind::File => 2,
        };
        let mut bytes = [0; PACKET_BYTES];
        bytes[..8].copy_from_slice(&self.segment.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.size_bytes.to_le_bytes());
        bytes[16..].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    /// Reads a packet; `None` if it is none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; PACKET_BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let kind = match number(16) {
            0 => Kind::Read,
            1 => Kind::Write,
            2 => Kind::File,
            _ => return None,
        };
        Some(Self { segment: SegmentId(number(0)), size_bytes: number(8), kind })
    }
}

/// The host's end.
#[derive(Debug)]
pub struct DescriptorSender(OwnedFd);

/// The worker's end.
#[derive(Debug)]
pub struct DescriptorReceiver(OwnedFd);

/// Makes a way of descriptors: the host's end, and the descriptor to hand to the worker, which makes
/// a [`DescriptorReceiver`] of it. Both close on exec.
///
/// # Errors
/// Fails when the system has no descriptors left.
pub fn descriptor_channel() -> io::Result<(DescriptorSender, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (host, worker) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((DescriptorSender(host), worker))
}

/// The host's end of a pair of packet sockets that was made elsewhere.
impl From<OwnedFd> for DescriptorSender {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl DescriptorSender {
    /// Sends a descriptor without waiting.
    pub(crate) fn send(&self, packet: Packet, file: BorrowedFd<'_>) -> Result<(), LendError> {
        let bytes = packet.to_bytes();
        let files = [file];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        loop {
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&files));
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                // A full buffer, or too many descriptors on their way: both pass when it reads.
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => {
                    return Err(LendError::Full);
                }
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    return Err(LendError::Closed);
                }
                Err(error) => return Err(LendError::System(error.into())),
            }
        }
    }
}

impl DescriptorReceiver {
    /// The end that was handed to this process.
    pub fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The next descriptor, if one has come. Never waits.
    ///
    /// # Errors
    /// `InvalidData` for a packet that is none; `UnexpectedEof` when the host has closed its end;
    /// else what the system said.
    pub(crate) fn receive(&self) -> io::Result<Option<(Packet, OwnedFd)>> {
        let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        // One byte more than a packet, to see one that is too long; room for a second descriptor, to
        // see one that is too much. rustix closes what is not taken.
        let mut bytes = [0; PACKET_BYTES + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        let mut files: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            // What the kernel does when this process has no descriptor left.
            return refuse("a descriptor was lost; raise the limit of open files");
        }
        let (Some(packet), Some(file), true) =
            (Packet::parse(&bytes[..received.bytes]), files.pop(), files.is_empty())
        else {
            return refuse("a packet on the way of descriptors is none");
        };
        Ok(Some((packet, file)))
    }
}

impl AsFd for DescriptorReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
