//! Two reports beside each other: what became of each figure that both have.

use super::Report;
use crate::stats::{Interval, ratio};

/// One figure of both reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What identifies it.
    pub key: String,
    /// The medians, the earlier one first.
    pub medians: (f64, f64),
    /// The later one over the earlier one.
    pub ratio: f64,
    /// Its interval of confidence.
    pub confidence: Option<Interval>,
    /// What the interval says.
    pub direction: Direction,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The whole interval lies on the good side of one.
    Better,
    /// The whole interval lies on the bad side of one.
    Worse,
    /// The interval holds one, or there is none.
    Open,
}

/// What two reports have in common, and the keys that only one of them has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Figures of both, in the later report's order.
    pub changes: Vec<Change>,
    /// Keys of the earlier one alone.
    pub gone: Vec<String>,
    /// Keys of the later one alone.
    pub new: Vec<String>,
}

/// Compares a report with an earlier one.
pub fn compare(earlier: &Report, later: &Report) -> Comparison {
    let keyed = |report: &Report| -> Vec<(String, super::Better, Vec<f64>)> {
        let tables = report.parts().flat_map(|(section, part)| {
            // The same may be measured in two sections, beside different contenders.
            part.tables.iter().map(move |table| (&section.id, table))
        });
        let of = |(section, table): (&String, &super::Table)| -> Vec<_> {
            let key = |series| format!("{section}: {}", table.key(series));
            let one = |series| (key(series), table.better, series.samples.clone());
            table.series.iter().map(one).collect()
        };
        tables.flat_map(of).collect()
    };
    let (before, after) = (keyed(earlier), keyed(later));
    let mut comparison = Comparison::default();
    for (key, better, samples) in &after {
        let Some((.., old)) = before.iter().find(|(other, ..)| other == key) else {
            comparison.new.push(key.clone());
            continue;
        };
        let (ratio, confidence) = ratio(samples, old);
        let more = *better == super::Better::More;
        let direction = match confidence {
            Some(interval) if interval.low > 1.0 && more => Direction::Better,
            Some(interval) if interval.high < 1.0 && !more => Direction::Better,
            Some(interval) if interval.low > 1.0 || interval.high < 1.0 => Direction::Worse,
            _ => Direction::Open,
        };
        let medians = (crate::stats::median(old), crate::stats::median(samples));
        comparison.changes.push(Change { key: key.clone(), medians, ratio, confidence, direction });
    }
    let known = |key: &str| after.iter().any(|(other, ..)| other == key);
    comparison.gone.extend(before.into_iter().map(|(key, ..)| key).filter(|key| !known(key)));
    comparison
}
