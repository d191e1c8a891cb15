//! Python's own pools, in one process that obeys orders, so that their samples interleave with
//! ours.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use crate::workload::Setting;

/// The contenders' names, as they are printed.
pub const PEERS: [&str; 2] = ["multiprocessing.Pool", "ProcessPoolExecutor"];

/// The process that runs the peers.
pub struct Peers {
    child: Child,
    /// Dropped to tell the process that there are no more.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// One sample of a peer.
#[derive(Debug, Deserialize)]
pub struct PeerSample {
    /// Wall time of the whole sample.
    pub seconds: f64,
    /// Each call's latency, for a window of one.
    pub latencies_us: Vec<f64>,
}

impl Peers {
    /// Starts them with the interpreter that our workers use.
    ///
    /// # Errors
    /// When the interpreter does not start.
    pub fn start(setting: &Setting) -> Result<Self> {
        let mut child = Command::new(&setting.python)
            .arg("peers.py")
            .arg(setting.workers.to_string())
            .current_dir(Setting::python_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", setting.python.display()))?;
        let orders = Some(child.stdin.take().context("no stdin")?);
        let answers = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, orders, answers })
    }

    /// Runs `calls` of a kind, `window` at a time.
    ///
    /// # Errors
    /// When the peers' process fails.
    pub fn sample(
        &mut self,
        peer: &str,
        kind: &str,
        size: usize,
        calls: usize,
        window: usize,
    ) -> Result<PeerSample> {
        let order =
            json!({"peer": peer, "kind": kind, "size": size, "calls": calls, "window": window});
        let orders = self.orders.as_mut().context("the peers were stopped")?;
        writeln!(orders, "{order}").context("the peers' process is gone")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("the peers' process gave no answer")
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // Killed, it would leave the processes of its pools behind, with our stderr open in them.
        self.orders = None;
        // Its samples have been read: how it ends is of no interest.
        let _ = self.child.wait();
    }
}
