//! The socket of a link, on a tokio runtime; both sides speak through it.
//!
//! Owns the reading and writing of bytes. Invariant: it is registered for writing only while a
//! write waits for room. tokio's own stream is so all the time, and then each frame that the other
//! side has read wakes this one once more, for nothing.
#![expect(unsafe_code, reason = "registers descriptors, whose owners tokio cannot see")]

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

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

impl AsyncRead for LinkSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut readable = ready!(self.stream.poll_read_ready(context))?;
            let free = buffer.initialize_unfilled();
            match self.stream.get_ref().read(free) {
                Ok(count) => {
                    if 0 < count && count < free.len() {
                        // Nothing is left: the next bytes come with news of their own.
                        readable.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
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
