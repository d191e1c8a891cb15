#![doc = include_str!("../README.md")]

pub mod backend;
pub mod blocking;
#[cfg(feature = "control")]
pub mod control;

mod batch;
mod builder;
mod call;
mod file;
mod host;
mod interpreter;
mod io;
mod layers;
mod linger;
mod memory;
mod named;
mod pace;
mod pools;
mod reload;
mod report;
mod session;
mod stream;
mod tools;
mod wiring;

pub use snakepit_config as config;
pub use snakepit_config::{Config, PoolConfig};
pub use snakepit_core::session::{Affinity, SessionInfo, SessionStats};
pub use snakepit_core::{
    Array, BigInt, Blob, CallId, Category, Codec, Completed, Counters, Dtype, Element, Error,
    ErrorKind, JsonText, Phase, PoolName, PoolStats, Progress, PythonException, PythonFrame,
    PythonKind, RetryAdvice, SessionId, Severity, Tool, Value, WorkerId, WorkerInfo,
};

#[cfg(feature = "arrow")]
pub use snakepit_core::RecordBatches;
pub use snakepit_core::resilience::{CircuitState, CircuitStatus, RetryPolicy, Schedule};
pub use snakepit_lifecycle::process::adopt_orphans;
pub use snakepit_lifecycle::{Exits, NearLimits, RecycleReason, Recycles, WorkerState};

pub use self::batch::BatchStream;
pub use self::builder::Builder;
pub use self::call::Call;
pub use self::file::MappedFile;
pub use self::host::Snakepit;
pub use self::layers::LayerCounts;
pub use self::memory::{PoolMemory, SharedMemoryReport};
pub use self::named::PoolHandle;
pub use self::reload::{PoolChange, ReloadOutcome, Reloaded};
pub use self::report::{PoolReport, PoolState, Stats, Totals, WorkerReport};
pub use self::session::Session;
pub use self::stream::ResultStream;
pub use self::tools::{HostTool, HostToolReport, ToolContext};

/// What a call gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;
