//! `cargo xtask soak`: many lives of workers under load, in full size. The tests own what is promised
//! (`snakepit/tests/soak`, `snakepit-shm/tests/kills.rs`); they also run in small with every `cargo xtask test`.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::run;
use crate::setup::{self, Interpreters};
use crate::workspace::Workspace;

/// The tests that have a full size, by package.
const SOAKS: [(&str, &str); 2] = [("snakepit", "soak"), ("snakepit-shm", "kills")];

/// How long to go on.
#[derive(Args)]
pub(crate) struct Length {
    /// Begin no further round after so many minutes; there is one in any case
    #[arg(long, value_name = "N", default_value_t = 0)]
    minutes: u64,
}

pub(crate) fn run(workspace: &Workspace, length: &Length) -> Result<()> {
    run::announce("setup");
    setup::run(workspace, Interpreters::GilOnly)?;
    let (started, limit) = (Instant::now(), Duration::from_secs(60 * length.minutes));
    let mut rounds = 0;
    while rounds == 0 || started.elapsed() < limit {
        rounds += 1;
        for (name, test) in SOAKS {
            let mut command = workspace.cargo();
            command
                .args(["test", "--release", "--package", name, "--test", test])
                .args(["--", "--test-threads=1"])
                .env("SNAKEPIT_SOAK", "1");
            run::step(&format!("round {rounds}, {test} of {name}"), command)?;
        }
    }
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    eprintln!("soak: all passed ({rounds} rounds in {minutes:.1} minutes)");
    Ok(())
}
