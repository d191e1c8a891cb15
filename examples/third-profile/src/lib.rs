//! A third profile: workers are groups of OS threads in the host itself, tools are Rust closures.
//!
//! It stands for whatever Snakepit does not know (subinterpreters, containers, other machines): a
//! pool and a supervisor take its workers as they take processes, and `tests/conformance.rs` shows
//! that they may. What it cannot do is what a process is for: a closure that never looks whether it
//! was cancelled cannot be ended, only left behind.

mod worker;

use std::collections::HashMap;
use std::sync::Arc;

use snakepit_core::{BoxFuture, Error, Payload, Profile, Seat, Worker};
use tokio::sync::watch;

pub use worker::Running;
use worker::ThreadWorker;

/// What a tool does with a call.
pub type Function = Box<dyn Fn(&Running) -> Result<Payload, Error> + Send + Sync>;

/// The tools of one worker.
#[derive(Default)]
pub struct Tools {
    pub(crate) functions: HashMap<String, (Function, bool)>,
    pub(crate) health: Option<Box<dyn Fn() -> Result<(), String> + Send + Sync>>,
}

impl Tools {
    /// Adds a tool that returns one value.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        function: impl Fn(&Running) -> Result<Payload, Error> + Send + Sync + 'static,
    ) -> Self {
        self.functions.insert(name.to_owned(), (Box::new(function), false));
        self
    }

    /// Adds a tool that sends items; what it returns is ignored.
    #[must_use]
    pub fn with_stream(
        mut self,
        name: &str,
        function: impl Fn(&Running) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        let function = move |running: &Running| {
            function(running)?;
            Payload::encode(snakepit_core::Codec::MsgPack, &())
        };
        self.functions.insert(name.to_owned(), (Box::new(function), true));
        self
    }

    /// Says how the worker is when it is asked.
    #[must_use]
    pub fn with_health(
        mut self,
        health: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.health = Some(Box::new(health));
        self
    }
}

/// Makes workers of so many threads each.
pub struct Closures {
    threads: usize,
    tools: Box<dyn Fn() -> Tools + Send + Sync>,
    /// Threads of all workers that have not ended.
    running: watch::Sender<usize>,
}

impl Closures {
    /// `tools` is called for each worker.
    pub fn new(threads: usize, tools: impl Fn() -> Tools + Send + Sync + 'static) -> Self {
        Self { threads, tools: Box::new(tools), running: watch::Sender::new(0) }
    }
}

impl Profile for Closures {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>> {
        let tools = (self.tools)();
        let (threads, running) = (self.threads, self.running.clone());
        // Threads start when the future runs: one that is dropped before leaves nothing.
        Box::pin(async move {
            let worker = ThreadWorker::start(&seat, threads, tools, running)?;
            Ok(Arc::new(worker) as Arc<dyn Worker>)
        })
    }

    fn all_gone(&self) -> BoxFuture<'static, ()> {
        let mut running = self.running.subscribe();
        Box::pin(async move {
            // Without a sender there is no profile, and no thread that it counts.
            let _ = running.wait_for(|threads| *threads == 0).await;
        })
    }
}

const NAME: &str = "closures";
