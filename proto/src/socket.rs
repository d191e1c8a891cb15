//! The socket of a link, on a tokio runtime; both sides speak through it.
//!
//! Owns the reading and writing of bytes. Invariant: it is registered for writing only while a
//! write waits for room. tokio's own stream is so all the time, and then each frame that the other
//! side has read wakes this one once more, for nothing.
#![expect(
    unsafe_code,
    reason = "registers descriptors, whose owners tokio cannot see, and reads into memory as it is"
)]

use std::io::{self, IoSlice, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connected socket that carries one link.
pub struct LinkSocket {
    stream: AsyncFd<UnixStream>,
    /// A second descriptor, because one can be registered once.
    room: Option<AsyncFd<UnixStream>>,
}

impl LinkSocket {
    /// Takes over a socket that does not block. To be called on the runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch one more descriptor.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self { stream: register(stream, Interest::READABLE)?, room: None })
    }

    /// Writes what there is room for; waits for room only if there is none.
    fn poll_room<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&UnixStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if let Some(room) = &self.room {
                drop(ready!(room.poll_write_ready(context))?);
                self.room = None;
            }
            match write(self.stream.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A new registration tells of the room there is, so none is missed.
                    let second = self.stream.get_ref().try_clone()?;
                    self.room = Some(register(second, Interest::WRITABLE)?);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

fn register(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    // SAFETY: a `UnixStream` owns its descriptor, names always the same one, and is only lent out
    // as shared, so it stays open until the `AsyncFd` is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(stream, interest) };
    Ok(registered?)
}

/// Reads into the free part of a buffer as it is: to clear it first costs as much as one more copy
/// of a large payload.
fn read(stream: &UnixStream, buffer: &mut ReadBuf<'_>) -> Result<usize, Errno> {
    // SAFETY: the free part is only handed to the system, which writes bytes and reads none; what
    // it may have held initialised stays so.
    let free = unsafe { buffer.unfilled_mut() };
    let (filled, _) = rustix::io::read(stream, free)?;
    let count = filled.len();
    // SAFETY: the system has just written so many bytes at the start of the free part.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Ok(count)
}

impl AsyncRead for LinkSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut readable = ready!(self.stream.poll_read_ready(context))?;
            match read(self.stream.get_ref(), buffer) {
                Ok(count) => {
                    if count > 0 && buffer.remaining() > 0 {
                        // Nothing is left: the next bytes come with news of their own.
                        readable.clear_ready();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::WOULDBLOCK) => readable.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for LinkSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_room(context, |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_room(context, |mut stream| stream.write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}
