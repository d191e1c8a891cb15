//! What is wrong with settings, for people: each problem with the line it stands in.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceOffset};
use snakepit::config::{ConfigError, Problem};

use super::diagnostic::handler;

/// Shows every problem on standard error.
pub(super) fn show(error: &ConfigError) {
    let name = error.source_name();
    // The file may have changed or gone since; then the places stand without their lines.
    let text = name.and_then(|name| std::fs::read_to_string(name).ok());
    let source = name.zip(text).map(|(name, text)| (name.to_owned(), text));
    let mut out = String::new();
    for problem in error.problems() {
        let shown = Shown::new(problem, source.as_ref());
        // Rendering into a String fails for no diagnostic of ours; the plain text says the same.
        if handler().render_report(&mut out, &shown).is_err() {
            out.push_str(&format!("{problem}\n"));
        }
    }
    let count = match error.problems().len() {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    };
    eprintln!("{}\n{count} in the settings", out.trim_end());
}

/// A problem as miette wants it.
struct Shown<'a> {
    problem: &'a Problem,
    message: String,
    source: Option<(NamedSource<String>, SourceOffset)>,
}

impl<'a> Shown<'a> {
    fn new(problem: &'a Problem, source: Option<&(String, String)>) -> Self {
        let path = &problem.path;
        let message = &problem.message;
        let message = if path.is_empty() { message.clone() } else { format!("{path}: {message}") };
        let place = match (&problem.variable, problem.position, source) {
            (Some(variable), ..) => format!("{variable}: "),
            (None, Some(at), Some((name, _))) => format!("{name}:{at}: "),
            (None, Some(at), None) => format!("{at}: "),
            (None, None, _) => String::new(),
        };
        let source = problem.position.zip(source).map(|(at, (name, text))| {
            let offset = SourceOffset::from_location(text, at.line, at.column);
            (NamedSource::new(name, text.clone()), offset)
        });
        Self { problem, message: format!("{place}{message}"), source }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code.as_str()))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.problem.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|(source, _)| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (_, offset) = self.source.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, offset.offset(), 1))))
    }
}
