//! What thread workers are made from. Plain data.

use std::path::PathBuf;

use snakepit_worker::WorkerOptions;

/// How the workers of one pool are launched, and how much each does at a time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ThreadOptions {
    /// What any worker is made from.
    pub worker: WorkerOptions,
    /// How many calls a worker runs at a time; 1 to [`MOST_THREADS`](crate::MOST_THREADS).
    pub threads: usize,
    /// What becomes of a worker whose GIL is on.
    pub gil: GilPolicy,
}

impl ThreadOptions {
    /// So many threads, the defaults of [`WorkerOptions::new`], and a warning when the GIL is on.
    pub fn new(python: impl Into<PathBuf>, adapter: impl Into<String>, threads: usize) -> Self {
        Self::from_worker(WorkerOptions::new(python, adapter), threads)
    }

    /// The same for what is known of any worker already.
    pub fn from_worker(worker: WorkerOptions, threads: usize) -> Self {
        Self { worker, threads, gil: GilPolicy::default() }
    }
}

/// What becomes of a worker whose GIL is on: from the beginning, as on ordinary interpreters, or
/// because it loaded an extension that needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GilPolicy {
    /// It does not start; one that serves already is replaced.
    Refuse,
    /// It runs one call at a time from then on: several would only wait for each other.
    Degrade,
    /// It serves on, and an event says that Python code does not run in parallel. Calls that wait
    /// outside of Python still do.
    #[default]
    Warn,
}

impl GilPolicy {
    /// Its name in settings and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Degrade => "degrade",
            Self::Warn => "warn",
        }
    }
}
