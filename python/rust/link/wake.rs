//! Waking the event loop.
//!
//! Owns a socket pair: the link writes a byte, the loop on the main thread reads it. So a
//! cancellation reaches a coroutine without the link ever entering Python.
//! Invariant: nothing blocks on it, neither the writer nor the reader.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

/// Made when the loop first asks for it; until then there is nobody to wake.
#[derive(Default)]
pub(crate) struct Wake(OnceLock<(UnixStream, UnixStream)>);

impl Wake {
    /// The descriptor that becomes readable.
    pub(crate) fn fd(&self) -> io::Result<RawFd> {
        if self.0.get().is_none() {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            // Another thread may have been faster; then its pair is the one.
            let _ = self.0.set((reader, writer));
        }
        self.0
            .get()
            .map(|(reader, _)| reader.as_raw_fd())
            .ok_or_else(|| io::Error::other("no socket pair"))
    }

    /// Makes the descriptor readable.
    pub(crate) fn wake(&self) {
        if let Some((_, writer)) = self.0.get() {
            // A full buffer means that it is readable already.
            let _ = (&*writer).write(&[1]);
        }
    }

    /// Makes the descriptor unreadable until the next [`wake`](Self::wake).
    pub(crate) fn drain(&self) {
        if let Some((reader, _)) = self.0.get() {
            let mut buffer = [0; 256];
            while matches!((&*reader).read(&mut buffer), Ok(count) if count == buffer.len()) {}
        }
    }
}
