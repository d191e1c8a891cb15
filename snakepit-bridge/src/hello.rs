//! The first frame of a link: who the worker is, and whether it may stay.

use snakepit_core::{Error, ErrorKind, Tool, WorkerId};
use snakepit_proto::v1::worker_message::Frame;
use snakepit_proto::v1::{self, WorkerMessage};

use crate::convert;

/// Version of the host side of the link, told to workers and named in mismatches.
pub(crate) const HOST_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a worker said about itself when it attached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hello {
    /// Process id.
    pub pid: u32,
    /// Version of the worker package.
    pub version: String,
    /// Its interpreter.
    pub python: Python,
    /// What can be called.
    pub tools: Vec<Tool>,
    /// How many calls it runs at a time.
    pub capacity: usize,
    /// Optional frames it serves, by name.
    pub capabilities: Vec<String>,
}

/// The interpreter a worker runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Python {
    /// Version, as `3.14.1`.
    pub version: String,
    /// Implementation name, as `cpython`.
    pub implementation: String,
    /// Whether it is a free-threaded build.
    pub free_threaded_build: bool,
    /// Whether the GIL was on after the adapter's imports.
    pub gil_enabled: bool,
    /// The module that turned the GIL on where it can be off; empty if it is off, or not known.
    pub gil_module: String,
    /// Path of the interpreter.
    pub executable: String,
}

/// Reads a worker's first frame.
pub(crate) fn accept(expected: &WorkerId, message: WorkerMessage) -> Result<Hello, Error> {
    match message.frame {
        Some(Frame::Hello(hello)) => {
            check(expected, &hello.worker_id, &hello.contract, &hello.version)?;
            read(hello)
        }
        Some(Frame::StartFailure(failure)) => {
            check(expected, &failure.worker_id, &failure.contract, &failure.version)?;
            Err(convert::start_failure(failure))
        }
        _ => Err(broken("its first frame is not a hello")),
    }
}

/// The error of a worker that does not say hello as it should.
pub(crate) fn broken(rule: &str) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("the worker broke the protocol while attaching: {rule}"),
    )
}

/// The error of a worker whose link ends too early.
pub(crate) fn missing() -> Error {
    Error::new(ErrorKind::StartFailed, "the worker closed its link before it said hello")
}

fn check(expected: &WorkerId, id: &str, contract: &str, version: &str) -> Result<(), Error> {
    // The contract comes first: of a worker from another release nothing else can be trusted.
    let ours = snakepit_proto::contract();
    if contract != ours {
        return Err(Error::new(
            ErrorKind::VersionMismatch,
            format!(
                "the worker package {version} (contract {contract}) does not fit this host \
                 {HOST_VERSION} (contract {ours})"
            ),
        )
        .with_help("run `snakepit setup` to install the worker package that belongs to this host")
        .with_detail("host_version", HOST_VERSION)
        .with_detail("worker_version", version));
    }
    if id != expected.as_str() {
        return Err(broken(&format!("it calls itself `{id}` and was started as `{expected}`")));
    }
    Ok(())
}

fn read(hello: v1::Hello) -> Result<Hello, Error> {
    let python = hello.python.ok_or_else(|| broken("its hello names no interpreter"))?;
    if hello.capacity == 0 {
        return Err(broken("its hello offers room for no call"));
    }
    let mut tools = Vec::with_capacity(hello.tools.len());
    for tool in hello.tools {
        let name = tool.name.clone();
        let tool = convert::tool(tool)
            .map_err(|e| broken(&format!("the schema of tool `{name}` is not JSON: {e}")))?;
        tools.push(tool);
    }
    Ok(Hello {
        pid: hello.pid,
        version: hello.version,
        python: Python {
            version: python.version,
            implementation: python.implementation,
            free_threaded_build: python.free_threaded_build,
            gil_enabled: python.gil_enabled,
            gil_module: python.gil_module,
            executable: python.executable,
        },
        tools,
        capacity: hello.capacity as usize,
        capabilities: hello.capabilities,
    })
}
