#![doc = include_str!("../README.md")]

mod adapter;
mod config;
mod document;
mod error;
mod keys;
mod lifecycle;
mod pool;
mod profile;
mod raw;
mod start;
mod timeouts;
mod units;
mod validate;

pub use adapter::AdapterSpec;
pub use config::Config;
pub use error::{Code, ConfigError, Position, Problem};
pub use lifecycle::Lifecycle;
pub use pool::{PoolBuilder, PoolConfig};
pub use profile::{GilPolicy, Profile, THREADS};
pub use start::Start;
pub use timeouts::{TimeoutProfile, Timeouts};
pub use units::{
    UnitError, format_duration, format_limit, format_size, parse_duration, parse_limit, parse_size,
};
pub use validate::WORKERS;

/// Name of the pool that calls go to when they name none.
pub const DEFAULT_POOL: &str = "default";
