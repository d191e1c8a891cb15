//! `snakepit doctor`: everything that a pool needs to start, each finding with its remedy.

mod cgroup;
mod pools;
mod system;

use std::path::PathBuf;

use serde_json::json;
use snakepit_compat::Profile;

use super::diagnostic::{Failure, Reporter};
use super::python::profile;
use super::{Outcome, findings};

/// What to look at beside the machine.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The adapter: a file or a module, with a class if need be, as `adapter.py:Model`
    #[arg(short, long, value_name = "SPEC", conflicts_with = "config")]
    adapter: Option<String>,

    /// Settings file; all its pools are looked at
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Python interpreter, by path or name
    #[arg(long, value_name = "PYTHON", conflicts_with = "config")]
    python: Option<PathBuf>,

    /// The profile to be ready for
    #[arg(long, value_name = "PROFILE", default_value = "process", value_parser = profile)]
    #[arg(conflicts_with = "config")]
    profile: Profile,
}

pub(super) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let wanted = pools::wanted(&args);
    let workers = wanted.workers();
    let mut found = system::findings(workers);
    found.extend(wanted.findings().await);
    findings::show(&found, json!({ "version": env!("CARGO_PKG_VERSION") }), reporter)
}
