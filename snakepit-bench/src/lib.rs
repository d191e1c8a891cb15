#![doc = include_str!("../README.md")]

pub mod bare;
pub mod facade;
pub mod os;
pub mod peers;
pub mod sample;
pub mod workload;
