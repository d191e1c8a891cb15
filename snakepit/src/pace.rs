//! How many calls of a batch are under way. Short calls want many, so that the next is at its worker
//! when one ends; long ones want no more than there are slots, or they would spend their own
//! deadline waiting behind each other.

use std::time::Duration;

use snakepit_core::PoolOptions;

use crate::host::PoolEntry;

/// Rounds of every slot and its prefetched calls: while one is worked on, the next is there.
const ROUNDS: usize = 2;
/// Hides the way to the caller and back, some 100 µs, where a round is a single call.
const LEAST: usize = 32;
/// From here on the way to the caller and back costs less than one part in a hundred.
const LONG: Duration = Duration::from_millis(20);

/// What a pool allows a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Calls under way while they are long, or not known.
    slots: usize,
    /// Calls under way while they are short.
    most: usize,
}

impl Room {
    /// `slots` is what the pool may grow to by itself: it does so only for calls that wait.
    pub(crate) fn of(slots: usize, options: &PoolOptions) -> Self {
        let useful = (ROUNDS * slots * (1 + options.prefetch)).max(LEAST);
        // Leaves half of the queue to others.
        Self { slots, most: useful.min(slots + options.queue_limit.div_ceil(2)) }
    }
}

/// How fast a batch goes.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    fixed: Option<usize>,
    /// Smoothed time in the tool; `None` before the first result.
    run_time: Option<Duration>,
    room: Option<Room>,
}

impl Pace {
    /// A number of calls that nothing changes.
    pub(crate) fn fixed(calls: usize) -> Self {
        Self { fixed: Some(calls.max(1)), ..Self::default() }
    }

    /// Notes how long a call took.
    pub(crate) fn ended(&mut self, run_time: Duration) {
        // A quarter of the new value: a few calls tell a change, a single one does not.
        self.run_time = Some(self.run_time.map_or(run_time, |old| (old * 3 + run_time) / 4));
    }

    /// How many calls may be under way; without a pool, in the one asked about last.
    pub(crate) fn window(&mut self, pool: Option<&PoolEntry>) -> usize {
        if let Some(pool) = pool {
            self.room = Some(pool.room());
        }
        match (self.fixed, self.room, self.run_time) {
            (Some(fixed), _, _) => fixed,
            // The first call tells which pool it is.
            (None, None, _) => 1,
            (None, Some(room), Some(run_time)) if run_time < LONG => room.most,
            (None, Some(room), _) => room.slots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(workers: usize, prefetch: usize, queue: usize) -> Room {
        let mut options = PoolOptions::new("default");
        (options.prefetch, options.queue_limit) = (prefetch, queue);
        Room::of(workers, &options)
    }

    #[test]
    fn long_calls_get_slots_and_short_ones_rounds() {
        let mut pace = Pace { room: Some(room(4, 8, 1024)), ..Pace::default() };
        assert_eq!(pace.window(None), 4, "nothing is known yet");
        pace.ended(Duration::from_micros(50));
        assert_eq!(pace.window(None), 72);
        for _ in 0..3 {
            pace.ended(Duration::from_secs(1));
        }
        assert_eq!(pace.window(None), 4);
        assert_eq!(Pace::fixed(0).window(None), 1);
    }

    #[test]
    fn a_batch_never_fills_the_queue() {
        let room = room(2, 8, 10);
        assert_eq!((room.slots, room.most), (2, 7));
    }
}
