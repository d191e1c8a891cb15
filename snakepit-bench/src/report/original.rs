//! What the original says of itself, beside the figures of a report. The citations are data
//! (`original.toml`); the figures come from the report and from nowhere else.

use anyhow::Result;
use serde::Deserialize;

use super::wording::number;
use super::{Claim, Part, Report, Section};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Citations {
    notes: Vec<String>,
    claim: Vec<Citation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Citation {
    about: String,
    original: Option<String>,
    measured: Vec<String>,
    meaning: String,
}

/// A section with the citations whose figures the report has; none if it has no figure of any.
///
/// # Errors
/// When the citations cannot be read.
pub fn section(report: &Report) -> Result<Option<Section>> {
    let citations: Citations = toml::from_str(include_str!("../../original.toml"))?;
    let mut claims = Vec::new();
    for citation in citations.claim {
        let figures: Vec<Option<String>> =
            citation.measured.iter().map(|key| figure(report, key)).collect();
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let missing = |key: &String| format!("{key}: not measured in this run");
        let named = citation.measured.iter().zip(figures);
        let texts: Vec<String> = named.map(|(key, f)| f.unwrap_or_else(|| missing(key))).collect();
        claims.push(Claim {
            about: citation.about,
            original: citation.original,
            measured: texts.join("; "),
            meaning: citation.meaning,
        });
    }
    if claims.is_empty() {
        return Ok(None);
    }
    let part = Part {
        title: "The original's figures beside those of this run".to_owned(),
        notes: citations.notes,
        claims,
        ..Part::default()
    };
    let (id, command) = ("original".to_owned(), report.run.command.clone());
    Ok(Some(Section { id, command, parts: vec![part], ..Section::default() }))
}

/// A figure by its key, with whose it is.
fn figure(report: &Report, key: &str) -> Option<String> {
    report.tables().find_map(|table| {
        let series = table.series.iter().find(|series| table.key(series) == key)?;
        let at = match (&table.axis, series.at) {
            (Some(axis), Some(at)) => format!(", {axis} {at}"),
            _ => String::new(),
        };
        let median = number(series.summary.median);
        let measure = if table.measure.is_empty() { "" } else { &format!(" {}", table.measure) };
        Some(format!("{median} {}{measure} ({}{at})", table.unit, series.contender))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Better, Run, Table};
    use super::*;

    #[test]
    fn figures_come_from_the_report_and_what_it_lacks_is_said() {
        let mut table = Table::new("call/nap", "calls/s", Better::More).along("workers");
        table.add_at("backend=v1, inflight=32, ms=5", 16.0, 190.0);
        table.conclude();
        let mut report = Report::new(Run::begin("test".to_owned(), &[]));
        assert!(section(&report).unwrap().is_none());
        let part = Part { tables: vec![table], ..Part::default() };
        report.sections.push(Section { parts: vec![part], ..Section::default() });
        let claims = &section(&report).unwrap().unwrap().parts[0].claims;
        assert_eq!(claims.len(), 1);
        assert!(claims[0].measured.starts_with("190 calls/s (backend=v1"), "{:?}", claims[0]);
        assert!(claims[0].measured.ends_with("not measured in this run"), "{:?}", claims[0]);
    }
}
