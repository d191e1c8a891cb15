//! The end of pools: calls first, then workers, then whatever those have left behind. Owns the shares
//! that each has of a deadline. Calls that have had theirs are cut off, so that a worker is not given
//! the rest of a long deadline for a call that ignores its end.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use snakepit_core::{Error, ErrorKind, Phase};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Supervised;
use crate::host::PoolEntry;
use crate::report::PoolState;

/// The part of a shutdown's deadline that calls in flight may use up; the rest is for workers to
/// tear down and, if they do not, to be killed.
pub(crate) const DRAIN_SHARE: f64 = 0.75;

/// Ends closed pools at the same time, all within `deadline`; calls may take as long as the pool's
/// settings say, and three quarters of it at most.
pub(crate) async fn shutdown(
    entries: Vec<Arc<PoolEntry>>,
    deadline: Duration,
) -> Result<(), Error> {
    let share = deadline.mul_f64(DRAIN_SHARE);
    stop_all(&entries, deadline, |entry| entry.supervised.config().timeouts().drain.min(share))
        .await
}

/// As [`shutdown`], with calls taking all of their three quarters: whoever names a time for one pool
/// means that one.
pub(crate) async fn drain(entries: Vec<Arc<PoolEntry>>, deadline: Duration) -> Result<(), Error> {
    stop_all(&entries, deadline, |_| deadline.mul_f64(DRAIN_SHARE)).await
}

async fn stop_all(
    entries: &[Arc<PoolEntry>],
    deadline: Duration,
    drain: impl Fn(&PoolEntry) -> Duration,
) -> Result<(), Error> {
    let begun = Instant::now();
    // A pool without calls of its own may still be needed by tools of the others' calls.
    let drained =
        entries.iter().map(|entry| timeout_at(begun + drain(entry), entry.pool.drained()));
    let all_drained = join_all(drained).map(drop).shared();
    let ended =
        entries.iter().map(|entry| stop_one(entry, drain(entry), deadline, all_drained.clone()));
    join_all(ended).await.into_iter().collect()
}

/// Ends a sealed pool: calls in line are served, too, for as long as calls may take.
pub(crate) async fn stop_pool(entry: Arc<PoolEntry>, deadline: Duration) -> Result<(), Error> {
    stop_one(&entry, deadline.mul_f64(DRAIN_SHARE), deadline, std::future::ready(())).await
}

async fn stop_one(
    entry: &PoolEntry,
    drain: Duration,
    deadline: Duration,
    others: impl Future<Output = ()>,
) -> Result<(), Error> {
    /// Tells the end, also when the stopping is cut off.
    struct Stopped<'a>(&'a watch::Sender<PoolState>);
    impl Drop for Stopped<'_> {
        fn drop(&mut self) {
            self.0.send_replace(PoolState::Stopped);
        }
    }
    let end = Instant::now() + deadline;
    let Supervised { supervisor, duties, state, .. } = &entry.supervised;
    let Some(supervisor) = supervisor.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        // Somebody else is at it, with a deadline of his own.
        let stopped = timeout_at(end, entry.supervised.stopped()).await;
        return stopped.map_err(|_| still_running(entry, deadline));
    };
    state.send_replace(PoolState::Draining);
    let _stopped = Stopped(state);
    let drained = timeout_at(Instant::now() + drain, entry.pool.drained()).await;
    if drained.is_err() {
        entry.pool.interrupt();
    }
    others.await;
    // Whoever is still in line now is not served any more, and nobody waits for what still runs.
    entry.pool.interrupt_all();
    let stopped = supervisor.shutdown(end.saturating_duration_since(Instant::now())).await;
    // What tools of other pools' calls have sent here is among them.
    entry.pool.fail(over(entry));
    // Workers that had been replaced may still be on their way out.
    let making = entry.supervised.settled().making.clone();
    let gone = timeout_at(end, making.profile.all_gone()).await;
    if gone.is_ok() {
        duties.done(making.duty);
    }
    stopped?;
    if drained.is_err() {
        return Err(still_running(entry, drain));
    }
    gone.map_err(|_| still_ending(entry, deadline))
}

fn over(entry: &PoolEntry) -> Error {
    let message = format!("pool `{}` has ended", entry.pool.name());
    Error::new(ErrorKind::PoolClosed, message)
}

fn still_ending(entry: &PoolEntry, after: Duration) -> Error {
    let name = entry.pool.name();
    let message =
        format!("processes of pool `{name}` were not gone after {after:?}; they have been killed");
    Error::new(ErrorKind::Timeout(Phase::Drain), message).with_help("give the shutdown more time")
}

fn still_running(entry: &PoolEntry, after: Duration) -> Error {
    let name = entry.pool.name();
    let message = format!("calls of pool `{name}` were still running after {after:?}");
    Error::new(ErrorKind::Timeout(Phase::Drain), message)
        .with_help("give the shutdown more time, or the pool a longer `timeouts.drain`")
}
