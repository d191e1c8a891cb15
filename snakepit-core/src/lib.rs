#![doc = include_str!("../README.md")]

mod call;
mod clock;
mod dice;
mod directory;
mod error;
mod ids;
mod payload;
mod pool;
pub mod resilience;
mod seconds;
pub mod session;
mod slots;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod tool;
mod value;
mod warm;
mod worker;

pub use call::{Call, CallEvent, CancelReason, Progress, ProgressHandler, Request};
pub use clock::Clock;
pub use dice::Dice;
pub use directory::Directory;
pub use error::{
    Category, Error, ErrorKind, Phase, PythonException, PythonFrame, PythonKind, RetryAdvice,
    Severity,
};
pub use ids::{CallId, PoolName, SessionId, WorkerId};
pub use payload::{Codec, Payload, PayloadBuilder};
pub use pool::{
    Backlog, CallHandle, CallStream, Completed, Counters, Loan, Nesting, Pool, PoolOptions,
    PoolStats, Strategy, ToolReply, WorkerLoad, WorkerStatus,
};
pub use seconds::as_seconds;
pub use slots::{Lease, Slots};
pub use tool::{ToolCall, ToolCaller, ToolHost, ToolJob};
#[cfg(feature = "arrow")]
pub use value::RecordBatches;
pub use value::{
    Array, BigInt, Blob, Dtype, Element, External, JsonText, ParseBigIntError, Store, Value,
};
pub use worker::{
    BoxFuture, CallSink, CreditExceeded, Profile, Reply, Seat, Teller, Tool, Worker, WorkerExit,
    WorkerInfo,
};
