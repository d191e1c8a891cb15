//! The signals that end a host, and the one that has it read its settings again.

use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

use crate::cli::Outcome;
use crate::cli::diagnostic::Failure;

/// Listens to them.
pub(super) struct Signals {
    interrupt: Listener,
    terminate: Listener,
    hangup: Listener,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Interrupt,
    Terminate,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|e| Failure::usage(format!("cannot listen for signals: {e}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Resolves when one comes that ends the host.
    pub(super) async fn next(&mut self) -> Signal {
        Self::ending(&mut self.interrupt, &mut self.terminate).await
    }

    /// Resolves when one comes; `None` is the one that has the settings read again.
    pub(super) async fn next_or_reload(&mut self) -> Option<Signal> {
        let Self { interrupt, terminate, hangup } = self;
        tokio::select! {
            biased;
            signal = Self::ending(interrupt, terminate) => Some(signal),
            Some(()) = hangup.recv() => None,
        }
    }

    async fn ending(interrupt: &mut Listener, terminate: &mut Listener) -> Signal {
        tokio::select! {
            Some(()) = interrupt.recv() => Signal::Interrupt,
            Some(()) = terminate.recv() => Signal::Terminate,
            // Only when the runtime ends, and this with it.
            else => std::future::pending().await,
        }
    }
}

impl Signal {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// How a command ended that it ended at once.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Interrupt => Outcome::Interrupted,
            Self::Terminate => Outcome::Terminated,
        }
    }
}
