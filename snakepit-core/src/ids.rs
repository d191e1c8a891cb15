//! Names of things: pools, workers, calls, sessions. Newtypes, so that one is never taken for
//! another; cheap to clone.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes an id from its text.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }
    };
}

text_id! {
    /// Name of a pool, unique in a host.
    PoolName
}

text_id! {
    /// Name of one worker, never used again for another: `pool.index.incarnation`.
    WorkerId
}

text_id! {
    /// A caller's thread of calls.
    SessionId
}

impl WorkerId {
    /// The place of the worker in its pool: its id without the last part, which counts those that had
    /// the place before. A worker that died has it in common with its replacement.
    pub fn seat(&self) -> &str {
        self.0.rsplit_once('.').map_or(&*self.0, |(seat, _)| seat)
    }
}

/// Number of one call, unique in a pool for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(NonZeroU64);

impl CallId {
    /// Makes an id from its number; `None` for 0, which the wire keeps for "no call".
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
