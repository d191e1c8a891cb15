#![doc = include_str!("../README.md")]

pub mod process;
mod supervisor;

pub use supervisor::{
    Exits, Limits, RecycleReason, Recycles, SeatState, SeatStatus, Supervisor, SupervisorOptions,
    SupervisorStatus, WorkerLife, WorkerState,
};
