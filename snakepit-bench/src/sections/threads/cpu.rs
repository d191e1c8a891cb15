//! Pure Python that computes, on one thread and on as many as there are cores.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use snakepit_bench::load;
use snakepit_bench::report::wording::{ALL_CORES, ONE_THREAD};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::Setting;

use super::{Bound, Burn, Run};

/// Some 10 ms.
const BURN: Burn = Burn { rounds: 150_000 };

/// What all cores must gain over one thread.
const GAIN: f64 = 1.8;

/// Cores that share their units give even processes that share nothing far less than their number.
/// Where that is so, this is the share of the processes' gain that threads must reach.
const SHARE: f64 = 0.95;

pub(super) async fn run(run: &mut Run) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    run.title(&format!("Threads: pure Python that computes, {cores} threads and one"));
    let (calls, setting) = (run.calls(150), run.setting.clone());
    let many = super::start(super::pool(&setting, setting.thread_adapter(), cores)?).await?;
    let one = super::start(super::pool(&setting, setting.thread_adapter(), 1)?).await?;
    let mut executor = Executor::start(&setting)?;
    let mut processes: Vec<_> =
        (0..cores).map(|_| Executor::start(&setting)).collect::<Result<_>>()?;
    let names = [
        ALL_CORES,
        ONE_THREAD,
        "ThreadPoolExecutor, all cores",
        "ThreadPoolExecutor, one thread",
        "processes of one thread, all cores",
    ];
    let mut table = Table::new("call/burn", "calls/s", Better::More).over(ONE_THREAD);
    for round in 0..=run.samples {
        let rates = [
            load::windowed(&many, &BURN, calls, 2 * cores).await?.rate(calls),
            load::windowed(&one, &BURN, calls / 2, 2).await?.rate(calls / 2),
            executor.rate(cores, calls)?,
            executor.rate(1, calls / 2)?,
            together(&mut processes, calls / cores)?,
        ];
        // The first round warms everything up and does not count.
        if round > 0 {
            names.iter().zip(rates).for_each(|(name, rate)| table.add(name, rate));
        }
    }
    run.table(&table);
    let [.., executor_name, executor_one, processes_name] = names;
    // What the machine has to give at this moment.
    let executors = table.ratio(executor_name, executor_one).value;
    let most = table.ratio(processes_name, executor_one).value;
    run.note(&format!(
        "Over one thread the executor gains {executors:.2}, and processes that share nothing {most:.2}: \
         more than those no threads can gain here."
    ));
    let least = GAIN.min(SHARE * most);
    run.gate(
        "all cores over one thread",
        table.ratio(ALL_CORES, ONE_THREAD),
        Bound::AtLeast(least),
    );
    let ratio = table.ratio(ALL_CORES, executor_name);
    run.gate("over a plain ThreadPoolExecutor", ratio, Bound::AtLeast(0.95));
    super::super::stop([many, one]).await
}

/// The rate of so many calls on one thread in each of the processes, at the same time.
fn together(processes: &mut [Executor], calls: usize) -> Result<f64> {
    processes.iter_mut().try_for_each(|process| process.order(1, calls))?;
    let seconds: Result<Vec<f64>> = processes.iter_mut().map(Executor::seconds).collect();
    let longest = seconds?.into_iter().fold(0.0, f64::max);
    Ok((processes.len() * calls) as f64 / longest)
}

/// Python's own pool of threads, in a process that obeys orders.
struct Executor {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Executor {
    fn start(setting: &Setting) -> Result<Self> {
        let mut child = Command::new(setting.free_threaded()?)
            .arg("thread_peer.py")
            .current_dir(Setting::python_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = Some(child.stdin.take().context("no stdin")?);
        let answers = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, orders, answers })
    }

    fn rate(&mut self, threads: usize, calls: usize) -> Result<f64> {
        self.order(threads, calls)?;
        Ok(calls as f64 / self.seconds()?)
    }

    fn order(&mut self, threads: usize, calls: usize) -> Result<()> {
        let order = json!({"threads": threads, "calls": calls, "rounds": BURN.rounds});
        let orders = self.orders.as_mut().context("the executor was stopped")?;
        writeln!(orders, "{order}").context("the executor's process is gone")
    }

    /// How long what was ordered has taken.
    fn seconds(&mut self) -> Result<f64> {
        #[derive(Deserialize)]
        struct Answer {
            seconds: f64,
        }
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Answer = serde_json::from_str(&line).context("the executor gave no answer")?;
        Ok(answer.seconds)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.orders = None;
        // Its samples have been read: how it ends is of no interest.
        let _ = self.child.wait();
    }
}
