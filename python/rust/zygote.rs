//! The zygote's work: forking workers when the host asks, and collecting them.
//!
//! Owns the channel to the host and what a fresh child must change about its process to be nobody
//! but itself. It is native because every page that a zygote or a fresh child writes to is one that
//! they no longer share, and Python code writes to the pages of all the objects it looks at.
//! Invariants: no child is collected before its group was killed; when the host is gone, all of
//! them are killed and the zygote ends; a child keeps nothing of the channel.
#![expect(unsafe_code, reason = "puts a child's descriptors where it was told to")]

use std::collections::HashSet;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::libc;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, setpgid,
    waitpid,
};
use serde::{Deserialize, Serialize};

use crate::link::wakeup_function;
use crate::options::{Given, Options};
use crate::{dump, process, python, turns};

/// Longest packet. They are not cut: the host keeps its own below this.
const PACKET_BYTES: usize = 256 * 1024;

/// Most descriptors of one packet; the host sends no more.
const DESCRIPTORS: usize = 8;

/// Where a child's output goes; the last two descriptors of a packet.
const STANDARD_OUTPUTS: [RawFd; 2] = [libc::STDOUT_FILENO, libc::STDERR_FILENO];

/// What the host asks for.
#[derive(Deserialize)]
struct Request {
    id: u64,
    #[serde(flatten)]
    work: Work,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Work {
    Fork(Order),
    /// Collect a child that has ended.
    Reap {
        pid: i32,
    },
}

/// What a child is to be.
#[derive(Deserialize)]
struct Order {
    args: Vec<String>,
    env: Vec<(String, String)>,
    marker: String,
    descriptors: Vec<RawFd>,
}

/// What the zygote says; what is missing does not apply.
#[derive(Default, Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
}

/// The zygote's end of its channel, and the children it has.
#[pyclass(frozen, module = "snakepit._native")]
pub(crate) struct ForkServer {
    #[pyo3(get)]
    adapter: String,
    #[pyo3(get)]
    channel_fd: RawFd,
    /// Never closed: in a child its number may be somebody else's.
    channel: ManuallyDrop<OwnedFd>,
    children: Mutex<HashSet<Pid>>,
}

#[pymethods]
impl ForkServer {
    /// Takes over the inherited channel.
    #[new]
    fn new(arguments: Vec<String>) -> PyResult<Self> {
        let given = Given::read(&arguments, &["--adapter", "--channel-fd"], &[])
            .map_err(PyValueError::new_err)?;
        let channel_fd = given.number("--channel-fd").map_err(PyValueError::new_err)?;
        let refused =
            |error: io::Error| PyValueError::new_err(format!("--channel-fd {channel_fd}: {error}"));
        let channel = process::adopt(channel_fd).map_err(refused)?;
        sockopt::socket_type(&channel).map_err(|error| refused(error.into()))?;
        Ok(Self {
            adapter: given.text("--adapter").to_owned(),
            channel_fd,
            channel: ManuallyDrop::new(channel),
            children: Mutex::default(),
        })
    }

    /// Tells the host in which state the zygote is.
    #[pyo3(signature = (state, reason=None))]
    fn tell(&self, state: &str, reason: Option<&str>) -> PyResult<()> {
        self.say(&Answer { state: Some(state), reason, ..Answer::default() }, None)
    }

    /// Does what the host asks; returns in each child, which is bound to the host by then, with
    /// what it has been told.
    fn serve(&self, py: Python<'_>) -> PyResult<Options> {
        let (os, sys) = (py.import("os")?, py.import("sys")?);
        let (fork, environ) = (os.getattr("fork")?, Environ::of(&os)?);
        // What each worker would ask for itself.
        python::describe(py)?;
        wakeup_function(py)?;
        // What is in the buffers, children would write once more. Once, as no Python code runs from
        // here on but what was registered for forks.
        process::flush_outputs(py)?;
        turns::give_way();
        let mut buffer = vec![0; PACKET_BYTES];
        let mut shows_stacks = None;
        loop {
            let (Request { id, work }, descriptors) = self.receive(py, &mut buffer)?;
            let order = match work {
                Work::Fork(order) => order,
                Work::Reap { pid } => {
                    self.reap(id, pid)?;
                    continue;
                }
            };
            let options = Options::parse(&order.args);
            let liveness = options.as_ref().ok().map(|options| options.liveness_fd);
            if let Some(fd) = liveness.filter(|fd| shows_stacks != Some(*fd)) {
                // All workers have it under the same number, so once is enough.
                if shows_stacks.is_none() {
                    dump::install()?;
                }
                dump::show_stacks(py, fd)?;
                shows_stacks = Some(fd);
            }
            if self.fork(&fork, id, &order.descriptors, descriptors)? {
                let options = options.map_err(PyValueError::new_err)?;
                equip(&sys, &environ, &order, options.liveness_fd)?;
                return Ok(options);
            }
        }
    }
}

impl ForkServer {
    fn receive(&self, py: Python<'_>, buffer: &mut [u8]) -> PyResult<(Request, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let length = loop {
            let parts = &mut [IoSliceMut::new(buffer)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match py.detach(|| recvmsg(self.channel.as_fd(), parts, &mut beside, flags)) {
                Ok(message) if message.bytes > 0 => break message.bytes,
                Ok(_) | Err(Errno::CONNRESET) => self.end_with_host(),
                Err(Errno::INTR) => py.check_signals()?,
                Err(error) => return Err(io::Error::from(error).into()),
            }
        };
        let descriptors = beside.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        let request = serde_json::from_slice(&buffer[..length])
            .map_err(|error| PyRuntimeError::new_err(format!("a packet of the host: {error}")))?;
        Ok((request, descriptors))
    }

    fn say(&self, answer: &Answer<'_>, descriptor: Option<BorrowedFd<'_>>) -> PyResult<()> {
        let packet = serde_json::to_vec(answer).map_err(io::Error::from)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        loop {
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if descriptor.is_some() {
                beside.push(SendAncillaryMessage::ScmRights(descriptor.as_slice()));
            }
            let parts = [IoSlice::new(&packet)];
            match sendmsg(self.channel.as_fd(), &parts, &mut beside, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => self.end_with_host(),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    /// Forks; tells whether this is the child.
    fn fork(
        &self,
        fork: &Bound<'_, PyAny>,
        id: u64,
        numbers: &[RawFd],
        descriptors: Vec<OwnedFd>,
    ) -> PyResult<bool> {
        let py = fork.py();
        if descriptors.len() != numbers.len() + STANDARD_OUTPUTS.len() {
            // The system drops what a process has no descriptor left for (recvmsg(2)).
            self.refuse(id, libc::EMFILE)?;
            return Ok(false);
        }
        // Python's own, which runs what was registered for a fork.
        let pid = match fork.call0().and_then(|pid| pid.extract()) {
            Ok(pid) => pid,
            Err(error) if error.is_instance_of::<PyOSError>(py) => {
                let errno = error.value(py).getattr("errno")?.extract()?;
                self.refuse(id, errno)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let Some(pid) = Pid::from_raw(pid) else {
            settle(numbers, descriptors)?;
            return Ok(true);
        };
        self.children().insert(pid);
        // Both sides do it, so that it is done before either goes on.
        let _ = setpgid(Some(pid), Some(pid));
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => {
                let pid = Some(pid.as_raw_nonzero().get());
                self.say(&Answer { id: Some(id), pid, ..Answer::default() }, Some(pidfd.as_fd()))?;
            }
            Err(error) => {
                self.collect(pid, WaitOptions::empty());
                self.refuse(id, error.raw_os_error())?;
            }
        }
        Ok(false)
    }

    fn refuse(&self, id: u64, errno: i32) -> PyResult<()> {
        let reason = io::Error::from_raw_os_error(errno).to_string();
        let (id, errno, reason) = (Some(id), Some(errno), Some(&*reason));
        self.say(&Answer { id, errno, reason, ..Answer::default() }, None)
    }

    fn reap(&self, id: u64, pid: i32) -> PyResult<()> {
        let known = Pid::from_raw(pid).filter(|pid| self.children().contains(pid));
        let status = known.and_then(|pid| self.collect(pid, WaitOptions::NOHANG));
        let code = status.and_then(WaitStatus::exit_status);
        let signal = status.and_then(WaitStatus::terminating_signal);
        self.say(&Answer { id: Some(id), code, signal, ..Answer::default() }, None)
    }

    /// Kills a child's group and collects it; none if it has not ended, or if it is not known how.
    fn collect(&self, pid: Pid, options: WaitOptions) -> Option<WaitStatus> {
        // The group may be gone with its leader.
        let _ = kill_process_group(pid, Signal::KILL);
        let collected = rustix::io::retry_on_intr(|| waitpid(Some(pid), options));
        // There is none to collect where the adapter has the system do it, or does so itself.
        if !matches!(collected, Ok(None)) {
            self.children().remove(&pid);
        }
        collected.ok().flatten().map(|(_, status)| status)
    }

    fn end_with_host(&self) -> ! {
        for pid in self.children().iter() {
            let _ = kill_process_group(*pid, Signal::KILL);
        }
        // What the adapter has started on import is of the zygote's own group.
        process::die_with_host()
    }

    fn children(&self) -> MutexGuard<'_, HashSet<Pid>> {
        // Nothing panics under this lock.
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Python's copy of the environment.
struct Environ<'py> {
    mapping: Bound<'py, PyAny>,
    /// What the mapping keeps it in, where that is known.
    inside: Option<Bound<'py, PyDict>>,
}

impl<'py> Environ<'py> {
    fn of(os: &Bound<'py, PyModule>) -> PyResult<Self> {
        let mapping = os.getattr("environ")?;
        let inside = mapping.getattr("_data").and_then(|inside| Ok(inside.cast_into()?)).ok();
        Ok(Self { mapping, inside })
    }

    /// Follows the mark, which has been changed in the process's own environment already.
    fn follow_marker(&self, marker: &str) -> PyResult<()> {
        let py = self.mapping.py();
        match &self.inside {
            // The mapping's own way encodes both in Python, and changes the process's once more.
            Some(inside) => inside.set_item(
                PyBytes::new(py, process::MARKER.to_bytes()),
                PyBytes::new(py, marker.as_bytes()),
            ),
            None => self.mapping.set_item(process::MARKER.to_string_lossy(), marker),
        }
    }
}

/// Binds a fresh child to the host, and gives it what is its own.
fn equip(
    sys: &Bound<'_, PyModule>,
    environ: &Environ<'_>,
    order: &Order,
    liveness_fd: RawFd,
) -> PyResult<()> {
    process::arm_child(liveness_fd, &order.marker)?;
    let argv = sys.getattr("argv")?.cast_into::<PyList>()?;
    argv.set_slice(1, argv.len(), PyList::new(sys.py(), &order.args)?.as_any())?;
    environ.follow_marker(&order.marker)?;
    for (name, value) in &order.env {
        environ.mapping.set_item(name, value)?;
    }
    Ok(())
}

/// Makes a fresh child a process of its own, with its descriptors under the numbers it was told.
fn settle(numbers: &[RawFd], descriptors: Vec<OwnedFd>) -> io::Result<()> {
    // As the parent does.
    let _ = setpgid(None, None);
    let places = numbers.iter().chain(&STANDARD_OUTPUTS);
    for (descriptor, &place) in descriptors.into_iter().zip(places) {
        let flags = if STANDARD_OUTPUTS.contains(&place) { 0 } else { libc::O_CLOEXEC };
        // SAFETY: whatever had that number is the zygote's, or has been put in its place before:
        // the host numbers them from the channel's on, in order, and they came in that order above.
        if unsafe { libc::dup3(descriptor.as_raw_fd(), place, flags) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
