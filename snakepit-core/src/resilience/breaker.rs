//! The circuit breaker of a pool: one circuit, or one for each command. Owns the lock, the events and
//! what counts as a failure; when a circuit opens and closes is `circuit`'s.
//!
//! It has no task: time passes for it when somebody asks, in the caller's own task.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::Serialize;
use tokio::time::Instant;

use super::circuit::{Change, Circuit, CircuitState, Refused, Rules, Ticket, Verdict};
use super::counts;
use super::subject::{Kinds, is_callers_own};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::ids::PoolName;
use crate::seconds::as_seconds;

/// Circuits kept at a time. Adapters have tens of tools; this bounds a hostile one.
const MAX_CIRCUITS: usize = 4096;

/// What a breaker goes by.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BreakerOptions {
    /// Failures in a row that open a circuit.
    pub failures: u32,
    /// How long it stays open.
    pub open: Duration,
    /// Calls that pass while it is half open; when all of them succeed it is closed again.
    pub probes: u32,
    /// Whether each command has a circuit of its own.
    pub per_command: bool,
    /// The errors that count as failures; `None` are all but those that say nothing about the pool,
    /// such as wrong arguments, refusals and cancelled calls.
    pub kinds: Option<Kinds>,
}

impl Default for BreakerOptions {
    /// The original's figures: five failures open the pool's circuit for 30 s, then one call tries.
    fn default() -> Self {
        Self {
            failures: 5,
            open: Duration::from_secs(30),
            probes: 1,
            per_command: false,
            kinds: None,
        }
    }
}

/// One circuit at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CircuitStatus {
    /// The command it is for; `None` if it is the pool's.
    pub command: Option<String>,
    /// Where it is.
    pub state: CircuitState,
    /// Failures in a row while it was closed last.
    pub failures: u32,
    /// Time until it lets a probe through; `None` unless it is open.
    #[serde(rename = "retry_in_seconds", serialize_with = "as_seconds")]
    pub retry_in: Option<Duration>,
}

counts! {
    /// What became of circuits.
    BreakerCounts {
        /// Times a circuit opened.
        opened,
        /// Times a circuit was closed again, by its probes or by hand.
        closed,
        /// Calls refused with `circuit_open`.
        refused,
    }
}

/// Refuses calls to what keeps failing.
pub struct Breaker {
    pool: PoolName,
    options: BreakerOptions,
    clock: Clock,
    /// Without a command: the pool's.
    circuits: Mutex<FxHashMap<Option<Arc<str>>, Circuit>>,
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
}

/// A call that was let through. Dropping it without a verdict lets another one try.
#[derive(Debug)]
#[must_use = "the breaker learns nothing from a permit that is dropped"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    key: Option<Arc<str>>,
    ticket: Ticket,
    settled: bool,
}

impl Breaker {
    /// A breaker in front of this pool.
    pub fn new(pool: PoolName, options: BreakerOptions, clock: Clock) -> Self {
        let circuits = Mutex::default();
        let [opened, closed, refused] = Default::default();
        Self { pool, options, clock, circuits, opened, closed, refused }
    }

    /// Asks to make a call of this command.
    ///
    /// # Errors
    /// `CircuitOpen`, with the time until the circuit is tried again.
    pub fn admit(&self, command: &Arc<str>) -> Result<Permit<'_>, Error> {
        let key = self.options.per_command.then(|| Arc::clone(command));
        let (passed, change) = match self.lock().get_mut(&key) {
            Some(circuit) => circuit.admit(self.rules(), self.clock.now()),
            // None that is not kept has ever failed: not even the time matters.
            None => (Ok(Ticket::default()), None),
        };
        self.tell(&key, change, None);
        match passed {
            Ok(ticket) => Ok(Permit { breaker: self, key, ticket, settled: false }),
            Err(refused) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(self.refusal(&key, refused, self.clock.now()))
            }
        }
    }

    /// Makes a call if the circuit lets it through, and learns from its result.
    ///
    /// # Errors
    /// `CircuitOpen`, or what the call ends with.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call; the circuit learns nothing from it.
    pub async fn run<T, F>(&self, command: &Arc<str>, call: impl FnOnce() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let permit = self.admit(command)?;
        let result = call().await;
        permit.settle(&result);
        result
    }

    /// Closes the circuit of a command, or all of them; says whether one was not closed.
    pub fn reset(&self, command: Option<&str>) -> bool {
        let now = self.clock.now();
        let mut changes = Vec::new();
        for (key, circuit) in &mut *self.lock() {
            if command.is_none() || key.as_deref() == command {
                let change = circuit.reset(self.rules(), now);
                changes.extend(change.map(|change| (key.clone(), change)));
            }
        }
        for (key, change) in &changes {
            self.tell(key, Some(*change), None);
        }
        !changes.is_empty()
    }

    /// The circuits: the pool's, or those of commands that have failed, by name.
    pub fn status(&self) -> Vec<CircuitStatus> {
        let now = self.clock.now();
        let status = |key: &Option<Arc<str>>, circuit: &Circuit| CircuitStatus {
            command: key.as_deref().map(str::to_owned),
            state: circuit.state(),
            failures: circuit.failures(),
            retry_in: circuit.until().map(|until| until.saturating_duration_since(now)),
        };
        let circuits = self.lock();
        let mut all: Vec<_> = circuits.iter().map(|(key, circuit)| status(key, circuit)).collect();
        if all.is_empty() && !self.options.per_command {
            all.push(status(&None, &Circuit::default()));
        }
        all.sort_by(|a, b| a.command.cmp(&b.command));
        all
    }

    /// The counts so far.
    pub fn counts(&self) -> BreakerCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        BreakerCounts {
            opened: read(&self.opened),
            closed: read(&self.closed),
            refused: read(&self.refused),
        }
    }

    fn verdict(&self, error: &Error) -> Verdict {
        let failed = match &self.options.kinds {
            Some(kinds) => kinds.contain(error.kind()),
            None => !is_callers_own(error),
        };
        if failed { Verdict::Failure } else { Verdict::None }
    }

    fn rules(&self) -> Rules {
        let BreakerOptions { failures, open, probes, .. } = self.options;
        Rules { failures, open, probes }
    }

    fn settle(
        &self,
        key: &Option<Arc<str>>,
        ticket: Ticket,
        verdict: Verdict,
        error: Option<&Error>,
    ) {
        let change = {
            let mut circuits = self.lock();
            if verdict == Verdict::Failure && !circuits.contains_key(key) {
                if circuits.len() >= MAX_CIRCUITS {
                    return;
                }
                circuits.insert(key.clone(), Circuit::default());
            }
            let circuit = circuits.get_mut(key);
            circuit
                .and_then(|circuit| circuit.settle(ticket, verdict, self.rules(), self.clock.now()))
        };
        self.tell(key, change, error);
    }

    /// Counts a change and makes an event of it. Without the lock.
    fn tell(&self, key: &Option<Arc<str>>, change: Option<Change>, error: Option<&Error>) {
        let Some(Change { from, to }) = change else { return };
        let (pool, command) = (&self.pool, key.as_deref());
        match to {
            CircuitState::Open => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    name: "breaker.opened",
                    target: "snakepit::resilience",
                    %pool,
                    command,
                    %from,
                    failures = self.options.failures,
                    open = ?self.options.open,
                    error = error.map(tracing::field::display),
                    "a circuit opens: calls are refused"
                );
            }
            CircuitState::HalfOpen => tracing::info!(
                name: "breaker.half_open",
                target: "snakepit::resilience",
                %pool,
                command,
                probes = self.options.probes,
                "a circuit is tried again"
            ),
            CircuitState::Closed => {
                self.closed.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    name: "breaker.closed",
                    target: "snakepit::resilience",
                    %pool,
                    command,
                    %from,
                    "a circuit is closed again"
                );
            }
        }
    }

    fn refusal(&self, key: &Option<Arc<str>>, refused: Refused, now: Instant) -> Error {
        let whose = match key {
            Some(command) => format!("of `{command}` in pool `{}`", self.pool),
            None => format!("of pool `{}`", self.pool),
        };
        let wait = refused.until.map(|until| until.saturating_duration_since(now));
        let when = match wait {
            Some(wait) => format!("it is tried again in {} ms", wait.as_millis()),
            None => "a call is trying it at this moment".to_owned(),
        };
        Error::new(ErrorKind::CircuitOpen, format!("the circuit {whose} is open: {when}"))
            .with_help(
                "call later, configure a fallback pool, or reset the circuit once it is well",
            )
            .with_detail("pool", self.pool.as_str())
            .with_detail("retry_in_ms", wait.unwrap_or_default().as_millis().to_string())
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Option<Arc<str>>, Circuit>> {
        // Nothing panics between two steps that belong together, so a poisoned state is whole.
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Tells the breaker how the call ended.
    pub fn settle<T>(mut self, result: &Result<T, Error>) {
        self.settled = true;
        let (verdict, error) = match result {
            Ok(_) => (Verdict::Success, None),
            Err(error) => (self.breaker.verdict(error), Some(error)),
        };
        self.breaker.settle(&self.key, self.ticket, verdict, error);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.breaker.settle(&self.key, self.ticket, Verdict::None, None);
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("pool", &self.pool).finish_non_exhaustive()
    }
}
