//! The truth about the GIL, and what follows from it.
//!
//! Owns what each policy does. Who looks, and when, is the worker's business: it reports what it has
//! seen when it says hello, and as soon as that changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use snakepit_bridge::{Gil, Link, Python};
use snakepit_core::{Error, ErrorKind, PoolName, WorkerId};

use crate::manner::ManyCalls;
use crate::options::GilPolicy;

/// Judges what a worker said about its interpreter. `told` is whether the pool has been told that
/// its interpreter cannot be without a GIL.
///
/// # Errors
/// `InterpreterUnsupported` or `AdapterFailed` when the policy refuses the worker.
pub(crate) fn judge(
    policy: GilPolicy,
    link: &Link,
    manner: &ManyCalls,
    told: &AtomicBool,
) -> Result<(), Error> {
    let python = &link.hello().python;
    if !python.gil_enabled {
        return Ok(());
    }
    if policy == GilPolicy::Refuse {
        return Err(refusal(python).with_detail("worker", link.worker_id().as_str()));
    }
    if policy == GilPolicy::Degrade {
        manner.one_at_a_time();
    }
    // All workers of a pool have the same interpreter: once is enough.
    if python.free_threaded_build || !told.swap(true, Ordering::Relaxed) {
        let how = describe(python.free_threaded_build, &python.gil_module);
        tell(policy, link.pool(), link.worker_id(), &how, &python.gil_module);
    }
    Ok(())
}

/// Follows a worker's GIL until its link ends.
pub(crate) fn follow(
    policy: GilPolicy,
    link: &Link,
    manner: Arc<ManyCalls>,
) -> impl Future<Output = ()> + Send + 'static {
    let (mut gil, closed) = (link.gil(), link.closed());
    let (pool, worker) = (link.pool().clone(), link.worker_id().clone());
    // What it said at first has been judged; it may have said more meanwhile.
    if gil.borrow_and_update().enabled != link.hello().python.gil_enabled {
        gil.mark_changed();
    }
    async move {
        let mut closed = std::pin::pin!(closed);
        loop {
            tokio::select! {
                biased;
                _ = &mut closed => return,
                changed = gil.changed() => if changed.is_err() {
                    return;
                },
            }
            let Gil { enabled, module, .. } = gil.borrow_and_update().clone();
            if enabled {
                let how = describe(true, &module);
                tell(policy, &pool, &worker, &how, &module);
                match policy {
                    GilPolicy::Refuse => manner.ask_for_replacement(format!(
                        "does not run Python code in parallel any more: {how}"
                    )),
                    GilPolicy::Degrade => manner.one_at_a_time(),
                    GilPolicy::Warn => {}
                }
            }
        }
    }
}

fn refusal(python: &Python) -> Error {
    let how = describe(python.free_threaded_build, &python.gil_module);
    if python.free_threaded_build {
        let help = "use a release of it that declares support for free threading, the process \
                    profile, or the pool's `gil = \"degrade\"` or `\"warn\"`";
        Error::new(ErrorKind::AdapterFailed, format!("the worker was refused: {how}"))
            .with_help(help)
            .with_detail("module", &python.gil_module)
    } else {
        let help = "name a free-threaded interpreter (3.14t or later) with the pool's `python`, or \
                    allow this one with `gil = \"warn\"`";
        let message = format!("CPython {} was refused: {how}", python.version);
        Error::new(ErrorKind::InterpreterUnsupported, message).with_help(help)
    }
}

/// Why the GIL is on.
fn describe(free_threaded_build: bool, module: &str) -> String {
    match (free_threaded_build, module) {
        (false, _) => "its interpreter cannot be without a GIL".to_owned(),
        (true, "") => "the GIL was turned on".to_owned(),
        (true, module) => format!("loading `{module}` turned the GIL on"),
    }
}

fn tell(policy: GilPolicy, pool: &PoolName, worker: &WorkerId, how: &str, module: &str) {
    let what = match policy {
        GilPolicy::Refuse => "the worker is replaced",
        GilPolicy::Degrade => "the worker runs one call at a time",
        GilPolicy::Warn => "Python code of several calls does not run in parallel",
    };
    tracing::warn!(
        name: "worker.gil_enabled",
        target: "snakepit::worker",
        worker_id = %worker,
        %pool,
        module,
        policy = policy.name(),
        "{how}: {what}"
    );
}
