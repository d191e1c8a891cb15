//! Whether what was measured in pairs differs by chance. Pairs, because a machine's mood lasts
//! longer than a sample: both of a pair were taken next to each other.

use serde::{Deserialize, Serialize};

use super::median;
use super::random::Random;

/// Beyond so many pairs signs are drawn instead of tried out: 2^14 sums take a millisecond.
const ENUMERATED_PAIRS: usize = 14;
const DRAWS: u32 = 20_000;

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How much more head costs than base, as the median over pairs: 0.1 is a tenth more.
    pub change: f64,
    /// How likely pairs that do not differ would show at least this much more, by chance.
    pub p: f64,
    /// Whether it is both too much and no chance.
    pub slower: bool,
}

/// Compares what pairs cost, base first. Slower is a change above `threshold` with a p below
/// `significance`.
pub fn judge(pairs: &[(f64, f64)], threshold: f64, significance: f64) -> Verdict {
    // Of logarithms, so that twice and half weigh the same.
    let differences: Vec<f64> = pairs.iter().map(|(base, head)| (head / base).ln()).collect();
    let (change, p) = (median(&differences).exp_m1(), paired_p_value(&differences));
    Verdict { change, p, slower: change > threshold && p < significance }
}

/// The share of all ways to swap pairs in which the differences sum up to at least what they do:
/// the one-sided p of the paired permutation test.
pub fn paired_p_value(differences: &[f64]) -> f64 {
    let observed: f64 = differences.iter().sum();
    // Sums of the same numbers in another order differ in their last digits.
    let reached = |sum: f64| sum >= observed - 1e-12 * observed.abs().max(1e-300);
    let signed = |signs: u64| -> f64 {
        let one = |(pair, difference): (usize, &f64)| match signs >> (pair % 64) & 1 {
            0 => *difference,
            _ => -difference,
        };
        differences.iter().enumerate().map(one).sum()
    };
    if differences.len() <= ENUMERATED_PAIRS {
        let ways = 1_u64 << differences.len();
        return (0..ways).filter(|signs| reached(signed(*signs))).count() as f64 / ways as f64;
    }
    let mut random = Random::seeded();
    let hits = (0..DRAWS).filter(|_| reached(signed(random.next()))).count();
    // The way they were observed is one of the ways.
    (hits + 1) as f64 / f64::from(DRAWS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs as a noisy machine gives them: its mood drifts, each sample has noise of its own, and
    /// head costs so much more.
    fn simulated(random: &mut Random, pairs: usize, more: f64) -> Vec<(f64, f64)> {
        let mut mood = 1.0;
        (0..pairs)
            .map(|_| {
                mood *= 1.0 + 0.3 * (random.unit() - 0.5);
                let mut noise = || 1.0 + 0.1 * (random.unit() - 0.5);
                (100.0 * mood * noise(), 100.0 * mood * noise() * (1.0 + more))
            })
            .collect()
    }

    #[test]
    fn planted_slowdown_is_caught_through_a_drifting_machine() {
        let mut random = Random::seeded();
        for _ in 0..50 {
            let verdict = judge(&simulated(&mut random, 12, 0.15), 0.05, 0.01);
            assert!(verdict.slower, "{verdict:?}");
            assert!((0.1..0.2).contains(&verdict.change), "{verdict:?}");
        }
    }

    #[test]
    fn unchanged_build_passes() {
        let mut random = Random::seeded();
        for _ in 0..200 {
            let verdict = judge(&simulated(&mut random, 12, 0.0), 0.05, 0.01);
            assert!(!verdict.slower, "{verdict:?}");
        }
    }

    #[test]
    fn change_below_the_threshold_passes_however_sure_it_is() {
        let pairs = [(100.0, 102.0); 20];
        let verdict = judge(&pairs, 0.05, 0.01);
        assert!(verdict.p < 0.001 && !verdict.slower, "{verdict:?}");
    }

    #[test]
    fn large_change_of_few_pairs_is_no_proof() {
        let verdict = judge(&[(100.0, 200.0); 5], 0.05, 0.01);
        assert!(verdict.p > 0.01 && !verdict.slower, "{verdict:?}");
    }

    #[test]
    fn gain_is_never_slower() {
        let verdict = judge(&[(100.0, 50.0); 20], 0.05, 0.01);
        assert!(verdict.change < -0.4 && verdict.p > 0.99, "{verdict:?}");
    }

    #[test]
    fn p_of_unchanged_pairs_is_spread_evenly() {
        let mut random = Random::seeded();
        let below = (0..1_000).filter(|_| {
            let differences: Vec<f64> = (0..10).map(|_| random.unit() - 0.5).collect();
            paired_p_value(&differences) < 0.1
        });
        let share = below.count() as f64 / 1_000.0;
        assert!((0.07..0.13).contains(&share), "{share}");
    }

    #[test]
    fn drawing_signs_agrees_with_trying_all() {
        let few: Vec<f64> = (0..14).map(|n| f64::from(n % 5) - 1.5).collect();
        let tried = paired_p_value(&few);
        // Two more that change nothing make it draw.
        let drawn = paired_p_value(&[few, vec![0.0, 0.0]].concat());
        assert!((tried - drawn).abs() < 0.02, "{tried} {drawn}");
    }
}
