//! The sections of the load benchmark, one file each, and what they share: setting, samples,
//! gates.

mod arrays;
mod bookkeeping;
mod conversion;
mod costs;
mod engine;
mod large;
mod latency;
mod memory;
mod mixed;
mod recycling;
mod replace;
mod sessions;
mod start;
mod threads;
mod throughput;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use snakepit_bench::sample::Table;
use snakepit_bench::workload::Setting;

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Section {
    /// Small calls per second at 64 in flight, beside Python's own pools.
    Throughput,
    /// One call at a time, beside Python's own pools.
    Latency,
    /// The pool engine against workers driven without it.
    Engine,
    /// One slow call among fast ones, with and without prefetch.
    Mixed,
    /// 1 MB there and back inline.
    Large,
    /// Arrays and bytes through shared memory, beside inline and `memcpy`.
    Arrays,
    /// A nested document to Python objects and back, beside Python's `json`.
    Conversion,
    /// A worker's private memory above the same bare interpreter.
    Memory,
    /// CPU, wake-ups, allocations and system calls per call.
    Costs,
    /// Many workers at once: time, memory, and what they cost when idle.
    Start,
    /// One worker in place of another.
    Replace,
    /// Small calls while workers are replaced every so many of them.
    Recycling,
    /// What limits cost per call while no worker is replaced.
    Bookkeeping,
    /// Calls that hold to the worker of their session.
    Sessions,
    /// Several calls at a time in one worker, without a GIL.
    Threads,
    /// Calls of tools in Rust from inside a Python call.
    Tools,
}

impl Section {
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    pub(crate) async fn run(self, run: &mut Run) -> Result<()> {
        match self {
            Self::Throughput => throughput::run(run).await,
            Self::Latency => latency::run(run).await,
            Self::Engine => engine::run(run).await,
            Self::Mixed => mixed::run(run).await,
            Self::Large => large::run(run).await,
            Self::Arrays => arrays::run(run).await,
            Self::Conversion => conversion::run(run).await,
            Self::Memory => memory::run(run).await,
            Self::Costs => costs::run(run).await,
            Self::Start => start::run(run).await,
            Self::Replace => replace::run(run).await,
            Self::Recycling => recycling::run(run).await,
            Self::Bookkeeping => bookkeeping::run(run).await,
            Self::Sessions => sessions::run(run).await,
            Self::Threads => threads::run(run).await,
            Self::Tools => tools::run(run).await,
        }
    }
}

/// One run of the benchmark.
pub(crate) struct Run {
    pub(crate) setting: Setting,
    pub(crate) samples: usize,
    scale: f64,
    missed: Vec<String>,
}

impl Run {
    pub(crate) fn new(setting: Setting, samples: usize, scale: f64) -> Self {
        Self { setting, samples, scale, missed: Vec::new() }
    }

    /// A number of calls, fewer in a quick run.
    pub(crate) fn calls(&self, full: usize) -> usize {
        (full as f64 * self.scale) as usize
    }

    pub(crate) fn title(&self, text: &str) {
        println!("\n## {text}\n");
    }

    pub(crate) fn table(&self, unit: &str, table: &Table) {
        println!("| contender | median {unit} | lowest | highest |\n|---|---:|---:|---:|");
        for (name, median, low, high) in table.rows() {
            println!("| {name} | {} | {} | {} |", text(median), text(low), text(high));
        }
        println!();
    }

    /// Says whether a ratio keeps its bound.
    pub(crate) fn gate(&mut self, claim: &str, value: f64, bound: Bound) {
        let (kept, sign, limit) = match bound {
            Bound::AtLeast(limit) => (value >= limit, "≥", limit),
            Bound::AtMost(limit) => (value <= limit, "≤", limit),
        };
        let verdict = if kept { "ok" } else { "MISSED" };
        println!("{verdict:6} {claim}: {value:.2} (gate {sign} {limit})");
        if !kept {
            self.missed.push(claim.to_owned());
        }
    }

    pub(crate) fn verdict(&self) -> ExitCode {
        if self.missed.is_empty() {
            return ExitCode::SUCCESS;
        }
        println!("\n{} gate(s) missed: {}", self.missed.len(), self.missed.join("; "));
        ExitCode::FAILURE
    }
}

/// What a ratio has to keep.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

fn text(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Ends pools that a section started.
async fn stop<const N: usize>(pools: [snakepit::Snakepit; N]) -> Result<()> {
    for snakepit in pools {
        snakepit.shutdown(std::time::Duration::from_secs(5)).await?;
    }
    Ok(())
}
