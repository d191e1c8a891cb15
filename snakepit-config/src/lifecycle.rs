//! After how much a worker is replaced, and how many may be extra meanwhile.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::units::{format_duration, format_limit, format_size};

/// When workers are replaced although they are well; `None` is never.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Lifecycle {
    /// Time since a worker became ready.
    pub ttl: Option<Duration>,
    /// Calls it has ended; its replacement starts at four fifths of them, or before where replacements
    /// were late.
    pub max_requests: Option<u64>,
    /// Bytes of memory that are its alone, in three readings in a row.
    pub max_memory: Option<u64>,
    /// Time without a call, for a worker that has served some.
    pub idle: Option<Duration>,
    /// Time between two readings of its memory; without `max_memory` there are none.
    pub memory_interval: Duration,
    /// The share of a limit by which chance may shorten it for one worker.
    pub jitter: f64,
    /// Workers that may exist beside the pool's number while others are replaced.
    pub max_surge: usize,
}

/// Workers that started together do not end together, and none lives much shorter than it may.
pub(crate) const DEFAULT_JITTER: f64 = 0.1;
/// A reading takes the system a tenth of a millisecond and more; leaks take minutes.
pub(crate) const DEFAULT_MEMORY_INTERVAL: Duration = Duration::from_secs(10);
pub(crate) const DEFAULT_MAX_SURGE: u64 = 1;

impl Serialize for Lifecycle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ttl", &format_limit(self.ttl))?;
        if let Some(calls) = self.max_requests {
            map.serialize_entry("max_requests", &calls)?;
        }
        if let Some(bytes) = self.max_memory {
            map.serialize_entry("max_memory", &format_size(bytes))?;
        }
        map.serialize_entry("idle", &format_limit(self.idle))?;
        map.serialize_entry("memory_interval", &format_duration(self.memory_interval))?;
        map.serialize_entry("jitter", &self.jitter)?;
        map.serialize_entry("max_surge", &self.max_surge)?;
        map.end()
    }
}
