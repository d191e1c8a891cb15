//! The life of one worker as a table. What is not in the table does not happen.

use std::fmt;

use serde::Serialize;

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkerState {
    /// It is not ready yet.
    Starting,
    /// It takes calls.
    Ready,
    /// It takes calls and is to be replaced: it waits for its turn, or for its replacement.
    Due,
    /// Others take the calls; it ends those it has.
    Draining,
    /// It was asked to stop.
    Stopping,
    /// It is no more.
    Gone,
}

/// What can happen to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Started,
    StartFailed,
    LimitReached,
    CalledOff,
    Replaced,
    Surplus,
    Drained,
    StopAsked,
    Exited,
}

impl WorkerState {
    /// What becomes of a worker; `None` if that cannot happen to it.
    pub(super) fn after(self, step: Step) -> Option<Self> {
        use WorkerState::{Draining, Due, Gone, Ready, Starting, Stopping};
        let next = match (self, step) {
            (Starting, Step::Started) => Ready,
            // Dropping a start ends it.
            (Starting, Step::StartFailed | Step::StopAsked) => Gone,
            (Ready, Step::LimitReached) => Due,
            (Due, Step::CalledOff) => Ready,
            (Due, Step::Replaced) => Draining,
            (Ready | Due, Step::Surplus) => Draining,
            (Draining, Step::Drained) => Stopping,
            (Ready | Due | Draining | Stopping, Step::StopAsked) => Stopping,
            (Ready | Due | Draining | Stopping, Step::Exited) => Gone,
            _ => return None,
        };
        Some(next)
    }

    /// Whether the pool knows it.
    pub(super) fn has_joined(self) -> bool {
        matches!(self, Self::Ready | Self::Due | Self::Draining | Self::Stopping)
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Due => "due",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Gone => "gone",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn the_table_is_the_one_that_was_agreed_on() {
        use Step::{
            CalledOff, Drained, Exited, LimitReached, Replaced, StartFailed, Started, StopAsked,
            Surplus,
        };
        use WorkerState::{Draining, Due, Gone, Ready, Starting, Stopping};
        let steps = [
            Started,
            StartFailed,
            LimitReached,
            CalledOff,
            Replaced,
            Surplus,
            Drained,
            StopAsked,
            Exited,
        ];
        let mut table = String::new();
        for state in [Starting, Ready, Due, Draining, Stopping, Gone] {
            for step in steps {
                if let Some(next) = state.after(step) {
                    writeln!(table, "{state} + {step:?} = {next}").unwrap();
                }
            }
        }
        assert_eq!(table, include_str!("state.txt"), "\n{table}");
    }
}
