//! What others offer for the same work: each peer in a process of its own that obeys orders
//! (`peers.py`), so that its samples interleave with ours.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::workload::Setting;

/// Python's own pools of processes, which every interpreter has.
pub const PEERS: [&str; 2] = ["multiprocessing.Pool", "ProcessPoolExecutor"];

/// The one that runs on the interpreter without a GIL.
pub const THREADS: &str = "ThreadPoolExecutor, 3.14t";

/// All that `peers.py` drives.
pub const ALL: [&str; 6] = [
    "multiprocessing.Pool",
    "ProcessPoolExecutor",
    "ProcessPoolExecutor, forkserver",
    THREADS,
    "loky",
    "Ray actors",
];

/// One peer's process.
pub struct Peer {
    child: Child,
    /// Dropped to tell the process that there are no more.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// What it is, with its version.
    pub version: String,
}

/// One sample of a peer.
#[derive(Debug, Deserialize)]
pub struct PeerSample {
    /// Wall time of the whole sample.
    pub seconds: f64,
    /// Each call's latency, for a window of one.
    #[serde(default)]
    pub latencies_us: Vec<f64>,
    /// Calls that failed.
    #[serde(default)]
    pub failed: u64,
}

/// What became of a pool one of whose workers was killed.
#[derive(Debug, Deserialize)]
pub struct Killed {
    /// Calls that failed or were never answered.
    pub lost: u64,
    /// Seconds until a call ended well again; none if none did.
    pub recovered: Option<f64>,
    /// Seconds until as many processes answered as before; none if that did not come.
    pub whole: Option<f64>,
}

impl Peer {
    /// Starts a peer.
    ///
    /// # Errors
    /// When it cannot be had, with the reason it gives.
    pub fn start(name: &str, python: &Path, workers: usize) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Greeting {
            Version(String),
            Missing(String),
        }
        let mut child = Command::new(python)
            .args(["peers.py", name, &workers.to_string()])
            .current_dir(Setting::python_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", python.display()))?;
        let orders = Some(child.stdin.take().context("no stdin")?);
        let answers = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut peer = Self { child, orders, answers, version: String::new() };
        match peer.answer()? {
            Greeting::Version(version) => peer.version = version,
            Greeting::Missing(why) => bail!("{name} cannot be had: {why}"),
        }
        Ok(peer)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs `calls` of a kind, `window` at a time.
    ///
    /// # Errors
    /// When the peer fails.
    pub fn sample(
        &mut self,
        kind: &str,
        size: usize,
        calls: usize,
        window: usize,
    ) -> Result<PeerSample> {
        let order = json!({"do": "sample", "kind": kind, "size": size, "calls": calls,
            "window": window});
        self.order(&order)?.context("samples are always supported")
    }

    /// Starts a pool of so many workers with numpy, beside its other one; seconds until all answered.
    ///
    /// # Errors
    /// When the peer fails.
    pub fn start_workers(&mut self, workers: usize) -> Result<f64> {
        let sample: Option<PeerSample> = self.order(&json!({"do": "start", "workers": workers}))?;
        Ok(sample.context("starting is always supported")?.seconds)
    }

    /// Runs calls through workers that are replaced after so many; none where there is no such thing.
    ///
    /// # Errors
    /// When the peer fails.
    pub fn recycle(
        &mut self,
        calls: usize,
        window: usize,
        limit: u64,
    ) -> Result<Option<PeerSample>> {
        self.order(&json!({"do": "recycle", "calls": calls, "window": window, "limit": limit}))
    }

    /// Kills a worker under so many calls; none where there is no process to kill.
    ///
    /// # Errors
    /// When the peer fails.
    pub fn kill(&mut self, calls: usize) -> Result<Option<Killed>> {
        self.order(&json!({"do": "kill", "calls": calls}))
    }

    fn order<T: for<'de> Deserialize<'de>>(&mut self, order: &Value) -> Result<Option<T>> {
        let orders = self.orders.as_mut().context("the peer was stopped")?;
        writeln!(orders, "{order}").context("the peer's process is gone")?;
        let answer: Value = self.answer()?;
        if answer.get("unsupported").is_some() {
            return Ok(None);
        }
        if let Some(why) = answer.get("error") {
            bail!("{} failed: {why}", order["do"]);
        }
        Ok(Some(serde_json::from_value(answer)?))
    }

    fn answer<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("the peer's process gave no answer")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Killed, it would leave the processes of its pools behind, with our stderr open in them.
        self.orders = None;
        // Its samples have been read: how it ends is of no interest.
        let _ = self.child.wait();
    }
}

/// Python's own pools of processes, on the interpreter that our workers use.
pub struct Peers(BTreeMap<&'static str, Peer>);

impl Peers {
    /// Starts them.
    ///
    /// # Errors
    /// When the interpreter does not start.
    pub fn start(setting: &Setting) -> Result<Self> {
        let one = |name| Ok((name, Peer::start(name, &setting.python, setting.workers)?));
        PEERS.into_iter().map(one).collect::<Result<_>>().map(Self)
    }

    /// As [`Peer::sample`] of one of them.
    ///
    /// # Errors
    /// As there.
    pub fn sample(
        &mut self,
        peer: &str,
        kind: &str,
        size: usize,
        calls: usize,
        window: usize,
    ) -> Result<PeerSample> {
        let peer = self.0.get_mut(peer).context("it is none of Python's own")?;
        peer.sample(kind, size, calls, window)
    }
}
