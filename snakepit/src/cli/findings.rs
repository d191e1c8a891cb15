//! Shows what was looked over: one line for each finding, its remedy below it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use snakepit_compat::{Finding, Level};

use super::diagnostic::{Failure, Reporter};
use super::{Outcome, output};

/// Prints findings, and fails if one of them is fatal. `more` stands beside them in JSON.
pub(super) fn show(
    findings: &[Finding],
    more: Value,
    reporter: Reporter,
) -> Result<Outcome, Failure> {
    let fatal = findings.iter().filter(|finding| finding.level == Level::Fatal).count();
    let text = if reporter.json {
        let mut whole = more;
        whole["ready"] = json!(fatal == 0);
        whole["findings"] = json!(findings);
        format!("{whole}\n")
    } else {
        text(findings, fatal)
    };
    match output::print(&text)? {
        Outcome::Fine if fatal > 0 => Ok(Outcome::SomeFailed),
        outcome => Ok(outcome),
    }
}

fn text(findings: &[Finding], fatal: usize) -> String {
    let width = findings.iter().map(|finding| finding.topic.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for Finding { level, topic, message, remedy, .. } in findings {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{level:8}{topic:width$}  {}", message.replace('\n', "; "));
        if let Some(remedy) = remedy {
            let _ = writeln!(out, "{:8}{:width$}  -> {}", "", "", remedy.replace('\n', "; "));
        }
    }
    let warnings = findings.iter().filter(|finding| finding.level == Level::Warning).count();
    let _ = match (fatal, warnings) {
        (0, 0) => writeln!(out, "all is well"),
        (0, 1) => writeln!(out, "ready, with 1 warning"),
        (0, _) => writeln!(out, "ready, with {warnings} warnings"),
        _ => writeln!(out, "not ready: {fatal} fatal"),
    };
    out
}
