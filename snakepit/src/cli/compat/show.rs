//! How verdicts and libraries are shown to people.

use std::fmt::Write as _;

use serde_json::{Value, json};
use snakepit_compat::{ImportGil, Library, Rating, Report, Verdict};

use crate::cli::output::table;

/// A verdict with all that is known of its library.
pub(super) fn whole(verdict: &Verdict) -> Value {
    let mut shown = json!(verdict);
    shown["library"] = json!(verdict.library);
    shown
}

pub(super) fn verdict(verdict: &Verdict) -> String {
    let Verdict { name, version, profile, abi, rating, reasons, advice, library, .. } = verdict;
    let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    // Writing into a String cannot fail.
    let mut text = format!("{name}{version}, {profile} profile, {abi}: {rating}\n");
    for reason in reasons {
        let _ = writeln!(text, "  because {reason}");
    }
    if let Some(advice) = advice {
        let _ = writeln!(text, "  advice: {advice}");
    }
    if let Some(library) = library {
        let _ = writeln!(text, "  source: {} ({})", library.source, library.date);
    }
    text
}

pub(super) fn list(libraries: &[&Library]) -> String {
    let header = ["LIBRARY", "THREADS", "SHARING", "RELEASES GIL", "CP314T", "IMPORT", "NEWEST"];
    let rows = libraries.iter().map(|library| row(library)).collect();
    table(header.map(str::to_owned).to_vec(), rows, header.len())
}

fn row(library: &Library) -> Vec<String> {
    let wheels = library.wheels.as_ref();
    let import = match library.import.gil {
        ImportGil::Off => "GIL off",
        ImportGil::On => "GIL on",
        _ => "untested",
    };
    vec![
        library.name.clone(),
        word(&json!(library.threads)),
        word(&json!(library.sharing)),
        word(&json!(library.releases_gil)),
        wheels.map_or_else(|| "stdlib".to_owned(), |wheels| wheels.cp314t.to_string()),
        import.to_owned(),
        wheels.map_or_else(|| "-".to_owned(), |wheels| wheels.newest.clone()),
    ]
}

/// The data's own word, for people.
fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('_', " ")
}

pub(super) fn report(report: &Report) -> String {
    let header = ["RATING", "LIBRARY", "VERSION", "WHY"];
    let rows: Vec<Vec<String>> = report
        .verdicts
        .iter()
        .map(|verdict| {
            vec![
                verdict.rating.to_string(),
                verdict.name.clone(),
                verdict.version.clone().unwrap_or_else(|| "-".to_owned()),
                verdict.reasons.first().cloned().unwrap_or_default(),
            ]
        })
        .collect();
    let mut text = table(header.map(str::to_owned).to_vec(), rows, header.len());
    for line in &report.ignored {
        let _ = writeln!(text, "not looked at: {line}");
    }
    let ratings =
        [Rating::Safe, Rating::SafeWithCare, Rating::Unknown, Rating::NotSafe, Rating::Unsupported];
    let counts: Vec<String> = ratings
        .into_iter()
        .filter(|rating| report.count(*rating) > 0)
        .map(|rating| format!("{} {rating}", report.count(rating)))
        .collect();
    let _ = writeln!(text, "{} profile, {}: {}", report.profile, report.abi, counts.join(", "));
    text
}
