//! What is kept for sessions, and how closely their calls hold to a worker.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::units::{format_limit, format_size};

/// The sessions of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sessions {
    /// How closely their calls hold to the worker that served the session last.
    pub affinity: Affinity,
    /// Time without use after which a session ends; `None` is never.
    pub ttl: Option<Duration>,
    /// Sessions there may be.
    pub quota: usize,
    /// Bytes that the values kept for all of them may take.
    pub max_data: u64,
}

/// How closely a session's calls hold to its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affinity {
    /// They prefer it.
    #[default]
    Hint,
    /// They wait for it.
    StrictQueue,
    /// They run there at once or fail.
    StrictFailFast,
}

/// The original's.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(3600);
/// The original's.
pub(crate) const DEFAULT_QUOTA: u64 = 10_000;
/// Some 26 KB for each session, when there are as many as there may be.
pub(crate) const DEFAULT_MAX_DATA: u64 = 256 << 20;

impl Affinity {
    pub(crate) const NAMES: [&str; 3] = ["hint", "strict_queue", "strict_fail_fast"];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::StrictQueue => "strict_queue",
            Self::StrictFailFast => "strict_fail_fast",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Hint, Self::StrictQueue, Self::StrictFailFast]
            .into_iter()
            .find(|affinity| affinity.name() == name)
    }
}

impl Serialize for Sessions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("affinity", self.affinity.name())?;
        map.serialize_entry("ttl", &format_limit(self.ttl))?;
        map.serialize_entry("quota", &self.quota)?;
        map.serialize_entry("max_data", &format_size(self.max_data))?;
        map.end()
    }
}
