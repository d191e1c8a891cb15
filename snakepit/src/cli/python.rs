//! `snakepit python`: which interpreters there are, which profile suits, whether an environment is
//! ready. The compat crate owns the answers.

use std::path::PathBuf;

use serde_json::{Value, json};
use snakepit_compat::{
    Candidate, Interpreter, Profile, Recommendation, Search, Validation, recommend_profile,
    validate_environment,
};

use super::compat::Used;
use super::diagnostic::{Failure, Reporter};
use super::{Outcome, findings, output, setup};

/// Python interpreters and what they are good for.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the interpreters of this machine, with what each can do
    Detect,
    /// Say which profile suits an interpreter and the libraries of a project, and why
    Recommend(RecommendArgs),
    /// Look over an environment: interpreter, GIL, worker package, libraries
    Validate(ValidateArgs),
}

/// Which interpreter is meant.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Python interpreter, by path or name
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,

    /// The free-threaded interpreter of this machine
    #[arg(long, conflicts_with = "python")]
    free_threaded: bool,
}

#[derive(clap::Args)]
struct RecommendArgs {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    used: Used,

    /// Cores that a worker may use; those of this machine otherwise
    #[arg(long, value_name = "N")]
    cores: Option<usize>,
}

#[derive(clap::Args)]
struct ValidateArgs {
    #[command(flatten)]
    which: Which,

    /// The profile to be ready for
    #[arg(long, value_name = "PROFILE", default_value = "process", value_parser = profile)]
    profile: Profile,
}

pub(super) fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    match args.command {
        Command::Detect => detect(reporter),
        Command::Recommend(args) => recommend(args, reporter),
        Command::Validate(args) => validate(args, reporter),
    }
}

/// Reads a profile's name.
pub(super) fn profile(text: &str) -> Result<Profile, String> {
    match text {
        "process" => Ok(Profile::Process),
        "thread" => Ok(Profile::Thread),
        _ => Err("the profiles are process and thread".to_owned()),
    }
}

impl Which {
    /// The interpreter, asked.
    pub(super) fn find(&self) -> Result<Interpreter, Failure> {
        let found = match self.free_threaded {
            true => self.search().find_free_threaded(),
            false => self.search().find_default(),
        };
        found.map_err(|error| setup::not_found(&error))
    }

    /// Whether one was named.
    pub(super) fn is_named(&self) -> bool {
        self.python.is_some() || self.free_threaded
    }

    fn search(&self) -> Search {
        let search = Search::from_env();
        self.python.iter().fold(search, |search, python| search.explicit(python))
    }
}

fn detect(reporter: Reporter) -> Result<Outcome, Failure> {
    let found = Search::from_env().find_all();
    let serves = found.iter().any(|candidate| candidate.outcome.is_ok());
    let text = if reporter.json {
        let all: Vec<Value> = found.iter().map(candidate_json).collect();
        format!("{}\n", json!(all))
    } else {
        interpreters(&found)
    };
    match output::print(&text)? {
        Outcome::Fine if !serves => Ok(Outcome::SomeFailed),
        outcome => Ok(outcome),
    }
}

fn candidate_json(candidate: &Candidate) -> Value {
    let Candidate { place, path, outcome, .. } = candidate;
    let mut shown = json!({ "place": place, "path": path });
    match outcome {
        Ok(interpreter) => {
            shown["interpreter"] = json!(interpreter);
            shown["abi_tag"] = json!(interpreter.abi_tag());
            shown["virtual_environment"] = json!(interpreter.is_virtual_environment());
        }
        Err(error) => shown["error"] = json!(error.to_string()),
    }
    shown
}

fn interpreters(found: &[Candidate]) -> String {
    let header = ["PYTHON", "GIL", "ABI", "PLATFORM", "PLACE", "EXECUTABLE"].map(str::to_owned);
    let rows: Vec<Vec<String>> = found
        .iter()
        .filter_map(|candidate| {
            let python = candidate.outcome.as_ref().ok()?;
            let t = if python.free_threaded { "t" } else { "" };
            let venv = if python.is_virtual_environment() { " (virtual environment)" } else { "" };
            Some(vec![
                format!("{}{t}", python.version),
                if python.gil_enabled { "on" } else { "off" }.to_owned(),
                python.abi_tag(),
                python.platform.clone(),
                candidate.place.clone(),
                format!("{}{venv}", python.executable.display()),
            ])
        })
        .collect();
    let mut text = match rows.is_empty() {
        true => "no interpreter that serves: install CPython 3.11 or later\n".to_owned(),
        false => output::table(header.to_vec(), rows, 6),
    };
    for candidate in found {
        if let Err(error) = &candidate.outcome {
            // A version manager's shim explains itself at length.
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            text.push_str(&format!("not usable, {}: {first}\n", candidate.place));
        }
    }
    text
}

fn recommend(args: RecommendArgs, reporter: Reporter) -> Result<Outcome, Failure> {
    let interpreter = args.which.find()?;
    let used = args.used.read(&interpreter)?;
    let cores = args
        .cores
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let found = recommend_profile(&interpreter, &used, cores);
    if reporter.json {
        let mut shown = json!(found);
        shown["interpreter"] = json!(interpreter);
        shown["cores"] = json!(cores);
        return output::print(&format!("{shown}\n"));
    }
    output::print(&recommendation(&found))
}

fn recommendation(found: &Recommendation) -> String {
    let mut text = format!("{} profile\n", found.profile);
    for reason in &found.reasons {
        text.push_str(&format!("  because {reason}\n"));
    }
    for advice in &found.advice {
        text.push_str(&format!("  see to {advice}\n"));
    }
    text
}

fn validate(args: ValidateArgs, reporter: Reporter) -> Result<Outcome, Failure> {
    let validation = match (&args.which.python, args.which.find()) {
        (_, Ok(interpreter)) => Validation::of(interpreter, args.profile),
        // One that was named and does not serve is a finding, with its remedy.
        (Some(python), Err(_)) => validate_environment(python, args.profile),
        (None, Err(failure)) => return Err(failure),
    };
    let Validation { profile, interpreter, findings, .. } = validation;
    findings::show(&findings, json!({ "profile": profile, "interpreter": interpreter }), reporter)
}
