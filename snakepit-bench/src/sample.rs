//! The latencies of one sample.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies of one sample.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // Three digits, up to a minute in nanoseconds.
        Self(Histogram::new_with_max(60_000_000_000, 3).expect("constant bounds are valid"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_nanos() as u64);
    }

    /// Adds those of another sample.
    pub fn add(&mut self, more: &Self) {
        self.0.add(&more.0).expect("all have the same bounds");
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` of the calls did not exceed, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1e3
    }
}
