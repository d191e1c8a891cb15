//! What process workers are made from. Plain data.

use std::path::PathBuf;

use snakepit_worker::WorkerOptions;

/// How the process of a worker comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartMethod {
    /// It is forked from a process that has imported the adapter: some milliseconds, and what was
    /// imported is in memory once. Where an adapter does not allow it, workers are spawned and an
    /// event says why.
    Zygote,
    /// An interpreter of its own is started for it.
    Spawn,
}

impl StartMethod {
    /// Its name in settings and in what is known about a worker.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zygote => "zygote",
            Self::Spawn => "spawn",
        }
    }
}

impl Default for StartMethod {
    /// Forked, where processes can be watched through descriptors: on Linux.
    fn default() -> Self {
        if cfg!(target_os = "linux") { Self::Zygote } else { Self::Spawn }
    }
}

/// How the workers of one pool are launched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessOptions {
    /// What any worker is made from.
    pub worker: WorkerOptions,
    /// How their processes come to be.
    pub start: StartMethod,
}

impl ProcessOptions {
    /// The defaults of [`WorkerOptions::new`] and [`StartMethod`].
    pub fn new(python: impl Into<PathBuf>, adapter: impl Into<String>) -> Self {
        WorkerOptions::new(python, adapter).into()
    }
}

impl From<WorkerOptions> for ProcessOptions {
    fn from(worker: WorkerOptions) -> Self {
        Self { worker, start: StartMethod::default() }
    }
}
