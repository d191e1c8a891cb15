//! What a pool does with shared memory.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::units::format_size;

/// The shared memory of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedMemory {
    /// Whether large values go through it.
    pub mode: SharedMemoryMode,
    /// Arrays and byte buffers from so many bytes on do.
    pub threshold: u64,
    /// How much of it the pool may use at the same time, in bytes.
    pub quota: u64,
}

/// Whether large values go through shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedMemoryMode {
    /// They do while there is some, else they are copied through the link.
    #[default]
    Auto,
    /// They do, or their call fails.
    Strict,
    /// They are copied through the link.
    Off,
}

/// Where a copy through shared memory begins to be cheaper than one through the link: the section
/// `arrays` of the benchmarks measures it.
pub(crate) const DEFAULT_THRESHOLD: u64 = 64 << 10;
/// Four results of 64 MB.
pub(crate) const DEFAULT_QUOTA: u64 = 256 << 20;

impl SharedMemoryMode {
    pub(crate) const NAMES: [&str; 3] = ["auto", "strict", "off"];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Strict => "strict",
            Self::Off => "off",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Auto, Self::Strict, Self::Off].into_iter().find(|mode| mode.name() == name)
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("mode", self.mode.name())?;
        map.serialize_entry("threshold", &format_size(self.threshold))?;
        map.serialize_entry("quota", &format_size(self.quota))?;
        map.end()
    }
}
