//! Two ways to run calls behind one interface: the serial owner that the original's first pool was
//! (V1), and the concurrent pool (V2). Programs that move from one to the other switch here, and what
//! the second gains can be measured. Owns in what order calls get to the pools; what becomes of them
//! there is the pools' business.
//!
//! # Examples
//! ```no_run
//! # async fn example(snakepit: snakepit::Snakepit) -> snakepit::Result<()> {
//! use snakepit::backend::{self, PoolVersion};
//!
//! let backend = backend::open(PoolVersion::from_environment()?);
//! let sum: i64 = backend.run(snakepit.call("add").args((5, 3))).await?.payload.decode()?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use snakepit_core::{BoxFuture, Completed, Error, ErrorKind};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::call::Call;

/// The original's variable that chooses between the two.
const VARIABLE: &str = "POOL_VERSION";

/// Calls that may wait for a serial owner; as many as wait for a pool unless that is set otherwise.
const WAITING: usize = 1024;

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolVersion {
    /// One call at a time through one owner, however many workers there are.
    V1,
    /// As many calls at a time as the pools have slots.
    #[default]
    V2,
}

impl PoolVersion {
    /// What the environment variable `POOL_VERSION` says; V2 where it says nothing.
    ///
    /// # Errors
    /// `InvalidConfig` when it is set to something else than `v1` or `v2`.
    pub fn from_environment() -> Result<Self, Error> {
        match std::env::var_os(VARIABLE) {
            None => Ok(Self::default()),
            Some(version) => version.to_string_lossy().parse(),
        }
    }
}

impl FromStr for PoolVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("\"{text}\" is no version of the pool"),
            )
            .with_help(format!("set {VARIABLE} to v1 or v2, or leave it out"))),
        }
    }
}

impl fmt::Display for PoolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// Something that runs calls.
pub trait Backend: Send + Sync + 'static {
    /// Which of the two it is.
    fn version(&self) -> PoolVersion;

    /// Runs a call and gives its result undecoded; as [`Call::complete`], cancelled like it by
    /// dropping the future.
    fn run(&self, call: Call) -> BoxFuture<'static, Result<Completed, Error>>;
}

/// The backend of a version.
pub fn open(version: PoolVersion) -> Arc<dyn Backend> {
    match version {
        PoolVersion::V1 => Arc::new(Serial::default()),
        PoolVersion::V2 => Arc::new(Concurrent),
    }
}

/// V1: calls run one at a time, in the order in which they are first polled, whatever pools they go
/// to. Calls that do not come through it go past it.
pub struct Serial {
    /// Whoever holds it runs its call.
    owner: Arc<Mutex<()>>,
    room: Arc<Semaphore>,
}

impl Default for Serial {
    fn default() -> Self {
        Self { owner: Arc::default(), room: Arc::new(Semaphore::new(WAITING + 1)) }
    }
}

impl Serial {
    fn enter(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            let text = format!("{WAITING} calls wait for the serial owner already");
            Error::new(ErrorKind::PoolSaturated, text)
                .with_help("use the concurrent pool (v2), or send fewer calls at a time")
        })
    }
}

impl Backend for Serial {
    fn version(&self) -> PoolVersion {
        PoolVersion::V1
    }

    fn run(&self, call: Call) -> BoxFuture<'static, Result<Completed, Error>> {
        let (place, owner) = (self.enter(), Arc::clone(&self.owner));
        Box::pin(async move {
            let _place = place?;
            let _owning = owner.lock_owned().await;
            call.complete().await
        })
    }
}

/// V2: calls go to their pools at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Concurrent;

impl Backend for Concurrent {
    fn version(&self) -> PoolVersion {
        PoolVersion::V2
    }

    fn run(&self, call: Call) -> BoxFuture<'static, Result<Completed, Error>> {
        Box::pin(call.complete())
    }
}
