//! How large a pool should be: larger when calls wait, smaller when workers have nothing to do. Owns
//! the policy, which is pure, and what it has to be told; the crew acts on it.
//!
//! Invariants: never below the least nor above the most; no growth while a worker is still starting,
//! so a start that takes long or fails is not answered with more of them.

use std::collections::BTreeMap;
use std::time::Duration;

use snakepit_core::{Backlog, WorkerId, WorkerLoad};

use super::due::Unused;

/// Between two looks at a pool. A look takes microseconds, so this costs nothing; it bounds how late
/// growth is.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// A call that has waited this long means that there are too few workers. Bursts that are over sooner
/// are what the queue is for.
const PATIENCE: Duration = Duration::from_millis(100);

/// Calls in line at so many looks in a row mean it too: each may wait a moment only, and yet no worker
/// has ever nothing to do.
const FULL_LOOKS: u32 = 3;

/// Between which numbers of workers a pool changes its size by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elastic {
    /// Workers there are at least.
    pub min_workers: usize,
    /// Workers there are at most.
    pub max_workers: usize,
    /// After how much time without a call a worker above the least goes.
    pub idle_timeout: Duration,
}

/// A pool at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) wanted: usize,
    /// Whether each of them is ready.
    pub(super) complete: bool,
    pub(super) backlog: Backlog,
    /// Looks in a row at which calls stood in line.
    pub(super) full: u32,
    /// Workers without a call for long enough.
    pub(super) unused: usize,
}

impl Elastic {
    /// How many workers there should be. Growth at most doubles them, and never beyond one for each
    /// call that waits.
    pub(super) fn size(&self, view: View) -> usize {
        let View { wanted, complete, backlog, full, unused } = view;
        let size = if backlog.waited >= PATIENCE || full >= FULL_LOOKS {
            let more = if complete { backlog.queued.min(wanted) } else { 0 };
            wanted + more.min(self.max_workers.saturating_sub(wanted))
        } else if backlog.queued == 0 {
            wanted - unused.min(wanted.saturating_sub(self.min_workers))
        } else {
            wanted
        };
        size.min(self.max_workers).max(self.min_workers)
    }
}

/// What is remembered from look to look.
#[derive(Debug, Default)]
pub(super) struct Looks {
    full: u32,
    /// Since when each worker has had no call.
    rest: BTreeMap<WorkerId, Unused>,
}

impl Looks {
    /// How many looks in a row have seen calls in line. Growth begins a new row.
    pub(super) fn full(&mut self, backlog: Backlog, complete: bool) -> u32 {
        self.full = if backlog.queued > 0 && complete { self.full + 1 } else { 0 };
        self.full
    }

    /// How many workers have had no call for so long.
    pub(super) fn unused(&mut self, loads: Vec<WorkerLoad>, time: Duration) -> usize {
        let mut before = std::mem::take(&mut self.rest);
        for load in loads {
            let mut unused = before.remove(&load.worker).unwrap_or_default();
            unused.look(&load);
            self.rest.insert(load.worker, unused);
        }
        self.rest.values().filter(|unused| unused.time() >= time).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_sizes() {
        let elastic = Elastic { min_workers: 2, max_workers: 10, idle_timeout: PATIENCE };
        let waiting = PATIENCE;
        let brief = PATIENCE - Duration::from_nanos(1);
        // Wanted, all ready, in line, waited, unused: what it should be.
        let rows = [
            ((2, true, 0, Duration::ZERO, 0), 2),
            ((2, true, 1, brief, 0), 2),
            ((2, true, 1, waiting, 0), 3),
            ((2, true, 100, waiting, 0), 4),
            ((2, false, 100, waiting, 0), 2),
            ((8, true, 100, waiting, 0), 10),
            ((10, true, 100, waiting, 0), 10),
            ((10, true, 0, Duration::ZERO, 3), 7),
            ((10, true, 0, Duration::ZERO, 10), 2),
            ((2, true, 0, Duration::ZERO, 2), 2),
            ((10, true, 1, brief, 3), 10),
            ((1, true, 0, Duration::ZERO, 0), 2),
        ];
        for ((wanted, complete, queued, waited, unused), expected) in rows {
            let mut backlog = Backlog::default();
            (backlog.queued, backlog.waited) = (queued, waited);
            let view = View { wanted, complete, backlog, full: 2, unused };
            assert_eq!(elastic.size(view), expected, "{view:?}");
        }
        let mut backlog = Backlog::default();
        (backlog.queued, backlog.waited) = (5, brief);
        let view = View { wanted: 2, complete: true, backlog, full: 3, unused: 0 };
        assert_eq!(elastic.size(view), 4, "short waits without an end are waits too");
    }
}
