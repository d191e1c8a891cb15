//! One circuit: a small machine that is told of successes and failures, and says who may pass. Pure:
//! it is given the time, tells nobody, and has no lock.
//!
//! Invariant: a result counts only in the state in which its call was let through; one that comes
//! after the circuit has changed says nothing about the present.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// Where a circuit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CircuitState {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls pass, to see whether it can be closed.
    HalfOpen,
}

/// What can happen to a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many calls in a row have failed as it takes.
    FailedTooOften,
    /// It has been open for its time.
    Waited,
    ProbesSucceeded,
    ProbeFailed,
    /// Somebody closed it by hand.
    Reset,
}

impl CircuitState {
    /// What becomes of a circuit; `None` if that changes nothing.
    pub(super) fn after(self, step: Step) -> Option<Self> {
        use CircuitState::{Closed, HalfOpen, Open};
        let next = match (self, step) {
            (Closed, Step::FailedTooOften) => Open,
            (Open, Step::Waited) => HalfOpen,
            (HalfOpen, Step::ProbesSucceeded) => Closed,
            (HalfOpen, Step::ProbeFailed) => Open,
            (Open | HalfOpen, Step::Reset) => Closed,
            _ => return None,
        };
        Some(next)
    }

    /// Its name in events and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a circuit goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Failures in a row that open it.
    pub(super) failures: u32,
    /// How long it stays open.
    pub(super) open: Duration,
    /// Calls that pass while it is half open, all of which must succeed.
    pub(super) probes: u32,
}

/// What a call that was let through said of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// It was dropped, or failed for a reason of its own.
    None,
}

/// The right to pass; brings the verdict to the state it was given in, by default the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// Nobody passes before this time, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// `None` while probes are under way.
    pub(super) until: Option<Instant>,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: CircuitState,
    pub(super) to: CircuitState,
}

#[derive(Clone, Debug)]
pub(super) struct Circuit {
    state: CircuitState,
    /// How often it has changed.
    age: u64,
    /// Failures in a row while it was closed last.
    failures: u32,
    /// Until when it is open.
    until: Option<Instant>,
    /// Probes under way, and those that have succeeded.
    probing: u32,
    succeeded: u32,
}

impl Default for Circuit {
    fn default() -> Self {
        Self {
            state: CircuitState::Closed,
            age: 0,
            failures: 0,
            until: None,
            probing: 0,
            succeeded: 0,
        }
    }
}

impl Circuit {
    /// Asks to pass.
    pub(super) fn admit(
        &mut self,
        rules: Rules,
        now: Instant,
    ) -> (Result<Ticket, Refused>, Option<Change>) {
        let change = match self.until {
            Some(until) if until <= now => self.step(Step::Waited, rules, now),
            _ => None,
        };
        let passes = match self.state {
            CircuitState::Closed => true,
            CircuitState::Open => false,
            CircuitState::HalfOpen => self.probing + self.succeeded < rules.probes,
        };
        if !passes {
            return (Err(Refused { until: self.until }), change);
        }
        self.probing += u32::from(self.state == CircuitState::HalfOpen);
        (Ok(Ticket(self.age)), change)
    }

    /// Hears how a call has ended that was let through.
    pub(super) fn settle(
        &mut self,
        ticket: Ticket,
        verdict: Verdict,
        rules: Rules,
        now: Instant,
    ) -> Option<Change> {
        if ticket.0 != self.age {
            return None;
        }
        match (self.state, verdict) {
            (CircuitState::Closed, Verdict::Success) => self.failures = 0,
            (CircuitState::Closed, Verdict::Failure) => {
                self.failures += 1;
                if self.failures >= rules.failures {
                    return self.step(Step::FailedTooOften, rules, now);
                }
            }
            (CircuitState::HalfOpen, Verdict::Success) => {
                self.probing -= 1;
                self.succeeded += 1;
                if self.succeeded >= rules.probes {
                    return self.step(Step::ProbesSucceeded, rules, now);
                }
            }
            (CircuitState::HalfOpen, Verdict::Failure) => {
                return self.step(Step::ProbeFailed, rules, now);
            }
            (CircuitState::HalfOpen, Verdict::None) => self.probing -= 1,
            // Nothing was let through while it was open.
            (CircuitState::Closed, Verdict::None) | (CircuitState::Open, _) => {}
        }
        None
    }

    /// Closes it.
    pub(super) fn reset(&mut self, rules: Rules, now: Instant) -> Option<Change> {
        self.failures = 0;
        self.step(Step::Reset, rules, now)
    }

    fn step(&mut self, step: Step, rules: Rules, now: Instant) -> Option<Change> {
        let from = self.state;
        let to = from.after(step)?;
        self.state = to;
        self.age += 1;
        (self.probing, self.succeeded) = (0, 0);
        self.until = (to == CircuitState::Open).then(|| now + rules.open);
        if to == CircuitState::Closed {
            self.failures = 0;
        }
        Some(Change { from, to })
    }

    pub(super) fn state(&self) -> CircuitState {
        self.state
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_is_the_one_that_was_agreed_on() {
        use CircuitState::{Closed, HalfOpen, Open};
        use Step::{FailedTooOften, ProbeFailed, ProbesSucceeded, Reset, Waited};
        let mut table = String::new();
        for state in [Closed, Open, HalfOpen] {
            for step in [FailedTooOften, Waited, ProbesSucceeded, ProbeFailed, Reset] {
                if let Some(next) = state.after(step) {
                    writeln!(table, "{state} + {step:?} = {next}").unwrap();
                }
            }
        }
        assert_eq!(table, include_str!("circuit.txt"), "\n{table}");
    }

    /// The breaker as the specification says it, without states: it keeps everything that ever
    /// happened and answers each question by looking back. Slow, and independent of the machine.
    #[derive(Default)]
    struct Chronicle {
        /// When each call was let through, and its verdict and when that came.
        calls: Vec<(u64, Option<(u64, Verdict)>)>,
    }

    /// Milliseconds, the present being the last.
    impl Chronicle {
        /// Looks at all that has happened, in order, and finds since when which calls are asked.
        fn episode(&self, rules: &(u32, u64, u32)) -> Episode {
            let (failures, open, probes) = *rules;
            let mut verdicts: Vec<(u64, usize, Verdict)> = Vec::new();
            for (number, (_, ended)) in self.calls.iter().enumerate() {
                verdicts.extend(ended.map(|(at, verdict)| (at, number, verdict)));
            }
            verdicts.sort_by_key(|(at, ..)| *at);
            // Closed from the first call on.
            let mut episode = Episode::Closed { from_call: 0 };
            let mut after = 0;
            loop {
                let mine = |first: usize| {
                    verdicts.iter().filter(move |(at, number, _)| *number >= first && *at > after)
                };
                match episode {
                    Episode::Closed { from_call } => {
                        let mut row = 0;
                        let broke = mine(from_call).find(|(_, _, verdict)| {
                            match verdict {
                                Verdict::Failure => row += 1,
                                Verdict::Success => row = 0,
                                Verdict::None => {}
                            }
                            row >= failures
                        });
                        let Some((at, ..)) = broke else { return episode };
                        after = *at;
                        episode = Episode::Opened { at: *at };
                    }
                    Episode::Opened { at } => {
                        // The first call that came through after that was a probe.
                        let probe = self.calls.iter().position(|(came, _)| *came >= at + open);
                        let Some(first) = probe else { return episode };
                        episode = Episode::Probing { from_call: first };
                    }
                    Episode::Probing { from_call } => {
                        let failed = mine(from_call).find(|(.., v)| *v == Verdict::Failure);
                        let passed = mine(from_call)
                            .filter(|(.., v)| *v == Verdict::Success)
                            .nth(probes as usize - 1);
                        match (failed, passed) {
                            (None, None) => return episode,
                            (Some((at, ..)), None) => {
                                after = *at;
                                episode = Episode::Opened { at: *at };
                            }
                            (None, Some((at, ..))) => {
                                after = *at;
                                let next = self.calls.iter().position(|(came, _)| came > at);
                                let from_call = next.unwrap_or(self.calls.len());
                                episode = Episode::Closed { from_call };
                            }
                            (Some((lost, ..)), Some((won, ..))) if lost < won => {
                                after = *lost;
                                episode = Episode::Opened { at: *lost };
                            }
                            (Some(_), Some((won, ..))) => {
                                after = *won;
                                let next = self.calls.iter().position(|(came, _)| came > won);
                                let from_call = next.unwrap_or(self.calls.len());
                                episode = Episode::Closed { from_call };
                            }
                        }
                    }
                }
            }
        }

        fn lets_through(&self, now: u64, rules: &(u32, u64, u32)) -> bool {
            match self.episode(rules) {
                Episode::Closed { .. } => true,
                Episode::Opened { at } => now >= at + rules.1,
                Episode::Probing { from_call } => {
                    let taken = self.calls[from_call..]
                        .iter()
                        .filter(|(_, ended)| !matches!(ended, Some((_, Verdict::None))));
                    (taken.count() as u32) < rules.2
                }
            }
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Episode {
        /// Verdicts of calls from this one on count.
        Closed {
            from_call: usize,
        },
        Opened {
            at: u64,
        },
        Probing {
            from_call: usize,
        },
    }

    #[derive(Clone, Debug)]
    enum Act {
        Wait(u64),
        Ask,
        /// The call under way with this number, modulo how many there are.
        End(usize, Verdict),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let verdict = prop_oneof![
            3 => Just(Verdict::Failure),
            2 => Just(Verdict::Success),
            1 => Just(Verdict::None),
        ];
        let act = prop_oneof![
            1 => (1_u64..40).prop_map(Act::Wait),
            3 => Just(Act::Ask),
            3 => (0_usize..8, verdict).prop_map(|(which, verdict)| Act::End(which, verdict)),
        ];
        prop::collection::vec(act, 1..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Any sequence of calls that overlap, succeed, fail, are dropped and come late.
        #[test]
        fn the_machine_lets_through_whom_the_chronicle_does(
            acts in acts(), failures in 1_u32..5, open in 5_u64..60, probes in 1_u32..4
        ) {
            let start = Instant::now();
            let rules = Rules { failures, open: Duration::from_millis(open), probes };
            let said = (failures, open, probes);
            let (mut circuit, mut chronicle) = (Circuit::default(), Chronicle::default());
            let mut under_way: Vec<(usize, Ticket)> = Vec::new();
            let mut now = 0;
            for act in acts {
                // No two things happen at the same time.
                now += 1;
                let at = start + Duration::from_millis(now);
                match act {
                    Act::Wait(time) => now += time,
                    Act::Ask => {
                        let expected = chronicle.lets_through(now, &said);
                        let (passed, _) = circuit.admit(rules, at);
                        prop_assert_eq!(passed.is_ok(), expected, "at {} in {:?}", now, circuit);
                        if let Ok(ticket) = passed {
                            under_way.push((chronicle.calls.len(), ticket));
                            chronicle.calls.push((now, None));
                        }
                    }
                    Act::End(which, verdict) if !under_way.is_empty() => {
                        let (number, ticket) = under_way.remove(which % under_way.len());
                        chronicle.calls[number].1 = Some((now, verdict));
                        circuit.settle(ticket, verdict, rules, at);
                    }
                    Act::End(..) => {}
                }
                let expected = match chronicle.episode(&said) {
                    Episode::Closed { .. } => CircuitState::Closed,
                    Episode::Opened { .. } => CircuitState::Open,
                    Episode::Probing { .. } => CircuitState::HalfOpen,
                };
                prop_assert_eq!(circuit.state(), expected, "at {}", now);
            }
        }
    }
}
