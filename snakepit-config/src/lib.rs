#![doc = include_str!("../README.md")]

mod adapter;
mod builder;
mod config;
mod document;
#[cfg(feature = "elixir")]
mod elixir;
mod environment;
mod error;
mod format;
mod host;
mod keys;
mod layers;
mod legacy;
mod lifecycle;
mod logs;
mod node;
mod origin;
mod pool;
mod profile;
mod raw;
mod remark;
mod resilience;
mod schema;
mod session;
mod shm;
mod start;
mod strategy;
mod timeouts;
mod translation;
mod units;
mod validate;

pub use adapter::AdapterSpec;
pub use builder::PoolBuilder;
pub use config::Config;
pub use error::{Code, ConfigError, Position, Problem};
pub use format::Format;
pub use host::{ControlSocket, HostBuilder, HostConfig};
pub use layers::{Layers, Loaded, Setting};
pub use lifecycle::Lifecycle;
pub use logs::{LogLevel, Logs};
pub use origin::Origin;
pub use pool::PoolConfig;
pub use profile::{GilPolicy, Profile, THREADS};
pub use remark::{Remark, RemarkKind};
pub use resilience::{
    Barrier, BarrierBuilder, Breaker, BreakerBuilder, CircuitPer, Fallback, FallbackBuilder, Hedge,
    HedgeBuilder, RateLimit, RateLimitBuilder, Resilience, Retry, RetryBuilder, RetryCalls,
    RetrySchedule, Shed, ShedBuilder,
};
pub use schema::schema;
pub use session::{Affinity, Sessions};
pub use shm::{SharedMemory, SharedMemoryMode};
pub use start::Start;
pub use strategy::Strategy;
pub use timeouts::{TimeoutProfile, Timeouts};
pub use translation::Translation;
pub use units::{
    UnitError, format_duration, format_limit, format_size, parse_duration, parse_limit, parse_size,
};
pub use validate::WORKERS;

/// Name of the pool that calls go to when they name none.
pub const DEFAULT_POOL: &str = "default";
