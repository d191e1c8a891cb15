//! Where chance comes from: a small generator with a seed of its own for whoever draws. Nothing here
//! has to be hard to guess.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A generator of chance: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// One that draws the same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that differs each time, from the keys the standard library gives its hash maps.
    pub fn any_seed() -> u64 {
        RandomState::new().build_hasher().finish()
    }

    /// A number from 0 up to 1, 1 excluded.
    pub fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // A float holds 53 bits.
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_and_repeat_with_their_seed() {
        let draws = |seed| {
            let mut dice = Dice::seeded(seed);
            (0..1000).map(|_| dice.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        assert!(draws(7).iter().all(|x| (0.0..1.0).contains(x)));
        let mean = draws(7).iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }
}
