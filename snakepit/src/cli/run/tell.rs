//! What a host tells of its life: lines on standard output, for people or for programs, and the
//! service manager. Invariant: nobody who does not listen ends the host or keeps it up.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};
use snakepit::{Error, PoolReport, Reloaded, Snakepit};

use super::notify::notify;
use super::signals::Signal;
use crate::cli::diagnostic::Reporter;

/// Why a host ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    Signal(Signal),
    /// An operator has drained it.
    Drained,
}

pub(super) struct Teller {
    reporter: Reporter,
    instance: Option<String>,
    /// `None` where there is none.
    socket: Option<PathBuf>,
}

impl Teller {
    pub(super) fn new(
        reporter: Reporter,
        instance: Option<String>,
        socket: Option<PathBuf>,
    ) -> Self {
        Self { reporter, instance, socket }
    }

    /// The pools take calls, or have failed to start.
    pub(super) fn ready(&self, snakepit: &Snakepit) {
        let (mut running, mut failed) = (Vec::new(), Vec::new());
        for report in snakepit.stats().pools {
            match report {
                PoolReport::Failed { pool, error } => {
                    if !self.reporter.json {
                        self.reporter.error(&error);
                    }
                    failed.push((pool, error));
                }
                PoolReport::Running { stats, .. } => running.push((stats.pool, stats.workers)),
                _ => {}
            }
        }
        if self.reporter.json {
            let pools =
                running.iter().map(|(pool, workers)| json!({"pool": pool, "workers": workers}));
            let failures = failed.iter().map(|(pool, error)| json!({"pool": pool, "error": error}));
            self.event(
                "ready",
                json!({
                    "instance": self.instance,
                    "pid": std::process::id(),
                    "socket": self.socket,
                    "pools": pools.collect::<Vec<_>>(),
                    "failed": failures.collect::<Vec<_>>(),
                }),
            );
        } else {
            let pools = running.iter().map(|(pool, workers)| match workers {
                1 => format!("{pool} (1 worker)"),
                workers => format!("{pool} ({workers} workers)"),
            });
            let failures = failed.iter().map(|(pool, _)| format!("{pool} (failed)"));
            let pools: Vec<String> = pools.chain(failures).collect();
            let place = match (&self.instance, &self.socket) {
                (Some(name), _) => format!("instance {name}"),
                (None, Some(socket)) => format!("control socket {}", socket.display()),
                (None, None) => "no control socket".to_owned(),
            };
            line(&format!("ready: {}; {place}", pools.join(", ")));
        }
        notify("READY=1");
    }

    /// The settings were read again, or could not be.
    pub(super) fn reloaded(&self, reloaded: &Result<Reloaded, Error>) {
        match reloaded {
            Ok(reloaded) if self.reporter.json => self.event("reloaded", json!(reloaded)),
            Err(error) if self.reporter.json => {
                self.event("not_reloaded", json!({ "error": error }));
            }
            Ok(reloaded) => {
                let pools = reloaded.pools.iter();
                let pools = pools.map(|pool| format!("{} ({})", pool.pool, pool.outcome.name()));
                let mut told = pools.collect::<Vec<_>>();
                told.extend(reloaded.host.iter().map(|key| format!("{key} (changed)")));
                line(&format!("reloaded: {}", told.join(", ")));
                if !reloaded.restart.is_empty() {
                    line(&format!("waits for a restart: {}", reloaded.restart.join(", ")));
                }
            }
            Err(error) => {
                self.reporter.error(error);
                line("not reloaded: nothing has changed");
            }
        }
    }

    /// The host begins to end.
    pub(super) fn stopping(&self, reason: Reason) {
        notify("STOPPING=1");
        let reason = match reason {
            Reason::Signal(signal) => signal.name(),
            Reason::Drained => "drained",
        };
        if self.reporter.json {
            self.event("stopping", json!({ "reason": reason }));
        } else {
            line(&format!("stopping: {reason}"));
        }
    }

    /// The host has ended.
    pub(super) fn stopped(&self, ended: &Result<(), Error>) {
        if self.reporter.json {
            self.event("stopped", json!({ "in_order": ended.is_ok() }));
        } else if ended.is_ok() {
            line("stopped");
        }
    }

    fn event(&self, name: &str, what: Value) {
        line(&json!({ name: what }).to_string());
    }
}

fn line(text: &str) {
    let mut out = io::stdout();
    // Whoever started the host may have stopped reading long ago.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
