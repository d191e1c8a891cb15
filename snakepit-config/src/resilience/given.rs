//! The layers' settings as they were given, before anyone judged them: one list for each table, from
//! which come the builder's calls, the reading, the layering and the writing.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value as Json, json};

use super::{
    Barrier, Breaker, CircuitPer, Fallback, Hedge, RateLimit, Resilience, Retry, RetryCalls,
    RetrySchedule, Shed,
};
use crate::document::{Reader, Scope};
use crate::node::Place;
use crate::raw::Places;
use crate::units::format_duration;

/// A value that a key of these tables takes.
trait Given: Sized {
    fn read(reader: &mut Reader, scope: &Scope<'_>, key: &str) -> Option<Self>;

    /// As a document has it.
    fn written(&self) -> Json;
}

impl Given for u64 {
    fn read(reader: &mut Reader, scope: &Scope<'_>, key: &str) -> Option<Self> {
        reader.count(scope, key)
    }

    fn written(&self) -> Json {
        json!(self)
    }
}

impl Given for f64 {
    fn read(reader: &mut Reader, scope: &Scope<'_>, key: &str) -> Option<Self> {
        reader.share(scope, key)
    }

    fn written(&self) -> Json {
        json!(self)
    }
}

impl Given for Duration {
    fn read(reader: &mut Reader, scope: &Scope<'_>, key: &str) -> Option<Self> {
        reader.duration(scope, key)
    }

    fn written(&self) -> Json {
        json!(format_duration(*self))
    }
}

impl Given for String {
    fn read(reader: &mut Reader, scope: &Scope<'_>, key: &str) -> Option<Self> {
        reader.string(scope, key)
    }

    fn written(&self) -> Json {
        json!(self)
    }
}

impl Given for Vec<String> {
    fn read(reader: &mut Reader, scope: &Scope<'_>, key: &str) -> Option<Self> {
        reader.strings(scope, key)
    }

    fn written(&self) -> Json {
        json!(self)
    }
}

/// One table: `key: type, what its call takes, how that becomes the type`.
macro_rules! table {
    (
        $(#[$doc:meta])* $name:ident
        $($(#[$key_doc:meta])* $key:ident: $type:ty, |$given:ident: $takes:ty| $made:expr;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        #[must_use]
        pub struct $name {
            $(pub(super) $key: Option<$type>,)*
        }

        impl $name {
            $($(#[$key_doc])* pub fn $key(mut self, $given: $takes) -> Self {
                self.$key = Some($made);
                self
            })*

            fn read(reader: &mut Reader, scope: &Scope<'_>) -> Self {
                Self { $($key: Given::read(reader, scope, stringify!($key)),)* }
            }

            fn over(self, below: &mut Self, table: &str, places: &mut Places) {
                $(if self.$key.is_some() {
                    below.$key = self.$key;
                    places.note(&format!("{table}.{}", stringify!($key)), &Place::Builder);
                })*
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $(if let Some(value) = &self.$key {
                    map.serialize_entry(stringify!($key), &value.written())?;
                })*
                map.end()
            }
        }
    };
}

table! {
    /// Settings of the crash barrier in the making.
    BarrierBuilder
    /// How long a command that crashed a worker is kept from its seat; 60 s by default.
    taint: Duration, |time: Duration| time;
}

table! {
    /// Settings of load shedding in the making; one of the two must be set.
    ShedBuilder
    /// Calls in line from which on more are refused.
    queue: u64, |calls: u32| calls.into();
    /// The expected time in line above which calls are refused.
    wait: Duration, |time: Duration| time;
}

table! {
    /// Settings of the rate limit in the making; `calls` must be set.
    RateLimitBuilder
    /// Calls in each `per`.
    calls: u64, |calls: u32| calls.into();
    /// The time in which so many may come; a second by default.
    per: Duration, |time: Duration| time;
    /// Calls that may come at once; as many as `calls` by default.
    burst: u64, |calls: u32| calls.into();
}

table! {
    /// Settings of the circuit breaker in the making.
    BreakerBuilder
    /// Failures in a row that open a circuit; 5 by default.
    failures: u64, |failures: u32| failures.into();
    /// How long it stays open; 30 s by default.
    open: Duration, |time: Duration| time;
    /// Calls that try it then, all of which must succeed; 1 by default.
    probes: u64, |calls: u32| calls.into();
    /// What has a circuit of its own; the pool by default.
    per: String, |per: CircuitPer| per.name().to_owned();
    /// Names of the errors that count; by default all that say something about the pool.
    kinds: Vec<String>, |names: impl IntoIterator<Item = impl Into<String>>| texts(names);
}

table! {
    /// Settings of retries in the making.
    RetryBuilder
    /// Attempts in all; 3 by default.
    attempts: u64, |attempts: u32| attempts.into();
    /// How pauses grow; exponentially by default.
    schedule: String, |schedule: RetrySchedule| schedule.name().to_owned();
    /// The first pause; 100 ms by default.
    base: Duration, |time: Duration| time;
    /// The longest pause; 10 s by default.
    cap: Duration, |time: Duration| time;
    /// The share by which chance may shorten a pause; 0.2 by default.
    jitter: f64, |share: f64| share;
    /// Names of the errors that are tried again; by default those for which that is advised.
    kinds: Vec<String>, |names: impl IntoIterator<Item = impl Into<String>>| texts(names);
    /// Of Python exceptions only these types, or types derived from them; all by default.
    exceptions: Vec<String>, |names: impl IntoIterator<Item = impl Into<String>>| texts(names);
    /// Further attempts as a share of the calls; 0.2 by default.
    budget: f64, |share: f64| share;
    /// Which calls are tried again; those that are marked idempotent by default.
    calls: String, |calls: RetryCalls| calls.name().to_owned();
}

table! {
    /// Settings of second attempts in the making; `after` must be set.
    HedgeBuilder
    /// How long the first attempt may take before there is a second.
    after: Duration, |time: Duration| time;
    /// Second attempts as a share of the calls; 0.1 by default.
    budget: f64, |share: f64| share;
}

table! {
    /// Settings of the fallback in the making; `pool` must be set.
    FallbackBuilder
    /// The pool that is asked when this one cannot serve.
    pool: String, |name: impl Into<String>| name.into();
    /// Names of the errors that lead there; by default those that say that this pool cannot serve.
    kinds: Vec<String>, |names: impl IntoIterator<Item = impl Into<String>>| texts(names);
}

fn texts(names: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    names.into_iter().map(Into::into).collect()
}

/// All tables, in the order in which a document shows them.
macro_rules! layers {
    ($($layer:ident: $builder:ident),*) => {
        /// The layers' tables as given; one that is there is on.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Layers {
            $(pub(crate) $layer: Option<$builder>,)*
        }

        impl Layers {
            pub(crate) fn read(reader: &mut Reader, scope: &Scope<'_>, places: &mut Places) -> Self {
                Self { $($layer: reader
                    .inner(scope, stringify!($layer), places)
                    .map(|(reader, scope)| $builder::read(reader, &scope)),)* }
            }

            pub(crate) fn over(self, below: &mut Self, places: &mut Places) {
                $(if let Some(layer) = self.$layer {
                    places.note(stringify!($layer), &Place::Builder);
                    layer.over(below.$layer.get_or_insert_default(), stringify!($layer), places);
                })*
            }

            /// Adds the tables to those of a pool.
            pub(crate) fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                $(if let Some(layer) = &self.$layer {
                    map.serialize_entry(stringify!($layer), layer)?;
                })*
                Ok(())
            }
        }

        /// The same settings as they would be given.
        impl From<&Resilience> for Layers {
            fn from(valid: &Resilience) -> Self {
                Self { $($layer: valid.$layer.as_ref().map($builder::from),)* }
            }
        }
    };
}

layers!(
    barrier: BarrierBuilder,
    shed: ShedBuilder,
    rate_limit: RateLimitBuilder,
    breaker: BreakerBuilder,
    retry: RetryBuilder,
    hedge: HedgeBuilder,
    fallback: FallbackBuilder
);

impl From<&Barrier> for BarrierBuilder {
    fn from(valid: &Barrier) -> Self {
        Self { taint: Some(valid.taint) }
    }
}

impl From<&Shed> for ShedBuilder {
    fn from(valid: &Shed) -> Self {
        Self { queue: valid.queue.map(|calls| calls as u64), wait: valid.wait }
    }
}

impl From<&RateLimit> for RateLimitBuilder {
    fn from(valid: &RateLimit) -> Self {
        let RateLimit { calls, per, burst } = *valid;
        Self { calls: Some(calls.into()), per: Some(per), burst: Some(burst.into()) }
    }
}

impl From<&Breaker> for BreakerBuilder {
    fn from(valid: &Breaker) -> Self {
        Self {
            failures: Some(valid.failures.into()),
            open: Some(valid.open),
            probes: Some(valid.probes.into()),
            per: Some(valid.per.name().to_owned()),
            kinds: valid.kinds.clone(),
        }
    }
}

impl From<&Retry> for RetryBuilder {
    fn from(valid: &Retry) -> Self {
        Self {
            attempts: Some(valid.attempts.into()),
            schedule: Some(valid.schedule.name().to_owned()),
            base: Some(valid.base),
            cap: Some(valid.cap),
            jitter: Some(valid.jitter),
            kinds: valid.kinds.clone(),
            exceptions: Some(valid.exceptions.clone()),
            budget: Some(valid.budget),
            calls: Some(valid.calls.name().to_owned()),
        }
    }
}

impl From<&Hedge> for HedgeBuilder {
    fn from(valid: &Hedge) -> Self {
        Self { after: Some(valid.after), budget: Some(valid.budget) }
    }
}

impl From<&Fallback> for FallbackBuilder {
    fn from(valid: &Fallback) -> Self {
        Self { pool: Some(valid.pool.clone()), kinds: valid.kinds.clone() }
    }
}
