//! The sections of the load benchmark, one file each, and what they share: setting, samples,
//! gates.

mod arrays;
mod beside;
mod bookkeeping;
mod conversion;
mod costs;
mod counts;
mod engine;
mod large;
mod latency;
mod memory;
mod mixed;
mod planned;
mod recycling;
mod replace;
mod sessions;
mod start;
mod starts;
mod threads;
mod throughput;
mod tools;

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
pub(crate) use snakepit_bench::report::Bound;
use snakepit_bench::report::{self, Gate, Measured, Part, Table, markdown, wording};
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
    /// What a call costs in things that are counted, against the bounds of perf.toml.
    Counts,
    /// Many workers at once: time, memory, and what they cost when idle.
    Start,
    /// 10 to 250 slots by profile and start method, with their memory.
    Starts,
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
    /// Small calls, jobs that compute and calls that wait, by profile.
    Profiles,
    /// Many workers against one, and a serial owner against the concurrent pool.
    Workers,
    /// Percentiles of the latency by calls in flight, closed and open loop.
    Levels,
    /// Payloads from 100 bytes to 100 MB.
    Payloads,
    /// Cost against calls in flight, workers and pools, with its growth.
    Scaling,
    /// What others offer for the same work, side by side; with --peers.
    Peers,
}

impl Section {
    /// All that can be run, those with peers only where there are any.
    pub(crate) fn all(peers: bool) -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|section| peers || !matches!(section, Self::Peers)).collect()
    }

    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
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
            Self::Counts => counts::run(run).await,
            Self::Start => start::run(run).await,
            Self::Starts => starts::run(run).await,
            Self::Replace => replace::run(run).await,
            Self::Recycling => recycling::run(run).await,
            Self::Bookkeeping => bookkeeping::run(run).await,
            Self::Sessions => sessions::run(run).await,
            Self::Threads => threads::run(run).await,
            Self::Tools => tools::run(run).await,
            Self::Peers => beside::run(run).await,
            Self::Profiles | Self::Workers | Self::Levels | Self::Payloads | Self::Scaling => {
                planned::run(run, &self.name()).await
            }
        }
    }
}

/// One section under way: what it is run with, and what it has measured so far.
pub(crate) struct Run {
    pub(crate) setting: Setting,
    pub(crate) samples: usize,
    scale: f64,
    /// An interpreter with the peers' packages.
    pub(crate) peers: Option<PathBuf>,
    pub(crate) section: report::Section,
}

impl Run {
    pub(crate) fn new(setting: Setting, samples: usize, scale: f64) -> Self {
        Self { setting, samples, scale, peers: None, section: report::Section::default() }
    }

    /// A number of calls, fewer in a quick run.
    pub(crate) fn calls(&self, full: usize) -> usize {
        ((full as f64 * self.scale) as usize).max(1)
    }

    /// Whether fewer and shorter samples are wanted.
    pub(crate) fn quick(&self) -> bool {
        self.scale < 1.0
    }

    /// Begins a part of the section.
    pub(crate) fn title(&mut self, text: &str) {
        println!("\n## {text}\n");
        self.section.parts.push(Part { title: text.to_owned(), ..Part::default() });
    }

    /// Says what has to be known to read the figures.
    pub(crate) fn note(&mut self, text: &str) {
        println!("{text}\n");
        self.part().notes.push(text.to_owned());
    }

    /// Keeps a table whose samples are all there.
    pub(crate) fn table(&mut self, table: &Table) {
        let mut table = table.clone();
        table.conclude();
        let mut text = String::new();
        markdown::table(&mut text, &table);
        print!("{text}");
        self.part().tables.push(table);
    }

    /// Says whether a figure keeps its bound.
    pub(crate) fn gate(&mut self, claim: &str, measured: impl Into<Measured>, bound: Bound) {
        let measured = measured.into();
        if !measured.value.is_finite() {
            return self.failure(&format!(
                "{claim}: there is nothing to judge (gate {})",
                wording::bound(bound)
            ));
        }
        let gate = Gate::new(claim, measured, bound);
        let (value, bound) = (wording::number(gate.value), wording::bound(bound));
        println!("{:6} {claim}: {value} (gate {bound})", wording::verdict(&gate));
        self.part().gates.push(gate);
    }

    /// Keeps what went wrong without ending the section.
    pub(crate) fn failure(&mut self, text: &str) {
        println!("FAILED {text}");
        // Where this checkout lies is nobody's business who reads the report.
        let here = Setting::python_dir().trim_end_matches("/snakepit-bench/python");
        self.section.failures.push(text.replace(here, "."));
    }

    /// Whether all gates so far were kept.
    pub(crate) fn kept(&self) -> bool {
        self.section.parts.iter().flat_map(|part| &part.gates).all(|gate| gate.kept)
    }

    fn part(&mut self) -> &mut Part {
        if self.section.parts.is_empty() {
            self.section.parts.push(Part::default());
        }
        self.section.parts.last_mut().expect("there is one now")
    }
}

/// Ends pools that a section started.
async fn stop<const N: usize>(pools: [snakepit::Snakepit; N]) -> Result<()> {
    for snakepit in pools {
        snakepit.shutdown(std::time::Duration::from_secs(5)).await?;
    }
    Ok(())
}
