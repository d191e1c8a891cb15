//! `snakepit compat`: what is known about libraries and threads. The compat crate owns the knowledge.

mod show;

use std::path::PathBuf;

use serde_json::json;
use snakepit::{Error, ErrorKind};
use snakepit_compat::{
    Abi, Filter, ImportGil, Interpreter, Profile, Rating, Report, Requirements, RequirementsError,
    Threads, generate_report, list_all,
};

use super::diagnostic::{Failure, Reporter};
use super::python::{Which, profile};
use super::{Outcome, output};

/// Libraries in the threads of one process.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Judge libraries, each with all that speaks for and against it
    Check(CheckArgs),
    /// List what is known
    List(ListArgs),
    /// Judge everything that a project uses, worst first
    Report(ReportArgs),
}

/// Without --abi, --python or --free-threaded: for free-threaded Python 3.14.
#[derive(clap::Args)]
struct For {
    /// The profile of the workers; nothing is unsafe in the process profile
    #[arg(long, value_name = "PROFILE", default_value = "thread", value_parser = profile)]
    profile: Profile,

    /// The interpreter's ABI tag, as cp314t or cp312
    #[arg(long, value_name = "TAG", conflicts_with_all = ["python", "free_threaded"])]
    abi: Option<Abi>,

    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
struct CheckArgs {
    #[command(flatten)]
    target: For,

    /// Libraries, as `numpy` or `numpy==2.5.5`
    #[arg(required = true, value_name = "LIBRARY")]
    libraries: Vec<String>,
}

#[derive(clap::Args)]
struct ListArgs {
    /// Those whose documentation says this about threads
    #[arg(long, value_name = "CLASS")]
    threads: Option<ThreadsArg>,

    /// Those that have wheels for free-threaded 3.14
    #[arg(long)]
    wheels: bool,

    /// Those whose import left the GIL like this
    #[arg(long, value_name = "STATE")]
    gil: Option<GilArg>,

    /// Those whose name contains this
    name: Option<String>,
}

#[derive(clap::Args)]
struct ReportArgs {
    #[command(flatten)]
    target: For,

    #[command(flatten)]
    used: Used,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ThreadsArg {
    Safe,
    SafeWithCare,
    NotSafe,
    Unknown,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum GilArg {
    Off,
    On,
    Untested,
}

/// What a project uses.
#[derive(clap::Args)]
pub(super) struct Used {
    /// Libraries, as `numpy` or `numpy==2.5.5`
    #[arg(value_name = "LIBRARY")]
    libraries: Vec<String>,

    /// A requirements file, or a lock file of uv, Poetry or pip
    #[arg(short, long, value_name = "FILE", conflicts_with = "libraries")]
    requirements: Option<PathBuf>,

    /// What the interpreter's environment has installed
    #[arg(long, conflicts_with_all = ["libraries", "requirements"])]
    installed: bool,
}

pub(super) fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    match args.command {
        Command::Check(args) => check(&args, reporter),
        Command::List(args) => list(args, reporter),
        Command::Report(args) => report(&args, reporter),
    }
}

impl Used {
    fn is_empty(&self) -> bool {
        self.libraries.is_empty() && self.requirements.is_none() && !self.installed
    }

    /// What was named, which may be nothing.
    pub(super) fn read(&self, interpreter: &Interpreter) -> Result<Requirements, Failure> {
        if self.installed {
            return Requirements::from_environment(interpreter).map_err(unreadable);
        }
        self.read_named()
    }

    /// What was named without an interpreter.
    fn read_named(&self) -> Result<Requirements, Failure> {
        match &self.requirements {
            Some(path) => Requirements::from_file(path).map_err(unreadable),
            None => Ok(Requirements::from_names(&self.libraries)),
        }
    }
}

impl For {
    fn abi(&self) -> Result<Abi, Failure> {
        if let Some(abi) = self.abi {
            return Ok(abi);
        }
        if self.which.is_named() {
            return Ok(Abi::of(&self.which.find()?));
        }
        Ok(Abi { minor: 14, free_threaded: true })
    }
}

fn check(args: &CheckArgs, reporter: Reporter) -> Result<Outcome, Failure> {
    let used = Requirements::from_names(&args.libraries);
    if let Some(unread) = used.ignored.first() {
        return Err(Failure::usage(format!("`{unread}` names no library: write name==version")));
    }
    let found = generate_report(&used, args.target.profile, args.target.abi()?);
    let text = match reporter.json {
        true => format!("{}\n", json!(found.verdicts.iter().map(show::whole).collect::<Vec<_>>())),
        false => found.verdicts.iter().map(show::verdict).collect(),
    };
    judged(&found, &text)
}

fn list(args: ListArgs, reporter: Reporter) -> Result<Outcome, Failure> {
    let mut filter = Filter::default();
    filter.threads = args.threads.map(Into::into);
    filter.free_threaded_wheels = args.wheels;
    filter.import = args.gil.map(Into::into);
    filter.name = args.name;
    let libraries = list_all(&filter);
    if reporter.json {
        return output::print(&format!("{}\n", json!(libraries)));
    }
    output::print(&show::list(&libraries))
}

fn report(args: &ReportArgs, reporter: Reporter) -> Result<Outcome, Failure> {
    if args.used.is_empty() {
        let message = "name libraries, a file with --requirements, or --installed";
        return Err(Failure::usage(message));
    }
    let (used, abi) = if args.used.installed {
        // Its own packages are judged for itself.
        let interpreter = args.target.which.find()?;
        (args.used.read(&interpreter)?, args.target.abi.unwrap_or_else(|| Abi::of(&interpreter)))
    } else {
        (args.used.read_named()?, args.target.abi()?)
    };
    let found = generate_report(&used, args.target.profile, abi);
    let text = match reporter.json {
        true => format!("{}\n", json!(found)),
        false => show::report(&found),
    };
    judged(&found, &text)
}

/// Prints, and fails if a library is in the way or nothing is known about it.
fn judged(found: &Report, text: &str) -> Result<Outcome, Failure> {
    match output::print(text)? {
        Outcome::Fine if found.rating >= Rating::Unknown => Ok(Outcome::SomeFailed),
        outcome => Ok(outcome),
    }
}

fn unreadable(error: RequirementsError) -> Failure {
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    let message = format!("{error}{}", source.unwrap_or_default());
    Failure::invalid(Error::new(ErrorKind::InvalidConfig, message))
}

impl From<ThreadsArg> for Threads {
    fn from(class: ThreadsArg) -> Self {
        match class {
            ThreadsArg::Safe => Self::Safe,
            ThreadsArg::SafeWithCare => Self::SafeWithCare,
            ThreadsArg::NotSafe => Self::NotSafe,
            ThreadsArg::Unknown => Self::Unknown,
        }
    }
}

impl From<GilArg> for ImportGil {
    fn from(state: GilArg) -> Self {
        match state {
            GilArg::Off => Self::Off,
            GilArg::On => Self::On,
            GilArg::Untested => Self::Untested,
        }
    }
}
