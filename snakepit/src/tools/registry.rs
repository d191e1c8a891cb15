//! All tools of a host, and how they run.
//!
//! Owns names, the runtime tools run on, and what is counted of each. Invariant: no lock of its own is
//! held while a pool is called, and no tool runs on the thread that serves the links.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde::Serialize;
use snakepit_core::{
    Error, ErrorKind, Payload, PoolName, Tool, ToolCaller, ToolHost, ToolJob, ToolReply, as_seconds,
};
use tokio::runtime::Handle;
use tracing::Instrument;

use super::context::ToolContext;
use super::host_tool::HostTool;
use crate::host::{WeakHost, nearest};
use crate::io::IoThread;

/// All tools of a host.
pub(crate) struct Registry {
    tools: Mutex<BTreeMap<Key, Arc<Entry>>>,
    host: OnceLock<WeakHost>,
    /// Where tools run that do not say where.
    runtime: Option<Handle>,
    /// The same, where nobody else has one; made when it is first needed.
    own: OnceLock<Result<IoThread, Error>>,
}

/// Its name, and the one pool that has it; tools for all pools have none.
type Key = (String, Option<Arc<str>>);

struct Entry {
    tool: HostTool,
    name: Arc<str>,
    counts: Counts,
}

// Relaxed throughout: figures for people, through which nothing is published.
#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    given_up: AtomicU64,
    busy_us: AtomicU64,
}

/// What one tool has done so far.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HostToolReport {
    /// What Python is told of it.
    #[serde(flatten)]
    pub tool: Tool,
    /// The one pool whose calls can call it; `None` if all can.
    pub pool: Option<String>,
    /// Calls that have come to their end.
    pub calls: u64,
    /// Those that ended with an error, arguments that do not fit included.
    pub failed: u64,
    /// Those that panicked.
    pub panicked: u64,
    /// Those that nobody waited for any more.
    pub given_up: u64,
    /// Time spent in it.
    #[serde(rename = "busy_seconds", serialize_with = "as_seconds")]
    pub busy: Duration,
}

impl Registry {
    /// A registry of these tools, which run on `runtime` where they do not say otherwise.
    ///
    /// # Errors
    /// `ToolExists`, `InvalidConfig` for a tool without a name.
    pub(crate) fn new(tools: Vec<HostTool>, runtime: Option<Handle>) -> Result<Arc<Self>, Error> {
        let (host, own) = Default::default();
        let registry = Self { tools: Mutex::default(), host, runtime, own };
        tools.into_iter().try_for_each(|tool| registry.add(tool))?;
        Ok(Arc::new(registry))
    }

    /// Tells for whom the tools run.
    pub(crate) fn attach(&self, host: WeakHost) {
        // It is told once.
        let _ = self.host.set(host);
    }

    /// The tools of one pool, for its engine.
    pub(crate) fn of_pool(self: &Arc<Self>, pool: &str) -> Arc<dyn ToolHost> {
        Arc::new(PoolTools { registry: Arc::clone(self), pool: PoolName::new(pool) })
    }

    /// Adds a tool; the pools have yet to be told.
    pub(crate) fn add(&self, tool: HostTool) -> Result<(), Error> {
        let name = tool.name().to_owned();
        if name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "a tool has no name"));
        }
        let mut tools = self.lock();
        let same = |(other, pool): &Key| {
            *other == name && (pool.is_none() || tool.pool.is_none() || *pool == tool.pool)
        };
        if tools.keys().any(same) {
            let message = format!("there is a tool `{name}` already");
            return Err(Error::new(ErrorKind::ToolExists, message)
                .with_help("give it another name, or each of them a pool of its own")
                .with_detail("tool", name));
        }
        let entry = Entry { name: name.as_str().into(), counts: Counts::default(), tool };
        tools.insert((name, entry.tool.pool.clone()), Arc::new(entry));
        Ok(())
    }

    /// Takes a tool out again, whichever pools have it; false if there is none. The pools have yet to
    /// be told.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let mut tools = self.lock();
        let before = tools.len();
        tools.retain(|(other, _), _| other != name);
        tools.len() < before
    }

    /// What each tool has done.
    pub(crate) fn report(&self) -> Vec<HostToolReport> {
        let of = |entry: &Arc<Entry>| {
            let Counts { calls, failed, panicked, given_up, busy_us } = &entry.counts;
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            HostToolReport {
                tool: entry.tool.tool.clone(),
                pool: entry.tool.pool.as_deref().map(str::to_owned),
                calls: read(calls),
                failed: read(failed),
                panicked: read(panicked),
                given_up: read(given_up),
                busy: Duration::from_micros(read(busy_us)),
            }
        };
        self.lock().values().map(of).collect()
    }

    /// The tools that calls of a pool can call.
    fn visible(&self, pool: &PoolName) -> Vec<Arc<Entry>> {
        let is_visible =
            |entry: &&Arc<Entry>| entry.tool.pool.as_deref().is_none_or(|own| own == pool.as_str());
        self.lock().values().filter(is_visible).cloned().collect()
    }

    fn start(&self, pool: &PoolName, job: ToolJob) {
        let ToolJob { name, arguments, caller, reply } = job;
        match self.prepare(pool, &name, caller) {
            Ok((entry, context, runtime)) => {
                let span = tracing::debug_span!(
                    target: "snakepit::tool",
                    "tool",
                    tool = name,
                    pool = %pool,
                    call = %context.call_id(),
                );
                // The reply tells when the runtime has ended and drops the task.
                drop(runtime.spawn(serve(entry, context, arguments, reply).instrument(span)));
            }
            Err(error) => reply.finish(Err(error)),
        }
    }

    fn prepare(
        &self,
        pool: &PoolName,
        name: &str,
        caller: Arc<ToolCaller>,
    ) -> Result<(Arc<Entry>, ToolContext, Handle), Error> {
        let visible = self.visible(pool);
        let Some(entry) = visible.iter().find(|entry| &*entry.name == name) else {
            return Err(not_found(name, visible.iter().map(|entry| &*entry.name).collect()));
        };
        let snakepit = self.host.get().and_then(WeakHost::upgrade).ok_or_else(crate::io::ended)?;
        let runtime = match entry.tool.runtime.as_ref().or(self.runtime.as_ref()) {
            Some(runtime) => runtime.clone(),
            None => self.own_runtime()?,
        };
        let (name, fit) = (Arc::clone(&entry.name), Arc::clone(&entry.tool.fit));
        Ok((Arc::clone(entry), ToolContext::new(snakepit, caller, name, fit), runtime))
    }

    fn own_runtime(&self) -> Result<Handle, Error> {
        let own = self.own.get_or_init(|| IoThread::named("snakepit-tools"));
        own.as_ref().map(|thread| thread.handle().clone()).map_err(Clone::clone)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Entry>>> {
        // Nothing panics under this lock.
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs one tool call to its end, or until nobody waits for it.
async fn serve(entry: Arc<Entry>, context: ToolContext, arguments: Payload, mut reply: ToolReply) {
    let started = Instant::now();
    let told = context.clone();
    // Made inside, so that a closure that panics before its first await counts as well.
    let running = AssertUnwindSafe(async { (entry.tool.run)(context, arguments).await });
    let ended = tokio::select! {
        biased;
        () = reply.given_up() => None,
        result = running.catch_unwind() => Some(result),
    };
    let outcome = match &ended {
        None => Outcome::GivenUp,
        Some(Err(_)) => Outcome::Panicked,
        Some(Ok(Err(_))) => Outcome::Failed,
        Some(Ok(Ok(_))) => Outcome::Ended,
    };
    entry.counts.note(outcome, started.elapsed());
    let (tool, call) = (told.tool(), told.call_id());
    let (pool, worker, command) = (told.pool(), told.worker(), told.command());
    let (depth, duration_us) = (told.depth(), started.elapsed().as_micros() as u64);
    let result = match ended {
        Some(Ok(result)) => result,
        Some(Err(panic)) => {
            let said = said(&*panic);
            tracing::error!(
                target: "snakepit::tool", tool, %pool, %worker, %call, command, depth, duration_us,
                "the tool panicked: {said}"
            );
            let message = format!("the tool panicked: {said}");
            Err(Error::new(ErrorKind::ToolPanicked, message).with_detail("tool", tool))
        }
        None => Err(Error::new(ErrorKind::Cancelled, "nobody waits for the tool any more")),
    };
    tracing::debug!(
        target: "snakepit::tool", tool, %pool, %worker, %call, command, depth, duration_us,
        outcome = outcome.name(),
        error = result.as_ref().err().map(tracing::field::display),
        "a tool call has ended"
    );
    reply.finish(result);
}

#[derive(Clone, Copy)]
enum Outcome {
    Ended,
    Failed,
    Panicked,
    GivenUp,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ended => "ok",
            Self::Failed => "error",
            Self::Panicked => "panic",
            Self::GivenUp => "given_up",
        }
    }
}

impl Counts {
    fn note(&self, outcome: Outcome, took: Duration) {
        let add = |count: &AtomicU64, n: u64| count.fetch_add(n, Ordering::Relaxed);
        add(&self.calls, 1);
        add(&self.busy_us, took.as_micros() as u64);
        match outcome {
            Outcome::Ended => 0,
            Outcome::Failed => add(&self.failed, 1),
            Outcome::Panicked => add(&self.panicked, 1),
            Outcome::GivenUp => add(&self.given_up, 1),
        };
    }
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn not_found(name: &str, visible: Vec<&str>) -> Error {
    let message = format!("the host has no tool `{name}`");
    let help = match nearest(name, visible.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if visible.is_empty() => "register one where the pools are started".to_owned(),
        None => format!("its tools are {}", visible.join(", ")),
    };
    Error::new(ErrorKind::ToolNotFound, message).with_help(help).with_detail("tool", name)
}

/// The tools that one pool's calls can call.
struct PoolTools {
    registry: Arc<Registry>,
    pool: PoolName,
}

impl ToolHost for PoolTools {
    fn tools(&self) -> Vec<Tool> {
        self.registry.visible(&self.pool).iter().map(|entry| entry.tool.tool.clone()).collect()
    }

    fn run(&self, job: ToolJob) {
        self.registry.start(&self.pool, job);
    }
}

impl fmt::Debug for PoolTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolTools").field("pool", &self.pool).finish_non_exhaustive()
    }
}
