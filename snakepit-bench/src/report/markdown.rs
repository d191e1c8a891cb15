//! A report as Markdown.

use std::fmt::Write;

use super::compare::{Comparison, Direction};
use super::wording::{self, number};
use super::{Measured, Part, Report, Section, Table};
use crate::stats::Summary;

/// The whole report.
pub fn render(report: &Report) -> String {
    let mut text = String::from("# Benchmark report\n\n");
    head(&mut text, report);
    for section in &report.sections {
        self::section(&mut text, section);
    }
    text
}

fn head(text: &mut String, report: &Report) {
    let run = &report.run;
    line(text, &format!("- Command: `{}`", run.command));
    line(text, &format!("- Machine: {}", wording::machine(&run.machine)));
    line(text, &format!("- Versions: {}", wording::versions(run)));
    line(text, &format!("- Commit: {}", wording::commit(run)));
    line(text, &format!("- Begun {}, took {:.0} s\n", run.started, run.seconds));
    line(text, &format!("{}\n", wording::reading()));
    line(text, &format!("{}\n", wording::cores(report)));
    line(text, "## Gates and failures\n");
    let (kept, all) =
        (report.gates().filter(|(_, gate)| gate.kept).count(), report.gates().count());
    line(text, &format!("{kept} of {all} gates are kept.\n"));
    for (section, gate) in report.gates().filter(|(_, gate)| !gate.kept) {
        let value = number(gate.value);
        let bound = wording::bound(gate.bound);
        line(text, &format!("- **MISSED** in `{}`: {}: {value} ({bound})", section.id, gate.claim));
    }
    for (section, failure) in report.failures() {
        line(text, &format!("- **FAILED** in `{}`: {failure}", section.id));
    }
    if kept < all || report.failures().next().is_some() {
        text.push('\n');
    }
}

fn section(text: &mut String, section: &Section) {
    line(text, &format!("## {}\n", section.id));
    line(text, &format!("`{}` ({:.0} s)\n", section.command, section.seconds));
    for failure in &section.failures {
        line(text, &format!("**FAILED**: {failure}\n"));
    }
    for part in &section.parts {
        self::part(text, part);
    }
}

fn part(text: &mut String, part: &Part) {
    line(text, &format!("### {}\n", part.title));
    for note in &part.notes {
        line(text, &format!("{note}\n"));
    }
    for table in &part.tables {
        self::table(text, table);
    }
    if !part.claims.is_empty() {
        row(text, ["what", "the original", "here", "what the difference means"]);
        line(text, "|---|---|---|---|");
        for claim in &part.claims {
            let original = claim.original.as_deref().unwrap_or("not known");
            row(text, [&*claim.about, original, &*claim.measured, &*claim.meaning]);
        }
        text.push('\n');
    }
    if !part.gates.is_empty() {
        row(text, ["gate", "value", "95 % interval", "bound", "verdict"]);
        line(text, "|---|---:|---:|---:|---|");
        for gate in &part.gates {
            let (value, bound) = (number(gate.value), wording::bound(gate.bound));
            let interval = wording::interval(gate.confidence);
            row(text, [&*gate.claim, &*value, &*interval, &*bound, wording::verdict(gate)]);
        }
        text.push('\n');
    }
}

/// One table, as it is also printed while the benchmark runs.
pub fn table(text: &mut String, table: &Table) {
    line(text, &format!("{}\n", caption(table)));
    match &table.axis {
        Some(axis) => along(text, table, axis),
        None => contenders(text, table),
    }
    text.push('\n');
    for growth in &table.growth {
        let axis = table.axis.as_deref().unwrap_or_default();
        line(text, &format!("- {}", wording::growth(growth, axis)));
    }
    if !table.growth.is_empty() {
        text.push('\n');
    }
}

fn caption(table: &Table) -> String {
    let measure = if table.measure.is_empty() { "" } else { &format!("{}, ", table.measure) };
    format!("`{}`: {measure}{}", table.workload, table.unit)
}

fn contenders(text: &mut String, table: &Table) {
    let over = table.over.iter().map(|over| format!("over {over}"));
    let names = ["contender", "median", "95 % interval", "samples", "lowest … highest"];
    row(text, names.map(str::to_owned).into_iter().chain(over));
    line(text, &format!("|---|---:|---:|---:|---:|{}", "---:|".repeat(table.over.iter().len())));
    for series in &table.series {
        let summary = &series.summary;
        let cells = [
            series.contender.clone(),
            number(summary.median),
            wording::interval(summary.confidence),
            series.samples.len().to_string(),
            wording::spread(series),
        ];
        let beside = table.over.iter().map(|_| wording::measured(table.beside(series)));
        row(text, cells.into_iter().chain(beside));
    }
}

/// A row for each place on the axis, a column for each contender, and one for each of those that are
/// set against another.
fn along(text: &mut String, table: &Table, axis: &str) {
    let contenders = table.contenders();
    let set_against = |contender: &&String| table.over.as_ref().is_some_and(|o| o != *contender);
    let besides: Vec<&String> = contenders.iter().filter(set_against).collect();
    let over = table.over.as_deref().unwrap_or_default();
    let besides_names = besides.iter().map(|contender| format!("{contender} over {over}"));
    let names = std::iter::once(axis.to_owned()).chain(contenders.iter().cloned());
    row(text, names.chain(besides_names));
    line(text, &format!("|---:|{}", "---:|".repeat(contenders.len() + besides.len())));
    for at in places(table) {
        let series = |contender: &String| {
            table.series.iter().find(|s| s.contender == *contender && s.at == Some(at))
        };
        let cell = |contender: &String| {
            let summary = series(contender).map(|series| series.summary);
            let measured = |s: Summary| Measured { value: s.median, confidence: s.confidence };
            wording::measured(summary.map(measured))
        };
        let beside = |contender: &&String| {
            wording::measured(series(contender).and_then(|series| table.beside(series)))
        };
        let cells = std::iter::once(plain(at)).chain(contenders.iter().map(cell));
        row(text, cells.chain(besides.iter().map(beside)));
    }
}

/// The places on a table's axis, in order.
pub(super) fn places(table: &Table) -> Vec<f64> {
    let mut places: Vec<f64> = table.series.iter().filter_map(|series| series.at).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places
}

/// A place on an axis, as it was set.
pub(super) fn plain(at: f64) -> String {
    match at {
        at if at >= 1e6 && at % 1e6 == 0.0 => format!("{} M", at / 1e6),
        at if at >= 10_000.0 && at % 1e3 == 0.0 => format!("{} k", at / 1e3),
        at => format!("{at}"),
    }
}

/// What became of the figures of an earlier report.
pub fn comparison(comparison: &Comparison) -> String {
    let mut text = String::new();
    row(&mut text, ["figure", "earlier", "later", "later / earlier", "95 % interval", ""]);
    line(&mut text, "|---|---:|---:|---:|---:|---|");
    for change in &comparison.changes {
        let word = match change.direction {
            Direction::Better => "better",
            Direction::Worse => "WORSE",
            Direction::Open => "",
        };
        let (before, after) = (number(change.medians.0), number(change.medians.1));
        let interval = wording::interval(change.confidence);
        row(&mut text, [&*change.key, &*before, &*after, &*number(change.ratio), &*interval, word]);
    }
    for (what, keys) in [("only earlier", &comparison.gone), ("only later", &comparison.new)] {
        for key in keys {
            line(&mut text, &format!("- {what}: {key}"));
        }
    }
    text
}

fn row(text: &mut String, cells: impl IntoIterator<Item = impl AsRef<str>>) {
    text.push('|');
    for cell in cells {
        // A bar would end the cell.
        write!(text, " {} |", cell.as_ref().replace('|', "\\|")).expect("a string takes all");
    }
    text.push('\n');
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
