#![doc = include_str!("../README.md")]

mod dump;
mod environment;
mod failures;
mod memory;
mod options;
mod worker;
mod workshop;

pub use environment::{INDEX, NATIVE_POOLS, variables};
pub use failures::{ended_early, no_descriptors, not_ready, with_stderr};
pub use options::WorkerOptions;
pub use worker::{Manner, PythonWorker, Stuck};
pub use workshop::{
    CONTROL_FD, Connection, End, Joined, LINK_FD, LIVENESS_FD, MOST_CALLS, SHM_FD, Workshop,
};
