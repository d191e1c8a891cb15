//! What a pool does about failures: valid settings of the layers round its calls. All of them are off
//! unless their table is there. The way to them is in `given`, the rules are in `check`.

mod check;
mod given;

use std::time::Duration;

pub(crate) use check::{
    BUDGET, COUNTS, ERROR_KINDS, RATES, RETRY_JITTER, RETRY_TIMES, fallback_problems,
};
pub(crate) use given::Layers;
pub use given::{
    BarrierBuilder, BreakerBuilder, FallbackBuilder, HedgeBuilder, RateLimitBuilder, RetryBuilder,
    ShedBuilder,
};

/// The layers that are on.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Resilience {
    /// Whether calls that crash their worker are kept from its seat.
    pub barrier: Option<Barrier>,
    /// Whether calls are refused that would wait too long.
    pub shed: Option<Shed>,
    /// How many calls the pool takes in a time.
    pub rate_limit: Option<RateLimit>,
    /// Whether calls are refused after many have failed.
    pub breaker: Option<Breaker>,
    /// Whether failed calls are tried again.
    pub retry: Option<Retry>,
    /// Whether slow calls get a second attempt.
    pub hedge: Option<Hedge>,
    /// Which pool is asked when this one cannot serve.
    pub fallback: Option<Fallback>,
}

/// The table `barrier`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Barrier {
    /// How long a command that crashed a worker is kept from its seat.
    pub taint: Duration,
}

/// The table `shed`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Shed {
    /// Calls in line from which on more are refused.
    pub queue: Option<usize>,
    /// The expected time in line above which calls are refused.
    pub wait: Option<Duration>,
}

/// The table `rate_limit`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RateLimit {
    /// Calls in each `per`.
    pub calls: u32,
    /// The time in which so many may come.
    pub per: Duration,
    /// Calls that may come at once.
    pub burst: u32,
}

/// The table `breaker`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Breaker {
    /// Failures in a row that open a circuit.
    pub failures: u32,
    /// How long it stays open.
    pub open: Duration,
    /// Calls that try it then, all of which must succeed.
    pub probes: u32,
    /// What has a circuit of its own.
    pub per: CircuitPer,
    /// Names of the errors that count; `None` are all that say something about the pool.
    pub kinds: Option<Vec<String>>,
}

/// The table `retry`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// How pauses grow.
    pub schedule: RetrySchedule,
    /// The first pause.
    pub base: Duration,
    /// The longest pause.
    pub cap: Duration,
    /// The share by which chance may shorten a pause.
    pub jitter: f64,
    /// Names of the errors that are tried again; `None` are those for which that is advised.
    pub kinds: Option<Vec<String>>,
    /// Of Python exceptions only these types; all if empty.
    pub exceptions: Vec<String>,
    /// Further attempts as a share of the calls.
    pub budget: f64,
    /// Which calls are tried again.
    pub calls: RetryCalls,
}

/// The table `hedge`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hedge {
    /// How long the first attempt may take before there is a second.
    pub after: Duration,
    /// Second attempts as a share of the calls.
    pub budget: f64,
}

/// The table `fallback`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fallback {
    /// The pool that is asked.
    pub pool: String,
    /// Names of the errors that lead there; `None` are those that say that this pool cannot serve.
    pub kinds: Option<Vec<String>>,
}

/// A choice by name.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            pub(crate) const NAMES: &[&str] = &[$($text),*];

            /// Its name in settings.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

choice! {
    /// How pauses between attempts grow.
    RetrySchedule {
        /// Each is twice the one before.
        #[default]
        Exponential = "exponential",
        /// Each is longer by the first.
        Linear = "linear",
        /// Each is the sum of the two before.
        Fibonacci = "fibonacci",
        /// Each is drawn between the first and three times the one before.
        Decorrelated = "decorrelated",
    }
}

choice! {
    /// Which calls are tried again.
    RetryCalls {
        /// Those that are marked idempotent.
        #[default]
        Idempotent = "idempotent",
        /// All of them.
        All = "all",
    }
}

choice! {
    /// What has a circuit of its own.
    CircuitPer {
        /// The pool.
        #[default]
        Pool = "pool",
        /// Each command.
        Command = "command",
    }
}
