//! `snakepit-load`: the load benchmark. Each section prints its samples' medians and what they are
//! compared with; a gate that is missed makes the exit code 1.

mod alloc;
mod sections;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use snakepit_bench::workload::Setting;

use sections::{Run, Section};

#[derive(Parser)]
#[command(about = "Measures Snakepit beside what Python offers by itself")]
struct Options {
    /// Sections to run; all of them if none is named.
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// The interpreter; by default the environment that `cargo xtask setup` made.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The interpreter without a GIL; by default from the other environment that setup made.
    #[arg(long)]
    free_threaded: Option<PathBuf>,
    /// Workers in each pool.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Samples of each contender.
    #[arg(long, default_value_t = 7)]
    samples: usize,
    /// Fewer and shorter samples.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let python = match options.python {
        Some(python) => python,
        None => environment("gil").context(
            "no environment for the benchmarks: run `cargo xtask setup`, or name one with --python",
        )?,
    };
    let free_threaded = options.free_threaded.or_else(|| environment("free-threaded"));
    let setting = Setting { python, free_threaded, workers: options.workers };
    let (samples, scale) = if options.quick { (3, 0.3) } else { (options.samples, 1.0) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut run = Run::new(setting, samples, scale);
    let sections = if options.sections.is_empty() { Section::all() } else { options.sections };
    runtime.block_on(async {
        for section in sections {
            section.run(&mut run).await?;
        }
        anyhow::Ok(())
    })?;
    Ok(run.verdict())
}

/// The interpreter of an environment that setup made.
fn environment(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    let python = target.join(format!("snakepit/venvs/{name}/bin/python"));
    python.exists().then_some(python)
}
