//! Waking the main thread for a signal.
//!
//! Python itself only notes that a signal came; what the adapter does about it runs when the main
//! thread comes back to Python. While that waits for calls, somebody has to wake it. Owns a socket
//! pair: Python writes a byte for each signal it has noted, a task of the link reads it.
//! Invariant: nothing blocks on it, neither the writer nor the reader. Invariant: a worker that does
//! not rest has none, as it comes back to Python soon enough by itself.

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

/// Longest sleep of the dispatch threads that have no signals to look for.
const REST: Duration = Duration::from_secs(3600);

/// What a dispatch thread that waits for calls does about signals.
pub(crate) enum Signals {
    /// They are not for this one.
    Elsewhere,
    /// It looks for them: it has not rested yet, or the adapter has the wake-ups already.
    Polled { rested: bool },
    /// It is woken.
    Woken,
}

impl Signals {
    /// Only the main thread has any.
    pub(crate) fn of(slot: usize) -> Self {
        if slot == 0 { Self::Polled { rested: false } } else { Self::Elsewhere }
    }

    /// The thread has waited as long as it may: from now on it is woken, if that is to be had. In a
    /// worker that always has calls, it would cost as much as ten of them for nothing.
    pub(crate) fn rested(
        &mut self,
        py: Python<'_>,
        shared: &Arc<Shared>,
        driver: &Driver,
    ) -> PyResult<()> {
        if matches!(self, Self::Polled { rested: false }) {
            *self = Self::listen(py, shared, driver)?;
        }
        Ok(())
    }

    /// Has Python write here.
    fn listen(py: Python<'_>, shared: &Arc<Shared>, driver: &Driver) -> PyResult<Self> {
        let (reader, writer) = StdUnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let reader = driver.register(reader)?;
        // Python keeps its number for good, so it stays open for as long as the process lives.
        let others = set_wakeup_fd(py, writer.into_raw_fd())?;
        if others >= 0 {
            set_wakeup_fd(py, others)?;
            return Ok(Self::Polled { rested: true });
        }
        driver.spawn(rouse(reader, shared.clone()));
        Ok(Self::Woken)
    }

    /// The longest time between two looks for signals.
    pub(crate) fn longest_wait(&self) -> Duration {
        match self {
            Self::Elsewhere => REST,
            Self::Polled { .. } => SLICE,
            Self::Woken => LONGEST_WAIT,
        }
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
