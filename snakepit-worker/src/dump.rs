//! What a worker is doing, as it shows itself.
//!
//! Owns the host's side of asking: a byte on the liveness socket, stacks until a zero byte. The
//! worker answers in a signal handler, so one that holds the GIL answers too.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Any byte would do.
const REQUEST: u8 = b'?';

/// Ends a dump.
const END: u8 = 0;

/// Most that is kept of one. Faulthandler stops at a hundred threads of a hundred frames each, which
/// may be ten times as much.
const MOST_BYTES: usize = 64 * 1024;

/// The stacks of a worker's threads, or why there are none. Comes back within `limit`.
pub(crate) async fn of(liveness: &OwnedFd, limit: Duration) -> String {
    let mut dump = Vec::new();
    let asked = timeout(limit, ask(liveness, &mut dump)).await;
    let cut = match asked {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no more within {limit:?}")),
    };
    let mut dump = String::from_utf8_lossy(&dump).trim_end().to_owned();
    if let Some(cut) = cut {
        let start = if dump.is_empty() { "" } else { "\n" };
        dump.push_str(&format!("{start}({cut})"));
    } else if dump.is_empty() {
        dump.push_str("(nothing to show)");
    }
    dump
}

async fn ask(liveness: &OwnedFd, dump: &mut Vec<u8>) -> io::Result<()> {
    let socket = StdUnixStream::from(liveness.as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    let mut socket = UnixStream::from_std(socket)?;
    socket.write_all(&[REQUEST]).await?;
    while dump.len() < MOST_BYTES {
        if socket.read_buf(dump).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended meanwhile"));
        }
        if dump.last() == Some(&END) {
            dump.pop();
            return Ok(());
        }
    }
    dump.truncate(MOST_BYTES);
    Err(io::Error::other(format!("cut after {MOST_BYTES} bytes")))
}
