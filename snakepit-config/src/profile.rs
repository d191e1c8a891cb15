//! How a worker turns into slots. A plain choice; what it means is each profile's business.

use std::ops::RangeInclusive;

/// How many threads a worker may have: as many calls as it can tell the host of.
pub const THREADS: RangeInclusive<u64> = 1..=64;

/// How a worker turns into slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// Each worker is a process that runs one call at a time.
    #[default]
    Process,
    /// Each worker is a process that runs several calls at a time.
    Thread {
        /// How many.
        threads: usize,
        /// What becomes of a worker whose GIL is on.
        gil: GilPolicy,
    },
}

impl Profile {
    pub(crate) const NAMES: [&str; 2] = ["process", "thread"];

    /// How many calls a worker runs at a time.
    pub fn slots(self) -> usize {
        match self {
            Self::Process => 1,
            Self::Thread { threads, .. } => threads,
        }
    }

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Thread { .. } => "thread",
        }
    }
}

/// What becomes of a worker whose GIL is on, from the beginning or because it loaded an extension
/// that needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GilPolicy {
    /// It does not start; one that serves already is replaced.
    Refuse,
    /// It runs one call at a time from then on.
    Degrade,
    /// It serves on, and an event says so.
    #[default]
    Warn,
}

impl GilPolicy {
    pub(crate) const NAMES: [&str; 3] = ["refuse", "degrade", "warn"];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Degrade => "degrade",
            Self::Warn => "warn",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "refuse" => Some(Self::Refuse),
            "degrade" => Some(Self::Degrade),
            "warn" => Some(Self::Warn),
            _ => None,
        }
    }
}
