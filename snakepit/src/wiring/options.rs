//! Each part's options out of a pool's settings. Owns the translation and no decision: what is valid
//! was decided when the settings were.

use std::path::Path;
use std::sync::Arc;

use snakepit_bridge::Memory;
use snakepit_config::{self as config, HostConfig, LogLevel, PoolConfig, SharedMemoryMode, Start};
use snakepit_core::session::{Affinity, SessionOptions};
use snakepit_core::{Error, PoolOptions, Profile, Strategy};
use snakepit_lifecycle::process::{Output, OutputOptions};
use snakepit_lifecycle::{Elastic, Limits, SupervisorOptions};
use snakepit_profile_process::{ProcessOptions, ProcessProfile, StartMethod, WorkerOptions};
use snakepit_profile_thread::{GilPolicy, ThreadOptions, ThreadProfile};
use snakepit_shm::{ArenaOptions, Quota};
use tracing::Level;

use super::{HostOptions, Onto};
use crate::interpreter::Resolved;

pub(super) fn pool_options(config: &PoolConfig, onto: &Onto) -> PoolOptions {
    let timeouts = config.timeouts();
    PoolOptions {
        name: config.name().into(),
        queue_limit: config.queue(),
        prefetch: config.prefetch(),
        strategy: strategy(config.strategy()),
        call_timeout: timeouts.call,
        queue_timeout: timeouts.queue,
        stream_idle_timeout: timeouts.stream_idle,
        cancel_grace: config.cancel_grace(),
        // Validated to fit.
        stream_credit: config.stream_credit() as u32,
        max_payload_bytes: config.max_payload(),
        barrier: config.resilience().barrier.as_ref().map(|barrier| barrier.taint),
        affinity: affinity(config.session().affinity),
        sessions: session_options(config),
        lone_call: Some(Arc::clone(&onto.lone_call)),
        tool_host: Some(onto.tools.of_pool(config.name())),
        // Validated to fit.
        max_tool_depth: config.max_tool_depth() as u32,
        max_tool_calls: config.max_tool_calls(),
        nesting: onto.nesting.clone(),
    }
}

fn strategy(strategy: config::Strategy) -> Strategy {
    match strategy {
        config::Strategy::Fill => Strategy::Fill,
        _ => Strategy::Spread,
    }
}

/// What becomes of what workers print.
pub(super) fn output_options(config: &PoolConfig) -> OutputOptions {
    let logs = config.logs();
    let mut options = OutputOptions::default();
    (options.stdout, options.stderr) = (level(logs.stdout), level(logs.stderr));
    options.lines_per_second = logs.lines_per_second;
    // Validated to fit.
    options.line_bytes = logs.max_line as usize;
    options.tail_lines = logs.tail;
    options
}

fn level(level: LogLevel) -> Option<Level> {
    match level {
        LogLevel::Error => Some(Level::ERROR),
        LogLevel::Warn => Some(Level::WARN),
        LogLevel::Info => Some(Level::INFO),
        LogLevel::Debug => Some(Level::DEBUG),
        LogLevel::Trace => Some(Level::TRACE),
        _ => None,
    }
}

fn session_options(config: &PoolConfig) -> SessionOptions {
    let session = config.session();
    let mut options = SessionOptions::new();
    options.ttl = session.ttl;
    options.quota = session.quota;
    options.max_data_bytes = session.max_data;
    options
}

fn affinity(affinity: config::Affinity) -> Affinity {
    match affinity {
        config::Affinity::StrictQueue => Affinity::StrictQueue,
        config::Affinity::StrictFailFast => Affinity::StrictFailFast,
        _ => Affinity::Hint,
    }
}

/// Shared memory that all pools may have together unless it is said otherwise, and the share of the
/// machine's memory that it never exceeds by itself.
const SHM_TOTAL: u64 = 1 << 30;
const SHM_SHARE: u64 = 2;

/// How much shared memory there may be.
pub(super) fn arena_options(options: &HostOptions, host: &HostConfig) -> ArenaOptions {
    let total_bytes = options.shm_total.or(host.shm_total()).unwrap_or_else(|| {
        machine_bytes().map_or(SHM_TOTAL, |bytes| SHM_TOTAL.min(bytes / SHM_SHARE))
    });
    ArenaOptions { total_bytes, poison: false }
}

/// The machine's memory (proc(5): `MemTotal`, in kibibytes).
fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The pool's share of the host's shared memory, by these settings from now on.
pub(super) fn quota(config: &PoolConfig, onto: &Onto) -> Quota {
    onto.arena.quota(config.name(), config.shared_memory().quota)
}

/// What the pool does with shared memory.
pub(super) fn memory(config: &PoolConfig, onto: &Onto) -> Option<Arc<Memory>> {
    let config::SharedMemory { mode, threshold, .. } = config.shared_memory();
    let strict = mode == SharedMemoryMode::Strict;
    let threshold = usize::try_from(threshold).unwrap_or(usize::MAX);
    (mode != SharedMemoryMode::Off).then(|| {
        Arc::new(Memory::new(config.name().into(), quota(config, onto), threshold, strict))
    })
}

/// What makes the pool's workers.
pub(super) fn profile(
    config: &PoolConfig,
    resolved: Resolved,
    output: Output,
    memory: Option<Arc<Memory>>,
    onto: &Onto,
) -> Result<Arc<dyn Profile>, Error> {
    let (links, runtime) = (Arc::clone(&onto.links), onto.runtime.clone());
    let mut worker = worker_options(config, resolved);
    worker.output = output;
    worker.memory = memory;
    Ok(match config.profile() {
        config::Profile::Thread { threads, gil } => {
            let options = thread_options(worker, threads, gil);
            Arc::new(ThreadProfile::new(options, links, runtime)?)
        }
        _ => {
            Arc::new(ProcessProfile::new(process_options(worker, config.start()), links, runtime)?)
        }
    })
}

fn process_options(worker: WorkerOptions, start: Start) -> ProcessOptions {
    let mut options = ProcessOptions::from(worker);
    options.start = match start {
        Start::Spawn => StartMethod::Spawn,
        _ => StartMethod::Zygote,
    };
    options
}

fn thread_options(worker: WorkerOptions, threads: usize, gil: config::GilPolicy) -> ThreadOptions {
    let mut options = ThreadOptions::from_worker(worker, threads);
    options.gil = match gil {
        config::GilPolicy::Refuse => GilPolicy::Refuse,
        config::GilPolicy::Degrade => GilPolicy::Degrade,
        _ => GilPolicy::Warn,
    };
    options
}

fn worker_options(config: &PoolConfig, resolved: Resolved) -> WorkerOptions {
    let adapter = config.adapter().to_string();
    let mut options = WorkerOptions::new(resolved.interpreter.executable, adapter);
    options.worker_package = resolved.package;
    options.adapter_args = Some(config.adapter_args().clone()).filter(|args| !args.is_empty());
    options.env = config.env().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    options.cwd = config.cwd().map(Path::to_path_buf);
    options.heartbeat = config.heartbeat();
    options.max_payload_bytes = config.max_payload();
    options.start_timeout = config.timeouts().start;
    options
}

pub(super) fn supervisor_options(config: &PoolConfig) -> SupervisorOptions {
    let mut options = SupervisorOptions::new(config.workers());
    let (lifecycle, timeouts) = (config.lifecycle(), config.timeouts());
    let (min_workers, max_workers) = (config.min_workers(), config.max_workers());
    options.elastic = (min_workers < max_workers).then(|| Elastic {
        min_workers,
        max_workers,
        idle_timeout: config.idle_timeout(),
    });
    options.start_timeout = timeouts.start;
    options.drain = timeouts.drain;
    options.heartbeat = Some(config.heartbeat());
    options.health_interval = config.health_interval();
    options.limits = Limits {
        ttl: lifecycle.ttl,
        max_requests: lifecycle.max_requests,
        max_memory: lifecycle.max_memory,
        idle: lifecycle.idle,
    };
    options.memory_interval = lifecycle.memory_interval;
    options.jitter = lifecycle.jitter;
    options.max_surge = lifecycle.max_surge;
    options
}
