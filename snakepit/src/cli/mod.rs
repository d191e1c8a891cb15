//! The command line. Owns what all commands share: global options, the runtime commands wait on,
//! exit codes.

mod compat;
mod config;
mod control;
mod diagnostic;
mod doctor;
mod exec;
mod findings;
mod input;
mod interrupt;
mod logging;
mod map;
mod output;
mod pool;
mod problems;
mod python;
mod raised;
mod run;
mod setup;
mod tools;

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};

use self::diagnostic::{Failure, Reporter};
use self::logging::Logging;

/// Runs Python from the command line through supervised pools of workers.
#[derive(Parser)]
#[command(name = "snakepit", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print for programs: results, errors and summaries as JSON, the latter two on standard error
    #[arg(long, global = true)]
    json: bool,

    /// Say more; twice for debugging (RUST_LOG is respected too)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    all is well
  1    a call failed, a host did not do what it was asked, or did not end in good order;
       something fatal was found, or a library that is not safe or not known
  2    wrong usage, settings or input
  3    no pool could start, or not the control socket
  4    no running host answers
  130  interrupted (143: by SIGTERM)";

#[derive(Subcommand)]
enum Command {
    /// Call one tool and print its result as JSON
    Exec(exec::Args),
    /// Call a tool for each line of JSON input, in parallel, results in input order
    Map(map::Args),
    /// List what an adapter offers
    Tools(tools::Args),
    /// Install the worker package for a Python interpreter
    Setup(setup::Args),
    /// Find Python interpreters, and say what they are good for
    Python(python::Args),
    /// Say what is known about Python libraries in the threads of one process
    Compat(compat::Args),
    /// Check, show, import or write settings, without running them
    Config(config::Args),
    /// Look over everything that a pool needs to start
    ///
    /// That is the machine, the interpreter and the worker package. With --adapter or --config, one
    /// worker of each pool is started as well, and ended again.
    Doctor(doctor::Args),
    /// Keep the pools of a settings file up, until a signal or `drain`
    Run(run::Args),
    /// List the pools of a running host
    Pools(control::PoolsArgs),
    /// List the workers of a running host
    Workers(control::WorkersArgs),
    /// Show the numbers of a running host's pools
    Stats(control::StatsArgs),
    /// Show what shared memory a running host has, and who uses it
    Shm(control::ShmArgs),
    /// Replace workers of a running host without losing a call
    Recycle(control::RecycleArgs),
    /// Change how many workers a pool of a running host has
    Scale(control::ScaleArgs),
    /// Close circuits of a running host's pool
    Reset(control::ResetArgs),
    /// Have a running host read its settings file again
    Reload(control::ReloadArgs),
    /// End a pool of a running host, or the whole host, in good order
    Drain(control::DrainArgs),
}

/// How a command ended that got as far as doing its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    SomeFailed,
    /// Whoever reads the output has gone away.
    OutputClosed,
    Interrupted,
    /// It was told to end before its time, or a second time while it ended.
    Terminated,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Fine => 0,
            Outcome::SomeFailed => 1,
            // As of a program that SIGPIPE, SIGINT or SIGTERM ended.
            Outcome::OutputClosed => 141,
            Outcome::Interrupted => 130,
            Outcome::Terminated => 143,
        })
    }
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let serves = matches!(cli.command, Command::Run(_));
    let logging = logging::init(cli.verbose, cli.json, serves);
    // About five for each worker; what cannot be raised shows when a worker cannot start.
    let _ = snakepit_lifecycle::process::raise_descriptor_limit();
    let reporter = Reporter { json: cli.json };
    match run(cli.command, reporter, logging) {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            reporter.failure(&failure);
            failure.exit_code()
        }
    }
}

fn run(command: Command, reporter: Reporter, logging: Logging) -> Result<Outcome, Failure> {
    // Waits for calls, input and signals; links and timers live on the library's own thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
    let outcome = match command {
        Command::Exec(args) => runtime.block_on(exec::run(args, reporter)),
        Command::Map(args) => runtime.block_on(map::run(args, reporter)),
        Command::Tools(args) => runtime.block_on(tools::run(args, reporter)),
        Command::Setup(args) => setup::run(args, reporter),
        Command::Python(args) => python::run(args, reporter),
        Command::Compat(args) => compat::run(args, reporter),
        Command::Config(args) => config::run(args, reporter),
        Command::Doctor(args) => runtime.block_on(doctor::run(args, reporter)),
        Command::Run(args) => runtime.block_on(run::run(args, reporter, logging)),
        Command::Pools(args) => runtime.block_on(control::pools(args, reporter)),
        Command::Workers(args) => runtime.block_on(control::workers(args, reporter)),
        Command::Stats(args) => runtime.block_on(control::stats(args, reporter)),
        Command::Shm(args) => runtime.block_on(control::shm(args, reporter)),
        Command::Recycle(args) => runtime.block_on(control::recycle(args, reporter)),
        Command::Scale(args) => runtime.block_on(control::scale(args, reporter)),
        Command::Reset(args) => runtime.block_on(control::reset(args, reporter)),
        Command::Reload(args) => runtime.block_on(control::reload(args, reporter)),
        Command::Drain(args) => runtime.block_on(control::drain(args, reporter)),
    };
    // A thread that waits for standard input cannot be ended; the process ends without it.
    runtime.shutdown_background();
    outcome
}
