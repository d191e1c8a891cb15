//! How long to pause before each further attempt. Pure: chance comes from the caller.

use std::time::Duration;

/// How pauses grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// Each is twice the one before.
    #[default]
    Exponential,
    /// Each is longer than the one before by the first.
    Linear,
    /// Each is the sum of the two before.
    Fibonacci,
    /// Each is drawn between the first and three times the one before, so that callers that failed
    /// together do not come back together (Brooker, "Exponential Backoff And Jitter", 2015).
    Decorrelated,
}

impl Schedule {
    /// All schedules.
    pub const ALL: [Self; 4] =
        [Self::Exponential, Self::Linear, Self::Fibonacci, Self::Decorrelated];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Linear => "linear",
            Self::Fibonacci => "fibonacci",
            Self::Decorrelated => "decorrelated",
        }
    }

    /// The schedule of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|schedule| schedule.name() == name)
    }
}

/// The pauses of one call, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Pauses {
    schedule: Schedule,
    base: Duration,
    cap: Duration,
    jitter: f64,
    /// The pause before this one, and the one before that; without jitter.
    last: Duration,
    before_last: Duration,
}

impl Pauses {
    pub(super) fn new(schedule: Schedule, base: Duration, cap: Duration, jitter: f64) -> Self {
        let none = Duration::ZERO;
        Self { schedule, base, cap, jitter, last: none, before_last: none }
    }

    /// The next pause; `draw` gives numbers from 0 up to 1. Chance only shortens it.
    pub(super) fn next(&mut self, mut draw: impl FnMut() -> f64) -> Duration {
        let Self { schedule, base, last, before_last, .. } = *self;
        let plain = match schedule {
            _ if last.is_zero() && schedule != Schedule::Decorrelated => base,
            Schedule::Exponential => last.saturating_mul(2),
            Schedule::Linear => last.saturating_add(base),
            Schedule::Fibonacci => last.saturating_add(before_last).max(base),
            Schedule::Decorrelated => {
                let most = last.max(base).saturating_mul(3);
                base.saturating_add(part(most.saturating_sub(base), draw()))
            }
        };
        let plain = plain.min(self.cap);
        (self.before_last, self.last) = (last, plain);
        match schedule {
            Schedule::Decorrelated => plain,
            _ => part(plain, 1.0 - self.jitter.clamp(0.0, 1.0) * draw()),
        }
    }
}

/// A share of a time, from 0 to 1.
fn part(time: Duration, share: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * share).map_or(time, |part| part.min(time))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dice::Dice;

    fn millis(schedule: Schedule, jitter: f64, draw: f64) -> Vec<u128> {
        let (base, cap) = (Duration::from_millis(100), Duration::from_millis(1000));
        let mut pauses = Pauses::new(schedule, base, cap, jitter);
        (0..7).map(|_| pauses.next(|| draw).as_millis()).collect()
    }

    #[test]
    fn pauses_grow_as_their_schedule_says_and_stop_at_the_cap() {
        assert_eq!(millis(Schedule::Exponential, 0.0, 0.5), [100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(millis(Schedule::Linear, 0.0, 0.5), [100, 200, 300, 400, 500, 600, 700]);
        assert_eq!(millis(Schedule::Fibonacci, 0.0, 0.5), [100, 100, 200, 300, 500, 800, 1000]);
        assert_eq!(millis(Schedule::Decorrelated, 0.0, 0.0), [100; 7]);
        assert_eq!(
            millis(Schedule::Decorrelated, 0.0, 0.5),
            [200, 350, 575, 912, 1000, 1000, 1000]
        );
    }

    #[test]
    fn jitter_shortens_a_pause_and_not_those_after_it() {
        assert_eq!(millis(Schedule::Exponential, 0.5, 1.0), [50, 100, 200, 400, 500, 500, 500]);
        assert_eq!(millis(Schedule::Linear, 1.0, 0.0), [100, 200, 300, 400, 500, 600, 700]);
    }

    proptest! {
        #[test]
        fn no_pause_is_over_the_cap_or_longer_than_without_chance(
            which in 0_usize..4, base in 0_u64..10_000, cap in 0_u64..10_000,
            jitter in 0.0..=1.0_f64, seed in any::<u64>(),
        ) {
            let schedule = Schedule::ALL[which];
            let (base, cap) = (Duration::from_millis(base), Duration::from_millis(cap));
            let mut dice = Dice::seeded(seed);
            let mut pauses = Pauses::new(schedule, base, cap, jitter);
            let mut plain = Pauses::new(schedule, base, cap, 0.0);
            for _ in 0..50 {
                let pause = pauses.next(|| dice.draw());
                prop_assert!(pause <= cap);
                prop_assert!(schedule == Schedule::Decorrelated || pause <= plain.next(|| 0.0));
                if schedule == Schedule::Decorrelated {
                    prop_assert!(pause >= base.min(cap));
                }
            }
        }
    }
}
