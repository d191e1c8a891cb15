#![doc = include_str!("../README.md")]

pub mod process;
mod supervisor;

pub use supervisor::{
    Elastic, Exits, Limits, NearLimits, Observer, RecycleReason, Recycles, SeatState, SeatStatus,
    Supervisor, SupervisorOptions, SupervisorStatus, WorkerLife, WorkerState,
};
