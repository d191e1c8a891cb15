//! Waking the main thread for a signal.
//!
//! Python itself only notes that a signal came; what the adapter does about it runs when the main
//! thread comes back to Python. While that waits for calls, somebody has to wake it. Owns a socket
//! pair: Python writes a byte for each signal it has noted, a task of the link reads it.
//! Invariant: nothing blocks on it, neither the writer nor the reader.

use std::io;
use std::os::fd::{IntoRawFd as _, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use tokio::net::UnixStream;

use super::Shared;
use super::driver::Driver;

/// How long handlers may have to wait when the adapter has taken the wake-ups for itself after its
/// setup, as an event loop with signal handlers does. A worker that is asked to end has five
/// seconds for its own.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The longest sleep between two looks for handlers to run where nobody wakes the sleeper.
pub(crate) const SLICE: Duration = Duration::from_millis(200);

/// Whether the main thread is woken for signals; not where the adapter has the wake-ups already.
pub(crate) struct Signals(bool);

impl Signals {
    /// Has Python write here. For the main thread, when the adapter is set up.
    pub(crate) fn listen(py: Python<'_>, shared: &Arc<Shared>, driver: &Driver) -> PyResult<Self> {
        let (reader, writer) = StdUnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let reader = driver.register(reader)?;
        // Python keeps its number for good, so it stays open for as long as the process lives.
        let others = set_wakeup_fd(py, writer.into_raw_fd())?;
        if others >= 0 {
            set_wakeup_fd(py, others)?;
            return Ok(Self(false));
        }
        driver.spawn(rouse(reader, shared.clone()));
        Ok(Self(true))
    }

    /// The longest time between two looks for signals.
    pub(crate) fn longest_wait(&self) -> Duration {
        if self.0 { LONGEST_WAIT } else { SLICE }
    }
}

/// Wakes the main thread whenever Python has noted a signal.
async fn rouse(reader: UnixStream, shared: Arc<Shared>) {
    // A failure would mean that the writer is gone, which nobody closes.
    while reader.readable().await.is_ok() {
        match reader.try_read(&mut [0; 64]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => shared.queue.rouse(),
        }
    }
}

/// Python's own function for it. Looked up once: in a zygote that is for all its workers.
///
/// # Errors
/// Where there is none.
pub(crate) fn wakeup_function(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // What `signal` has it from; that brings `enum` along, which a worker can do without.
    FUNCTION.import(py, "_signal", "set_wakeup_fd")
}

/// Gives the descriptor before, or -1.
fn set_wakeup_fd(py: Python<'_>, fd: RawFd) -> PyResult<RawFd> {
    let options = PyDict::new(py);
    // A full buffer means that the main thread is awake, or will be.
    options.set_item("warn_on_full_buffer", false)?;
    wakeup_function(py)?.call((fd,), Some(&options))?.extract()
}
