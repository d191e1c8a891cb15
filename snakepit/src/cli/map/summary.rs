//! What a run has done: counts, throughput, latency. Owns the numbers and how they are told.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::diagnostic::Reporter;

/// Longest latency that is told apart, in microseconds: a day.
const LONGEST_US: u64 = 86_400_000_000;

/// The numbers of a run.
pub(super) struct Summary {
    workers: usize,
    skipped: u64,
    done: u64,
    failed: u64,
    /// From submission to the result, in microseconds; calls only, not lines that are no JSON.
    latency_us: Option<Histogram<u64>>,
    started: Instant,
    wall: Duration,
}

impl Summary {
    pub(super) fn new(workers: usize, skipped: u64) -> Self {
        Self {
            workers,
            skipped,
            done: 0,
            failed: 0,
            // Two digits: a percentile that is off by one part in a hundred misleads nobody.
            latency_us: Histogram::new_with_bounds(1, LONGEST_US, 2).ok(),
            started: Instant::now(),
            wall: Duration::ZERO,
        }
    }

    /// Counts a call's latency.
    pub(super) fn call_ended(&mut self, latency: Duration) {
        if let Some(histogram) = &mut self.latency_us {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US));
        }
    }

    /// Counts a line that has been written.
    pub(super) fn line_ended(&mut self, well: bool) {
        if well {
            self.done += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Notes the end.
    pub(super) fn finish(&mut self) {
        self.wall = self.started.elapsed();
    }

    /// Lines that failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    /// Lines that went well.
    #[cfg(test)]
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// How far it has come, in a few words.
    pub(super) fn message(&self) -> String {
        let rate = self.rate(self.started.elapsed());
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        format!("{} done{failed}, {rate:.0}/s", self.done)
    }

    fn rate(&self, wall: Duration) -> f64 {
        let seconds = wall.as_secs_f64();
        if seconds > 0.0 { (self.done + self.failed) as f64 / seconds } else { 0.0 }
    }

    fn latency_ms(&self, quantile: f64) -> f64 {
        let histogram = self.latency_us.as_ref();
        histogram.map_or(0.0, |h| h.value_at_quantile(quantile) as f64 / 1000.0)
    }

    /// Tells it on standard error.
    pub(super) fn show(&self, outcome: Outcome, reporter: Reporter) {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|quantile| self.latency_ms(quantile));
        let wall = self.wall.as_secs_f64();
        let rate = self.rate(self.wall);
        if reporter.json {
            let summary = json!({
                "done": self.done,
                "failed": self.failed,
                "skipped": self.skipped,
                "interrupted": outcome == Outcome::Interrupted,
                "workers": self.workers,
                "wall_seconds": round(wall),
                "per_second": round(rate),
                "latency_ms": {"p50": round(p50), "p95": round(p95), "p99": round(p99)},
            });
            eprintln!("{}", json!({ "summary": summary }));
            return;
        }
        if outcome == Outcome::Interrupted {
            eprintln!("interrupted; what was under way has been finished and written");
        }
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} done before"),
        };
        eprintln!(
            "{} done, {} failed{skipped} in {wall:.2} s with {} workers: {rate:.0}/s, \
             latency p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms",
            self.done, self.failed, self.workers
        );
    }
}

/// To the microsecond, where the unit is a millisecond.
fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
