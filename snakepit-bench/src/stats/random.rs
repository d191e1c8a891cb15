//! Seeded random numbers for resampling: SplitMix64, which is enough to draw indices and signs.

pub(super) struct Random(u64);

impl Random {
    /// Always the same sequence, so that a report can be made again from its samples.
    pub(super) fn seeded() -> Self {
        Self(0x5eed_0f5e_ed0f)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// As many values as there are, each drawn from all of them.
    pub(super) fn resample(&mut self, values: &[f64]) -> Vec<f64> {
        let mut draw = || values[(self.next() % values.len() as u64) as usize];
        (0..values.len()).map(|_| draw()).collect()
    }

    /// Evenly from nought to one.
    #[cfg(test)]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
