//! The workspace's commands, one file each: `cargo xtask --help` lists them. Knows how to run the
//! project's tools and nothing of what they do.

mod bench;
mod ci;
mod demo;
mod lock;
mod matrix;
mod peers;
mod perf_gate;
mod run;
mod setup;
mod soak;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::setup::Interpreters;
use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The workspace's commands")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make the Python environments that tests and examples use, with the worker package in them
    Setup,
    /// Set up, build the command line and show it at work on real data
    Demo,
    /// Set up, then run every test (or only those of the kinds named)
    Test(test::Selection),
    /// Set up, then run the tests of many workers' lives in full size
    Soak(soak::Length),
    /// Measure, and report as Markdown and as a page (`compare` shows what moved since)
    Bench(bench::Arguments),
    /// Run the quick checks that are no tests: format, lints, docs, each crate alone
    Ci,
    /// Compare with an earlier commit, and fail where this one is slower than perf.toml allows
    PerfGate(perf_gate::Arguments),
    /// Derive the facts of the library matrix again, and show where they have moved
    Matrix(matrix::Arguments),
    /// Resolve the Python dependencies anew and write python/uv.lock
    Lock,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Workspace::find().and_then(|workspace| match arguments.command {
        Task::Setup => setup::run(&workspace, Interpreters::Both),
        Task::Demo => demo::run(&workspace),
        Task::Test(selection) => test::run(&workspace, &selection),
        Task::Soak(length) => soak::run(&workspace, &length),
        Task::Bench(arguments) => bench::run(&workspace, &arguments),
        Task::Ci => ci::run(&workspace),
        Task::PerfGate(arguments) => perf_gate::run(&workspace, &arguments),
        Task::Matrix(arguments) => matrix::run(&workspace, &arguments),
        Task::Lock => lock::run(&workspace),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
