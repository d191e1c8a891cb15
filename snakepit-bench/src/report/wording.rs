//! How figures and what belongs to them are worded, alike in every form of a report.

use super::{Bound, Gate, Growth, Machine, Measured, Report, Run, Series, Table};
use crate::stats::{CONFIDENCE, Interval};

/// A figure with as many digits as mean something; a dash for what is none, such as nought over nought.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if !v.is_finite() => return "–".to_owned(),
        v if v >= 1_000.0 => return grouped(value),
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 || v == 0.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// A large figure in groups of three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

pub(super) fn interval(interval: Option<Interval>) -> String {
    interval.map_or_else(|| "–".to_owned(), |i| format!("{} … {}", number(i.low), number(i.high)))
}

/// The smallest and the largest sample.
pub(super) fn spread(series: &Series) -> String {
    format!("{} … {}", number(series.summary.lowest), number(series.summary.highest))
}

/// A figure with its interval; nothing where there is none.
pub(super) fn measured(measured: Option<Measured>) -> String {
    measured.map_or_else(String::new, |Measured { value, confidence }| match confidence {
        Some(_) => format!("{} ({})", number(value), interval(confidence)),
        None => number(value),
    })
}

/// What has to be kept.
pub fn bound(bound: Bound) -> String {
    match bound {
        Bound::AtLeast(limit) => format!("≥ {}", number(limit)),
        Bound::AtMost(limit) => format!("≤ {}", number(limit)),
    }
}

/// Whether it was.
pub fn verdict(gate: &Gate) -> &'static str {
    if gate.kept { "kept" } else { "MISSED" }
}

pub(super) fn growth(growth: &Growth, axis: &str) -> String {
    let fit = &growth.fit;
    let explained = format!("explains {:.0} % of the variation", 100.0 * fit.explained);
    match (fit.knee, fit.power_after) {
        (Some(knee), Some(after)) => format!(
            "{}: grows as {axis}^{:.2} up to a knee at {axis} = {}, and as {axis}^{after:.2} from \
             there ({explained})",
            growth.contender,
            fit.power,
            number(knee)
        ),
        _ => format!(
            "{}: grows as {axis}^{:.2}, without a knee in what was measured ({explained})",
            growth.contender, fit.power
        ),
    }
}

/// What the machine was, for the head of a report.
pub(super) fn machine(machine: &Machine) -> String {
    let mut parts = vec![format!("{} cores", machine.cores)];
    parts.extend(machine.processor.clone());
    parts.extend(machine.memory_bytes.map(|bytes| format!("{} GiB", bytes >> 30)));
    parts.extend(machine.system.clone());
    parts.extend(machine.load_before.map(|load| format!("load {load:.2} before the run")));
    parts.join(", ")
}

pub(super) fn versions(run: &Run) -> String {
    let pairs: Vec<String> =
        run.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    pairs.join(", ")
}

pub(super) fn commit(run: &Run) -> String {
    let commit = run.commit.as_deref().map_or("unknown", |commit| &commit[..commit.len().min(12)]);
    match run.changed {
        Some(true) => format!("{commit}, with changes that are not in it"),
        _ => commit.to_owned(),
    }
}

/// Pure Python on as many threads as there are cores, and on one of them.
pub const ALL_CORES: &str = "snakepit, all cores";
/// As [`ALL_CORES`].
pub const ONE_THREAD: &str = "snakepit, one thread";

/// What so few cores can show and what not.
pub(super) fn cores(report: &Report) -> String {
    let cores = report.run.machine.cores;
    let host = "The host, its callers and the workers share these cores";
    let both = |table: &&Table| {
        let contenders = table.contenders();
        [ALL_CORES, ONE_THREAD].iter().all(|name| contenders.iter().any(|other| other == name))
    };
    let gain = report.tables().find(both).map(|table| table.ratio(ALL_CORES, ONE_THREAD));
    let gain = gain.map_or_else(String::new, |gain| {
        let gain = measured(Some(gain));
        format!(" Pure Python on {cores} threads without a GIL did {gain} times the work of one.")
    });
    let shown = match cores {
        0..=4 => format!(
            "{host}: with {cores} of them, figures show what a call costs and who is ahead on the \
             same machine, and that work spreads over {cores} cores. They cannot show how throughput \
             grows with more cores, how a host serves many busy workers at once, or how latency looks \
             where a waiting thread always finds a free core; rates at many workers are those of \
             {cores} cores shared by all of them."
        ),
        _ => format!("{host}; rates at more workers than {cores} are those of {cores} cores."),
    };
    shown + &gain
}

/// How the figures are to be read.
pub(super) fn reading() -> String {
    format!(
        "Contenders are measured in turn, round by round; the first round of each warms up and does \
         not count. Figures are medians over samples, never the best of them; what is said of one \
         contender over another is the median over rounds, each round's two samples set against each \
         other. Intervals are those of {:.0} % confidence for the median, by bootstrap, and say how \
         much the samples of this run vary, not what another machine would give.",
        100.0 * CONFIDENCE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_digits_that_mean_something() {
        assert_eq!([f64::NAN, f64::INFINITY].map(number), ["–", "–"]);
        let texts = [0.00123, 0.5, 12.345, 123.4, 1234.5, 1_234_567.0, -4321.0, 0.0].map(number);
        let expected = ["0.0012", "0.50", "12.3", "123", "1,234", "1,234,567", "-4,321", "0.00"];
        assert_eq!(texts, expected);
    }
}
