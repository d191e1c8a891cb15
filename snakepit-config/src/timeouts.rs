//! How long things may take: named profiles and the limits they stand for.

use std::time::Duration;

/// A named set of limits for calls; single limits can be set over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutProfile {
    /// For most programs.
    #[default]
    Balanced,
    /// The same limits, chosen on purpose.
    Production,
    /// Fails early.
    ProductionStrict,
    /// Leaves time to look around in a debugger.
    Development,
    /// Long calls, long streams, patient callers.
    MlInference,
    /// Throughput before latency; streams may pause as long as they like.
    Batch,
}

/// How long each phase may take; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The profile the limits started from.
    pub profile: TimeoutProfile,
    /// From submission to the result.
    pub call: Option<Duration>,
    /// Between two chunks of a stream.
    pub stream_idle: Option<Duration>,
    /// Waiting for a slot.
    pub queue: Option<Duration>,
    /// From launch to a worker's readiness.
    pub start: Duration,
    /// For calls in flight to end when the pool shuts down. Those of a replaced worker may take
    /// longer; then an event says so.
    pub drain: Duration,
}

/// A worker that imports a large library from a cold disk is still starting after half a minute.
pub(crate) const DEFAULT_START: Duration = Duration::from_secs(60);
/// Stays below the 30 s that common service managers wait before they kill.
pub(crate) const DEFAULT_DRAIN: Duration = Duration::from_secs(25);

impl TimeoutProfile {
    /// All profiles.
    pub const ALL: [Self; 6] = [
        Self::Balanced,
        Self::Production,
        Self::ProductionStrict,
        Self::Development,
        Self::MlInference,
        Self::Batch,
    ];

    /// The profile's name in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Production => "production",
            Self::ProductionStrict => "production_strict",
            Self::Development => "development",
            Self::MlInference => "ml_inference",
            Self::Batch => "batch",
        }
    }

    /// The profile of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The limits it stands for.
    pub fn timeouts(self) -> Timeouts {
        let (call, stream_idle, queue) = match self {
            Self::Balanced | Self::Production => (300, Some(900), 10),
            Self::ProductionStrict => (60, Some(300), 5),
            Self::Development | Self::MlInference => (900, Some(3600), 60),
            Self::Batch => (3600, None, 300),
        };
        Timeouts {
            profile: self,
            call: Some(Duration::from_secs(call)),
            stream_idle: stream_idle.map(Duration::from_secs),
            queue: Some(Duration::from_secs(queue)),
            start: DEFAULT_START,
            drain: DEFAULT_DRAIN,
        }
    }
}
