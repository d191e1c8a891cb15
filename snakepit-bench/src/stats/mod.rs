//! What is said about samples: medians, spreads, intervals of confidence, and whether two sets of
//! them differ by chance. Pure arithmetic over slices; knows nothing of what was measured.
//!
//! Invariant: the same samples give the same answer, resampling included: its randomness is seeded.

mod fit;
mod permutation;
mod random;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::fit::{Fit, fit};
pub use self::permutation::{Verdict, judge, paired_p_value};
use self::random::Random;

/// How often samples are drawn anew for an interval.
const RESAMPLES: usize = 2_000;

/// The confidence that intervals are stated with.
pub const CONFIDENCE: f64 = 0.95;

/// Where a value lies with the confidence of [`CONFIDENCE`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// What is said about one set of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The middle sample; the mean of the two in the middle of an even number.
    pub median: f64,
    /// The smallest sample.
    pub lowest: f64,
    /// The largest sample.
    pub highest: f64,
    /// The median's interval of confidence, by bootstrap; none for a single sample.
    pub confidence: Option<Interval>,
}

impl Summary {
    /// Of samples, of which there is at least one.
    pub fn of(samples: &[f64]) -> Self {
        let confidence = (samples.len() > 1).then(|| {
            let mut random = Random::seeded();
            interval(|| median(&random.resample(samples)))
        });
        Self {
            median: median(samples),
            lowest: samples.iter().copied().fold(f64::INFINITY, f64::min),
            highest: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            confidence,
        }
    }
}

/// The middle value; the mean of the two in the middle of an even number, NaN of none.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which a share of the values lies, between two of them in proportion.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// The ratio of two medians with its interval, by drawing both sets anew.
pub fn ratio(numerator: &[f64], denominator: &[f64]) -> (f64, Option<Interval>) {
    let value = median(numerator) / median(denominator);
    if numerator.len() < 2 || denominator.len() < 2 {
        return (value, None);
    }
    let mut random = Random::seeded();
    let drawn = || median(&random.resample(numerator)) / median(&random.resample(denominator));
    (value, Some(interval(drawn)))
}

/// The median over rounds of one sample over the other of the same round, with its interval, by
/// drawing the rounds anew. What slows a whole round, both of its samples have in common.
pub fn paired_ratio(numerator: &[f64], denominator: &[f64]) -> (f64, Option<Interval>) {
    let rounds = numerator.iter().zip(denominator);
    let ratios: Vec<f64> = rounds.map(|(above, below)| above / below).collect();
    if ratios.len() < 2 {
        return (median(&ratios), None);
    }
    let mut random = Random::seeded();
    (median(&ratios), Some(interval(|| median(&random.resample(&ratios)))))
}

fn interval(draw: impl FnMut() -> f64) -> Interval {
    let drawn: Vec<f64> = std::iter::repeat_with(draw).take(RESAMPLES).collect();
    let outside = (1.0 - CONFIDENCE) / 2.0;
    Interval { low: quantile(&drawn, outside), high: quantile(&drawn, 1.0 - outside) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn quantiles_reach_both_ends() {
        let values = [5.0, 1.0, 3.0];
        assert_eq!((quantile(&values, 0.0), quantile(&values, 1.0)), (1.0, 5.0));
    }

    #[test]
    fn one_sample_claims_no_confidence() {
        assert_eq!(Summary::of(&[3.0]).confidence, None);
        assert_eq!(ratio(&[3.0], &[1.0, 2.0]).1, None);
    }

    #[test]
    fn more_spread_samples_give_a_wider_interval_round_the_median() {
        let width = |step: f64| {
            let samples: Vec<f64> = (0..9).map(|n| 100.0 + step * (f64::from(n) - 4.0)).collect();
            let Summary { median, confidence, .. } = Summary::of(&samples);
            let Interval { low, high } = confidence.unwrap();
            assert!(low < median && median < high);
            high - low
        };
        assert!(width(5.0) > 4.0 * width(1.0));
    }

    #[test]
    fn intervals_cover_the_true_median_about_as_often_as_they_say() {
        let mut random = Random::seeded();
        let covered = (0..400).filter(|_| {
            let samples: Vec<f64> = (0..15).map(|_| random.unit()).collect();
            let Interval { low, high } = Summary::of(&samples).confidence.unwrap();
            (low..=high).contains(&0.5)
        });
        let share = covered.count() as f64 / 400.0;
        assert!((0.9..=1.0).contains(&share), "{share}");
    }

    #[test]
    fn ratio_and_its_interval_are_the_same_each_time() {
        let (a, b) = ([10.0, 11.0, 12.0], [5.0, 5.5, 6.0]);
        assert_eq!(ratio(&a, &b), ratio(&a, &b));
        assert_eq!(ratio(&a, &b).0, 2.0);
    }

    #[test]
    fn what_slows_whole_rounds_leaves_the_ratio_of_pairs() {
        let (a, b) = ([10.0, 40.0, 10.0, 80.0], [5.0, 20.0, 5.0, 40.0]);
        let (value, confidence) = paired_ratio(&a, &b);
        assert_eq!((value, confidence), (2.0, Some(Interval { low: 2.0, high: 2.0 })));
        let alone = ratio(&a, &b).1.unwrap();
        assert!(alone.low < 1.0 && alone.high > 4.0, "{alone:?}");
        // A contender that failed in a later round is compared in those it has.
        assert_eq!(paired_ratio(&a[..1], &b), (2.0, None));
        assert!(paired_ratio(&[], &b).0.is_nan());
    }
}
