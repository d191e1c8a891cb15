//! `snakepit setup`: the worker package for one interpreter, through the compat crate.

use std::io::Write;
use std::path::PathBuf;

use snakepit::{Error, ErrorKind};
use snakepit_compat::{FindError, SetupError, SetupOptions, Source};

use super::diagnostic::{Failure, Reporter};
use super::{Outcome, map};

/// Installs the worker package into the user's cache, where every host of this version finds it;
/// the interpreter's own environment stays as it is.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Python interpreter, by path or name
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,

    /// Set up a free-threaded interpreter, and provide one if there is none
    #[arg(long)]
    free_threaded: bool,

    /// Take the package from this wheel, or from a directory of wheels
    #[arg(long, value_name = "PATH", conflicts_with = "source")]
    wheel: Option<PathBuf>,

    /// Build the package from this source directory
    #[arg(long, value_name = "PATH")]
    source: Option<PathBuf>,
}

pub(super) fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let source = match (args.wheel, args.source) {
        (Some(wheel), _) => Some(Source::Wheel(wheel)),
        (None, Some(tree)) => Some(Source::SourceTree(tree)),
        (None, None) => None,
    };
    let options = SetupOptions {
        python: args.python.map(PathBuf::into_os_string),
        free_threaded: args.free_threaded,
        source,
        ..SetupOptions::default()
    };
    let mut progress = |step: &str| {
        if !reporter.json {
            eprintln!("{step}");
        }
    };
    let report = snakepit_compat::setup(&options, &mut progress).map_err(failure)?;
    let mut out = std::io::stdout();
    let written = if reporter.json {
        writeln!(out, "{}", serde_json::json!(report))
    } else {
        let what = if report.changed { "installed" } else { "up to date" };
        let package = report.package.display();
        writeln!(
            out,
            "{}: worker package {} {what} in {package}",
            report.interpreter, report.version
        )
    };
    map::written(written)
}

/// There is no interpreter.
pub(super) fn not_found(error: &FindError) -> Failure {
    Failure::start(Error::new(ErrorKind::InterpreterNotFound, chain(error)))
}

fn failure(error: SetupError) -> Failure {
    let kind = match &error {
        SetupError::Find(error) => return not_found(error),
        SetupError::Install(_) => ErrorKind::WorkerPackageMissing,
        _ => ErrorKind::System,
    };
    Failure::start(Error::new(kind, chain(&error)))
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
