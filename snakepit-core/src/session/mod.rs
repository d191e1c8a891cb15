//! Sessions: a caller's thread of calls, what is kept for it, and how closely it holds to a worker.
//!
//! Owns the vocabulary and the [`SessionStore`], which is plain data and usable alone. Where a
//! session's calls run is the pool's decision (`pool/affinity.rs`); what a tool keeps for a session
//! lives in its worker.

mod stats;
mod store;

use std::time::Duration;

pub use self::stats::{SessionInfo, SessionStats};
pub use self::store::{Opened, SessionKey, SessionStore};

/// How closely a session's calls hold to the worker that served the session last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Affinity {
    /// They prefer it, and run elsewhere when it has no free slot. A session whose worker goes moves
    /// to another one.
    #[default]
    Hint,
    /// They wait for it. When it goes, the session's calls in line, or else its next call, get
    /// `SessionWorkerUnavailable`; the call after that binds the session to another worker.
    StrictQueue,
    /// As `StrictQueue`, but a call that finds it without a free slot gets `WorkerBusy` at once.
    StrictFailFast,
}

impl Affinity {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Hint, Self::StrictQueue, Self::StrictFailFast];

    /// The mode's name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::StrictQueue => "strict_queue",
            Self::StrictFailFast => "strict_fail_fast",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// Whether a call runs at its session's worker or not at all.
    pub fn is_strict(self) -> bool {
        self != Self::Hint
    }
}

/// Limits of a [`SessionStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// A session ends by itself when it has not been used for so long; `None` is never.
    pub ttl: Option<Duration>,
    /// Sessions there may be.
    pub quota: usize,
    /// Bytes that the values of all sessions together may take.
    pub max_data_bytes: u64,
}

impl SessionOptions {
    /// The original's limits: an hour, and ten thousand sessions. Values may take 256 MiB.
    pub fn new() -> Self {
        Self { ttl: Some(Duration::from_secs(3600)), quota: 10_000, max_data_bytes: 256 << 20 }
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self::new()
    }
}
