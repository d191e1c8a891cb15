#![doc = include_str!("../README.md")]

mod control;

pub use control::{ControlReader, ControlWriter, FINISHED_IDS, RUNNING_SLOTS};
