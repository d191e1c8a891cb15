//! What goes wrong, for people or for programs. Owns the exit code of each failure and how a Python
//! traceback is shown.

use std::fmt;
use std::process::ExitCode;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use serde_json::json;
use snakepit::config::ConfigError;
use snakepit::{Category, Error, ErrorKind};

use super::problems;
use super::raised::Raised;

/// Where messages for people go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reporter {
    pub(super) json: bool,
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(super) struct Failure {
    stage: Stage,
    error: Error,
    /// What is wrong with settings, if that is what failed.
    settings: Option<ConfigError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Arguments, settings or input.
    Usage,
    /// The pool did not start.
    Start,
    /// A call failed, or what was asked of a running host.
    Call,
    /// No running host answers.
    Reach,
}

impl Failure {
    fn at(stage: Stage, error: Error) -> Self {
        Self { stage, error, settings: None }
    }

    /// Settings are wrong.
    pub(super) fn settings(error: ConfigError) -> Self {
        Self { settings: Some(error.clone()), ..Self::invalid(error.into()) }
    }

    /// Something the user wrote is wrong.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::invalid(Error::new(ErrorKind::InvalidConfig, message))
    }

    /// Something the user wrote is wrong.
    pub(super) fn invalid(error: Error) -> Self {
        Self::at(Stage::Usage, error)
    }

    /// The pool did not start.
    pub(super) fn start(error: Error) -> Self {
        let usage = matches!(error.kind(), ErrorKind::InvalidConfig | ErrorKind::PoolNotFound);
        Self::at(if usage { Stage::Usage } else { Stage::Start }, error)
    }

    /// A call failed.
    pub(super) fn call(error: Error) -> Self {
        // A pool can also fail while it is used: its interpreter is gone, its adapter has changed.
        let start = error.category() == Category::Initialization;
        Self::at(if start { Stage::Start } else { Stage::Call }, error)
    }

    /// A running host did not do what it was asked.
    pub(super) fn control(error: Error) -> Self {
        let usage = matches!(
            error.kind(),
            ErrorKind::PoolNotFound | ErrorKind::WorkerNotFound | ErrorKind::InvalidConfig
        );
        Self::at(if usage { Stage::Usage } else { Stage::Call }, error)
    }

    /// No running host answers.
    pub(super) fn unreachable(error: Error) -> Self {
        Self::at(Stage::Reach, error)
    }

    /// What went wrong.
    pub(super) fn error(&self) -> &Error {
        &self.error
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.stage {
            Stage::Call => 1,
            Stage::Usage => 2,
            Stage::Start => 3,
            Stage::Reach => 4,
        })
    }
}

impl Reporter {
    /// Shows a failure on standard error.
    pub(super) fn failure(self, failure: &Failure) {
        match &failure.settings {
            Some(settings) if self.json => {
                let whole = json!({ "error": failure.error, "problems": settings.problems() });
                eprintln!("{whole}");
            }
            Some(settings) => problems::show(settings),
            None => self.error(&failure.error),
        }
    }

    /// Shows an error on standard error.
    pub(super) fn error(self, error: &Error) {
        if self.json {
            eprintln!("{}", json!({ "error": error }));
            return;
        }
        if let Some(python) = error.python() {
            eprintln!("{}", python.traceback().trim_end());
        }
        let shown = Shown { error, raised: error.python().map(Raised::new) };
        let mut out = String::new();
        // Rendering into a String fails for no diagnostic of ours; the plain text says the same.
        if handler().render_report(&mut out, &shown).is_err() {
            out = error.to_string();
        }
        eprintln!("{}", out.trim_end());
    }
}

pub(super) fn handler() -> GraphicalReportHandler {
    use std::io::IsTerminal;
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode())
    } else {
        // Wrapping would break what scripts search for.
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
            .with_wrap_lines(false)
            .with_links(false)
    }
}

/// An error as miette wants it.
struct Shown<'a> {
    error: &'a Error,
    raised: Option<Raised>,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error.message())
    }
}

impl std::error::Error for Shown<'_> {}

/// What the exception shows is shown as the error's own: its message is in the error's already.
impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.error.kind().code()))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.error.help()?))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.raised.as_ref()?.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.raised.as_ref()?.labels()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        self.raised.as_ref()?.related()
    }

    fn diagnostic_source(&self) -> Option<&dyn Diagnostic> {
        self.raised.as_ref()?.diagnostic_source()
    }
}
