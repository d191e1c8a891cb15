//! Samples and what is said about them: medians and percentiles, never the best.

use std::collections::BTreeMap;
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

    /// The latency that `percent` of the calls did not exceed, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1e3
    }
}

/// Values by contender, in the order in which they were first seen.
#[derive(Debug, Default)]
pub struct Table {
    names: Vec<String>,
    values: BTreeMap<String, Vec<f64>>,
}

impl Table {
    /// Adds one sample's value.
    pub fn add(&mut self, contender: &str, value: f64) {
        if !self.values.contains_key(contender) {
            self.names.push(contender.to_owned());
        }
        self.values.entry(contender.to_owned()).or_default().push(value);
    }

    /// The median of a contender's samples; NaN if it has none.
    pub fn median(&self, contender: &str) -> f64 {
        self.values.get(contender).map_or(f64::NAN, |values| median(values))
    }

    /// Contenders with median, smallest and largest sample.
    pub fn rows(&self) -> impl Iterator<Item = (&str, f64, f64, f64)> {
        self.names.iter().map(|name| {
            let values = &self.values[name];
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (name.as_str(), median(values), low, high)
        })
    }
}

/// The middle value; the lower one of two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
