//! The host's end of one link's socket, and the handle that closes it from anywhere.
//!
//! Invariant: what a worker wrote before it died is read before the end of its stream is seen.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{Shutdown, setsockopt, shutdown};
use snakepit_proto::socket::LinkSocket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use crate::server::Session;

/// What may lie in a link's socket unread, in each direction. The system's default of some 200 KiB
/// makes a payload of 1 MB wait for its reader five times.
const SOCKET_BYTES: usize = 4 * 1024 * 1024;

/// Makes the two ends of a link: one to adopt, one for the worker.
///
/// # Errors
/// When the system has no descriptors left.
pub fn socket_pair() -> io::Result<(UnixStream, UnixStream)> {
    let pair = UnixStream::pair()?;
    for end in [&pair.0, &pair.1] {
        // The system caps it silently; whatever it allows is better than its default.
        setsockopt(end, SndBuf, &SOCKET_BYTES)?;
    }
    Ok(pair)
}

/// One adopted socket, as the tonic server sees it.
pub(crate) struct LinkIo {
    stream: LinkSocket,
    session: Arc<Session>,
}

/// Closes a link's socket; harmless when it is closed already.
#[derive(Clone)]
pub(crate) struct Closer(Arc<Mutex<Option<RawFd>>>);

impl Closer {
    pub(crate) fn new(stream: &UnixStream) -> Self {
        Self(Arc::new(Mutex::new(Some(stream.as_raw_fd()))))
    }

    /// Ends both directions: the worker sees the end of its stream, and so does our reader once it
    /// has taken what is already there.
    pub(crate) fn close(&self) {
        let descriptor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(descriptor) = *descriptor {
            // The lock keeps `LinkIo` from closing the descriptor, so the number is still ours.
            // The only possible failure is ENOTCONN: the other end is gone, which is what we want.
            let _ = shutdown(descriptor, Shutdown::Both);
        }
    }

    fn retire(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl LinkIo {
    pub(crate) fn new(stream: LinkSocket, session: Arc<Session>) -> Self {
        Self { stream, session }
    }
}

impl Drop for LinkIo {
    fn drop(&mut self) {
        // Runs before the stream's own drop, which gives the number back to the system.
        self.session.closer().retire();
    }
}

impl Connected for LinkIo {
    type ConnectInfo = Arc<Session>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.session)
    }
}

impl AsyncRead for LinkIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

/// A write to a worker that is gone counts as written. h2 gives up a connection at its first write
/// error, and with it results that came in since it last read; reading finds the end by itself.
fn ignore_lost(result: Poll<io::Result<usize>>, len: usize) -> Poll<io::Result<usize>> {
    match result {
        Poll::Ready(Err(e))
            if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
        {
            Poll::Ready(Ok(len))
        }
        other => other,
    }
}

impl AsyncWrite for LinkIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ignore_lost(Pin::new(&mut self.stream).poll_write(cx, buf), buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        ignore_lost(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs), len)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_a_dead_worker_wrote_is_read_after_a_write_to_it() {
        let (host, mut worker) = UnixStream::pair().unwrap();
        host.set_nonblocking(true).unwrap();
        let closer = Closer::new(&host);
        let host = LinkSocket::new(host).unwrap();
        let mut io = LinkIo::new(host, Arc::new(Session::new(closer.clone(), None)));
        io.write_all(b"never read").await.unwrap();
        worker.write_all(b"result").unwrap();
        drop(worker);

        io.write_all(b"cancel").await.unwrap();
        let mut received = [0; 6];
        io.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"result");
        drop(io);
        closer.close();
    }
}
