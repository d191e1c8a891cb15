//! Measures what `workloads.toml` plans: each workload of a table in turn, round by round.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use snakepit::backend::{self, Backend, PoolVersion};
use snakepit::{PoolConfig, Snakepit};
use snakepit_bench::load::{self, Failures};
use snakepit_bench::os::Costs;
use snakepit_bench::plan::{Measure, Plan, PlannedTable, Workload};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::{Arguments, Echo, Nap, SMALL, Setting, Small};

use super::Run;

/// The share of the closed loop's rate at which the open loop offers calls.
const OFFERED: f64 = 0.5;

/// The most calls that one sample has, and the fewest.
const MOST_CALLS: f64 = 200_000.0;
const FEWEST_CALLS: usize = 3;

pub(crate) async fn run(run: &mut Run, section: &str) -> Result<()> {
    snakepit_lifecycle::process::raise_descriptor_limit()?;
    for planned in Plan::read()?.table.iter().filter(|table| table.section == section) {
        table(run, planned).await?;
    }
    Ok(())
}

async fn table(run: &mut Run, planned: &PlannedTable) -> Result<()> {
    run.title(&planned.title);
    planned.notes.iter().for_each(|note| run.note(note));
    let quick = run.quick();
    let workloads = planned.expanded(quick)?;
    let name = workloads.first().map(|w| format!("call/{}", w.tool)).unwrap_or_default();
    let mut tables: BTreeMap<Measure, Table> = BTreeMap::new();
    for measure in &planned.measures {
        let (what, unit, better) = words(*measure);
        let mut table = Table::new(&name, unit, better).measure(what);
        table.axis.clone_from(&planned.axis);
        table.over = planned.reference()?;
        tables.insert(*measure, table);
    }
    let samples = planned.samples.unwrap_or(run.samples).min(run.samples);
    // Pools of hundreds of workers do not all run at once: along an axis each place has its turn.
    for group in groups(planned, &workloads)? {
        let mut driven = Vec::new();
        for workload in group {
            driven.push(Driven::start(&run.setting, workload, planned).await?);
        }
        for _ in 0..samples {
            for one in &mut driven {
                let at = planned.at(&one.workload)?;
                let contender = planned.contender(&one.workload);
                let sampled = one.sample(&planned.measures, planned.sample_ms, quick).await?;
                for (measure, value) in sampled {
                    let table = tables.get_mut(&measure).context("a table for each measure")?;
                    match at {
                        Some(at) => table.add_at(&contender, at, value),
                        None => table.add(&contender, value),
                    }
                }
            }
        }
        for one in driven {
            if let Some(told) = one.failures.told(&one.workload.to_string()) {
                run.failure(&told);
            }
            super::stop([one.snakepit]).await?;
        }
    }
    for measure in &planned.measures {
        run.table(&tables[measure]);
    }
    Ok(())
}

/// Workloads that run at the same time: those at one place of the axis, or all of them.
fn groups(planned: &PlannedTable, workloads: &[Workload]) -> Result<Vec<Vec<Workload>>> {
    let mut groups: Vec<(Option<f64>, Vec<Workload>)> = Vec::new();
    for workload in workloads {
        let at = planned.at(workload)?;
        match groups.iter_mut().find(|(other, _)| *other == at) {
            Some((_, group)) => group.push(workload.clone()),
            None => groups.push((at, vec![workload.clone()])),
        }
    }
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

/// A workload's pools, ready.
struct Driven {
    workload: Workload,
    snakepit: Snakepit,
    pools: Vec<Arc<str>>,
    work: Work,
    backend: Option<Arc<dyn Backend>>,
    window: usize,
    /// What a call took last time, of which follows how many make a sample.
    seconds_per_call: f64,
    /// Calls of the open loop that failed.
    failures: Failures,
}

impl Driven {
    async fn start(setting: &Setting, workload: Workload, planned: &PlannedTable) -> Result<Self> {
        let work = Work::of(&workload)?;
        let pools: Vec<Arc<str>> = match workload.number("pools", 1_usize)? {
            1 => vec![Arc::from("default")],
            pools => (0..pools).map(|n| Arc::from(format!("pool-{n}"))).collect(),
        };
        let window = workload.number("inflight", 1)?;
        let mut builder = Snakepit::builder();
        for name in &pools {
            builder = builder.pool(pool(setting, &workload, name, window)?);
        }
        let backend = workload.word("backend").map(str::parse::<PoolVersion>).transpose()?;
        let backend = backend.map(backend::open);
        let snakepit = builder.start().await?;
        let (seconds_per_call, failures) = (0.0, Failures::default());
        let mut driven =
            Self { workload, snakepit, pools, work, backend, window, seconds_per_call, failures };
        let begun = std::time::Instant::now();
        let calls = planned.warm_up.max(FEWEST_CALLS);
        driven.closed(calls).await?;
        driven.seconds_per_call = begun.elapsed().as_secs_f64() / calls as f64;
        Ok(driven)
    }

    async fn closed(&self, calls: usize) -> Result<load::Sample> {
        load::closed(calls, self.window, |number| self.one(number)).await
    }

    async fn one(&self, number: usize) -> Result<()> {
        let call = self.snakepit.call(self.work.command());
        let call = call.pool(Arc::clone(&self.pools[number % self.pools.len()]));
        let call = match &self.work {
            Work::Small => call.args(SMALL),
            Work::Nap(nap) => call.args(nap),
            Work::Burn(rounds) => call.args((rounds,)),
            Work::Multiply(size) => call.args((size,)),
            Work::Echo(echo) => call.args(echo),
        };
        let completed = match &self.backend {
            Some(backend) => backend.run(call).await?,
            None => call.complete().await?,
        };
        let payload = &completed.payload;
        match &self.work {
            Work::Small => drop(payload.decode::<<Small as Arguments>::Result>()?),
            Work::Nap(_) | Work::Multiply(_) => drop(payload.decode::<f64>()?),
            Work::Burn(_) => drop(payload.decode::<u64>()?),
            Work::Echo(_) => drop(payload.decode::<serde_bytes::ByteBuf>()?),
        }
        Ok(())
    }

    async fn sample(
        &mut self,
        measures: &[Measure],
        sample_ms: u64,
        quick: bool,
    ) -> Result<Vec<(Measure, f64)>> {
        let target = sample_ms as f64 / if quick { 4e3 } else { 1e3 };
        let calls = (target / self.seconds_per_call).min(MOST_CALLS) as usize;
        // Less than one round of the window would measure its filling.
        let calls = calls.max(2 * self.window).max(FEWEST_CALLS);
        let before = self.costs()?;
        let sample = self.closed(calls).await?;
        let after = self.costs()?;
        self.seconds_per_call = sample.wall.as_secs_f64() / calls as f64;
        let rate = sample.rate(calls);
        let open = if measures.iter().any(|measure| open(*measure)) {
            let offered = OFFERED * rate;
            let calls = (offered * target) as usize + 1;
            let mut sample = load::offered(calls, offered, |number| self.one(number)).await?;
            self.failures.add(std::mem::take(&mut sample.failures));
            Some(sample)
        } else {
            None
        };
        let value = |measure: &Measure| {
            let closed = |percent| sample.latencies.percentile_us(percent);
            let open = |percent| {
                let open = open.as_ref().context("the open loop has run")?;
                anyhow::Ok(open.latencies.percentile_us(percent))
            };
            let value = match measure {
                Measure::Rate => rate,
                Measure::Bandwidth => rate * self.work.bytes() as f64 / 1e6,
                Measure::P50 => closed(50.0),
                Measure::P90 => closed(90.0),
                Measure::P99 => closed(99.0),
                Measure::P999 => closed(99.9),
                Measure::CpuHost => (after.0 - before.0) / calls as f64,
                Measure::CpuWorkers => (after.1 - before.1) / calls as f64,
                Measure::OpenP50 => open(50.0)?,
                Measure::OpenP99 => open(99.0)?,
                Measure::OpenP999 => open(99.9)?,
            };
            Ok((*measure, value))
        };
        measures.iter().map(value).collect()
    }

    /// Microseconds of CPU so far: the host's, and those of its workers.
    fn costs(&self) -> Result<(f64, f64)> {
        let host = Costs::of(std::process::id())?.cpu_us;
        let workers = snakepit_bench::facade::worker_pids(&self.snakepit).into_iter();
        let of = |pid| Costs::of(pid).map(|costs| costs.cpu_us);
        Ok((host, workers.map(of).sum::<Result<f64>>()?))
    }
}

fn open(measure: Measure) -> bool {
    matches!(measure, Measure::OpenP50 | Measure::OpenP99 | Measure::OpenP999)
}

fn words(measure: Measure) -> (&'static str, &'static str, Better) {
    match measure {
        Measure::Rate => ("", "calls/s", Better::More),
        Measure::Bandwidth => ("", "MB/s", Better::More),
        Measure::P50 => ("p50", "µs", Better::Less),
        Measure::P90 => ("p90", "µs", Better::Less),
        Measure::P99 => ("p99", "µs", Better::Less),
        Measure::P999 => ("p99.9", "µs", Better::Less),
        Measure::CpuHost => ("CPU of the host", "µs per call", Better::Less),
        Measure::CpuWorkers => ("CPU of the workers", "µs per call", Better::Less),
        Measure::OpenP50 => ("p50, open loop", "µs", Better::Less),
        Measure::OpenP99 => ("p99, open loop", "µs", Better::Less),
        Measure::OpenP999 => ("p99.9, open loop", "µs", Better::Less),
    }
}

fn pool(setting: &Setting, workload: &Workload, name: &str, window: usize) -> Result<PoolConfig> {
    let adapter = match &*workload.tool {
        "burn" => setting.thread_adapter(),
        "multiply" => setting.numpy_adapter(),
        _ => setting.adapter(),
    };
    let mut pool = PoolConfig::builder(name)
        .adapter(adapter)
        .workers(workload.number("workers", 1)?)
        // All of the callers may wait at once.
        .queue(window.max(1024));
    if let Some(calls) = workload.word("prefetch") {
        pool = pool.prefetch(calls.parse()?);
    }
    pool = match workload.word("profile").unwrap_or("process") {
        "process" => pool.python(&setting.python),
        "thread" => {
            let threads = workload.number("threads", 1)?;
            pool.profile("thread").threads(threads).python(setting.free_threaded()?)
        }
        other => bail!("{other} is no profile that is measured"),
    };
    Ok(pool.build()?)
}

/// What each call does.
enum Work {
    Small,
    Nap(Nap),
    Burn(u64),
    Multiply(u64),
    Echo(Echo),
}

impl Work {
    fn of(workload: &Workload) -> Result<Self> {
        Ok(match &*workload.tool {
            "small" => Self::Small,
            "nap" => Self::Nap(Nap { ms: workload.number("ms", 1.0)? }),
            "burn" => Self::Burn(workload.number("rounds", 1)?),
            "multiply" => Self::Multiply(workload.number("size", 1)?),
            "echo" => {
                let data = vec![7; workload.number("bytes", 0)?];
                Self::Echo(Echo { data: serde_bytes::ByteBuf::from(data) })
            }
            other => bail!("there is no work named {other}"),
        })
    }

    fn command(&self) -> &'static str {
        match self {
            Self::Small => Small::COMMAND,
            Self::Nap(_) => Nap::COMMAND,
            Self::Burn(_) => "burn",
            Self::Multiply(_) => "multiply",
            Self::Echo(_) => Echo::COMMAND,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Echo(echo) => echo.data.len(),
            _ => 0,
        }
    }
}
