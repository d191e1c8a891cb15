#![doc = include_str!("../README.md")]

pub mod bare;
pub mod bounds;
pub mod facade;
pub mod gate;
pub mod grpcio;
pub mod load;
pub mod os;
pub mod peers;
pub mod plan;
pub mod report;
pub mod sample;
pub mod stats;
pub mod workload;
