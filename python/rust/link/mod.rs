//! The link to the host.
//!
//! Owns the socket, the runtime it is served on, and the Python class that starts and ends it. Knows
//! calls as bytes only. Invariant: until [`Link::open`] or [`Link::fail`] there is no thread and
//! no runtime, so a process may still fork.

mod assembly;
mod driver;
mod network;
mod outbox;
mod reader;
mod signals;
mod wake;

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use snakepit_proto::v1::worker_message::Frame;
use snakepit_proto::v1::{self, StartPhase};
use snakepit_shm::{ControlWriter, RUNNING_SLOTS};

use crate::call::{Queue, ToolCalls};
use crate::dispatch::{self, Hooks, Serving};
use crate::options::Options;
use crate::shm::Sharing;
use crate::tool::Tool;
use crate::{event, process, python};
pub(crate) use driver::Driver;
use network::{FAREWELL, LINGER, Network};
pub(crate) use outbox::Outbox;
pub(crate) use signals::{SLICE, Signals, wakeup_function};
pub(crate) use wake::Wake;

/// The link cannot go on, and why.
struct Violation(String);

impl Violation {
    fn of<E: std::fmt::Display>(step: &str) -> impl FnOnce(E) -> Self {
        move |error| Self(format!("{step}: {error}"))
    }
}

/// What the link's tasks and the dispatch threads share.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) tools: ToolCalls,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) wake: Wake,
    pub(crate) sharing: Arc<Sharing>,
    pub(crate) max_payload_bytes: AtomicUsize,
    gil: Mutex<Gil>,
    /// The end of the link has been announced.
    leaving: AtomicBool,
}

/// The GIL when last looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gil {
    pub(crate) enabled: bool,
    /// The module that turned it on, where that is known.
    pub(crate) module: String,
}

impl Shared {
    pub(crate) fn beat(&self, nonce: u64) {
        let (running, queued) = self.queue.counts();
        let Gil { enabled: gil_enabled, module: gil_module } = self.gil().clone();
        let (running, queued) = (running as u32, queued as u32);
        let beat = v1::Heartbeat { running, queued, gil_enabled, nonce, gil_module };
        self.outbox.push(Frame::Heartbeat(beat));
    }

    /// Notes a look at the GIL; returns whether that is news.
    pub(crate) fn note_gil(&self, gil: Gil) -> bool {
        let mut last = self.gil();
        let is_news = *last != gil;
        *last = gil;
        is_news
    }

    fn gil(&self) -> MutexGuard<'_, Gil> {
        self.gil.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This worker's link to its host.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct Link {
    worker_id: String,
    pool: String,
    capacity: usize,
    shared: Arc<Shared>,
    /// Until it is served.
    socket: Mutex<Option<UnixStream>>,
    network: Mutex<Option<Network>>,
}

#[pymethods]
impl Link {
    /// Takes over the inherited descriptors and keeps them from child processes.
    #[new]
    fn new(options: PyRef<'_, Options>) -> PyResult<Self> {
        let &Options { link_fd, control_fd, shm_fd, capacity, .. } = &*options;
        if !(1..=RUNNING_SLOTS).contains(&capacity) {
            let message = format!("--capacity {capacity}: 1 to {RUNNING_SLOTS} calls at a time");
            return Err(PyValueError::new_err(message));
        }
        let adopt = |option: &str, fd| {
            process::adopt(fd)
                .map_err(|error| PyValueError::new_err(format!("{option} {fd}: {error}")))
        };
        let link = UnixStream::from(adopt("--link-fd", link_fd)?);
        let control = adopt("--control-fd", control_fd)?;
        let control = ControlWriter::open(std::os::fd::AsFd::as_fd(&control))
            .map_err(|error| PyValueError::new_err(format!("--control-fd: {error}")))?;
        let descriptors = shm_fd.map(|fd| adopt("--shm-fd", fd)).transpose()?;
        let outbox = Outbox::new();
        event::attach(&outbox);
        let shared = Shared {
            queue: Queue::new(capacity, control),
            tools: ToolCalls::default(),
            sharing: Sharing::new(descriptors, outbox.clone()),
            outbox,
            wake: Wake::default(),
            max_payload_bytes: AtomicUsize::new(snakepit_proto::MAX_PAYLOAD_BYTES as usize),
            gil: Mutex::new(Gil { enabled: true, module: String::new() }),
            leaving: AtomicBool::new(false),
        };
        Ok(Self {
            worker_id: options.worker_id.clone(),
            pool: options.pool.clone(),
            capacity,
            shared: Arc::new(shared),
            socket: Mutex::new(Some(link)),
            network: Mutex::new(None),
        })
    }

    /// Attaches to the host; the caller runs its calls, each slot on a thread.
    fn open(&self, py: Python<'_>, tools: Vec<Py<Tool>>, hooks: Hooks) -> PyResult<Serving> {
        let mut interpreter = python::describe(py)?.clone();
        let mut gil = Gil { enabled: true, module: String::new() };
        if interpreter.free_threaded_build {
            gil = hooks.gil(py)?;
        }
        (interpreter.gil_enabled, interpreter.gil_module) = (gil.enabled, gil.module.clone());
        self.shared.note_gil(gil);
        let capability = snakepit_proto::SHM_CAPABILITY.to_owned();
        let capabilities = self.shared.sharing.is_possible().then_some(capability);
        self.shared.outbox.push(Frame::Hello(v1::Hello {
            worker_id: self.worker_id.clone(),
            pid: std::process::id(),
            contract: snakepit_proto::contract(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            python: Some(interpreter),
            tools: tools.iter().map(|tool| tool.get().describe()).collect(),
            capacity: self.capacity as u32,
            capabilities: capabilities.into_iter().collect(),
            token: String::new(),
            pool: self.pool.clone(),
        }));
        Ok(Serving::new(self.shared.clone(), self.start()?, tools, hooks))
    }

    /// Tells the host that the worker cannot start, and waits until that has left.
    #[pyo3(signature = (phase, message, help, error=None))]
    fn fail(
        &self,
        py: Python<'_>,
        phase: &str,
        message: String,
        help: String,
        error: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let phase = match phase {
            "import" => StartPhase::Import,
            "discover" => StartPhase::Discover,
            "preload" => StartPhase::Preload,
            "setup" => StartPhase::Setup,
            other => return Err(PyValueError::new_err(format!("unknown phase {other:?}"))),
        };
        self.shared.leaving.store(true, Ordering::Release);
        self.shared.outbox.push(Frame::StartFailure(v1::StartFailure {
            worker_id: self.worker_id.clone(),
            contract: snakepit_proto::contract(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: phase.into(),
            message,
            help,
            exception: error.map(|error| dispatch::describe_exception(&error)),
        }));
        self.start()?;
        // It is all that the host will know, and a busy machine may be long in writing it.
        self.end(py, FAREWELL);
        Ok(())
    }

    /// Sends what is left to send and ends the link.
    fn close(&self, py: Python<'_>) {
        self.end(py, LINGER);
    }

    /// A descriptor that becomes readable when a running call was cancelled or got credit.
    fn wake_fd(&self) -> PyResult<i32> {
        Ok(self.shared.wake.fd()?)
    }

    /// Makes that descriptor unreadable again.
    fn drain_wake(&self) {
        self.shared.wake.drain();
    }
}

impl Link {
    fn end(&self, py: Python<'_>, linger: Duration) {
        self.shared.leaving.store(true, Ordering::Release);
        self.shared.outbox.close();
        py.detach(|| {
            let network = self.network.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(network) = network {
                network.wait(&self.shared.outbox, linger);
            }
        });
    }

    fn start(&self) -> PyResult<Arc<Driver>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let socket = socket.ok_or_else(|| PyRuntimeError::new_err("the link is in use"))?;
        let network = Network::start(socket, self.shared.clone())?;
        let driver = network.driver().clone();
        *self.network.lock().unwrap_or_else(PoisonError::into_inner) = Some(network);
        Ok(driver)
    }
}
