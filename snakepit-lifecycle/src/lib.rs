#![doc = include_str!("../README.md")]

pub mod process;
mod supervisor;

pub use supervisor::{SeatState, SeatStatus, Supervisor, SupervisorOptions, SupervisorStatus};
