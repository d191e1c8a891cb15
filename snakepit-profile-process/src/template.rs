//! A pool's zygote: made when the first worker is wanted, replaced when it is gone.
//!
//! Owns the decision whether workers are forked or spawned, and the zygote itself. Invariant: one
//! zygote is being made at a time; whoever wants a worker meanwhile waits for it and shares what
//! becomes of it, so that an adapter that cannot be imported is imported once and not once a seat.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use snakepit_core::{Error, Seat, WorkerId};
use snakepit_lifecycle::process::{ChildSpec, ExitReport, Fitness, Zygote};
use snakepit_worker::{
    CONTROL_FD, LINK_FD, LIVENESS_FD, WorkerOptions, ended_early, no_descriptors, not_ready,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::Parts;
use crate::environment;
use crate::options::StartMethod;

/// Where a zygote finds its channel. A worker has its link there: nothing of the channel is left
/// when the child has put that in its place.
const CHANNEL_FD: i32 = LINK_FD;

/// What a pool's workers are forked from, if they are.
#[derive(Default)]
pub(crate) struct Template {
    /// Held while a zygote is being made.
    slot: Mutex<Slot>,
    /// How often a new zygote was asked for.
    edition: AtomicU64,
}

#[derive(Default)]
struct Slot {
    state: State,
    edition: u64,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Ready(Arc<Zygote>),
    /// It could not load the adapter: for those who asked before it said so, and nobody else.
    Failed(Arc<Zygote>, Instant),
    /// It ended instead of loading the adapter; likewise.
    Crashed(ExitReport, Instant),
    /// Workers are spawned.
    Unfit,
}

impl Template {
    /// The zygote to fork the worker of a seat from, or `None` if it is to be spawned.
    ///
    /// # Cancel safety
    /// Dropping the future ends a zygote that was being made; the next who asks makes another.
    pub(crate) async fn zygote(
        &self,
        parts: &Parts,
        seat: &Seat,
        deadline: Instant,
    ) -> Result<Option<Arc<Zygote>>, Error> {
        if parts.start == StartMethod::Spawn {
            return Ok(None);
        }
        let (workshop, asked) = (&parts.workshop, Instant::now());
        let options = workshop.options();
        let worker = seat.worker_id();
        let late = || not_ready(&worker, options, &[]);
        let mut slot = timeout_at(deadline, self.slot.lock()).await.map_err(|_| late())?;
        let edition = self.edition.load(Ordering::Relaxed);
        if slot.edition != edition {
            *slot = Slot { state: State::Empty, edition };
        }
        match &slot.state {
            State::Unfit => return Ok(None),
            State::Ready(zygote) if !zygote.is_gone() => return Ok(Some(Arc::clone(zygote))),
            State::Failed(zygote, since) if asked <= *since && !zygote.is_gone() => {
                return Ok(Some(Arc::clone(zygote)));
            }
            State::Crashed(report, since) if asked <= *since => {
                return Err(ended_early(report, &worker));
            }
            _ => slot.state = State::Empty,
        }
        if let Some(reason) = environment::obstacle(&options.env) {
            slot.state = spawn_instead(seat, &reason);
            return Ok(None);
        }
        let spec = spec(options, seat)?;
        let mut starting =
            Zygote::start(workshop.spawner(), spec, CHANNEL_FD, workshop.reaper()).await?;
        let Ok(loaded) = timeout_at(deadline, starting.loaded()).await else {
            return Err(not_ready(&worker, options, &starting.stderr_tail()));
        };
        let (zygote, fitness) = loaded.map_err(|report| {
            let error = ended_early(&report, &worker);
            slot.state = State::Crashed(report, Instant::now());
            error
        })?;
        slot.state = match fitness {
            Fitness::Ready => State::Ready(Arc::clone(&zygote)),
            Fitness::Failed => State::Failed(Arc::clone(&zygote), Instant::now()),
            Fitness::Unfit(reason) => spawn_instead(seat, &reason),
            _ => spawn_instead(seat, "it says what this version does not know"),
        };
        Ok((!matches!(slot.state, State::Unfit)).then_some(zygote))
    }

    /// Has the next worker forked from a new zygote. The old one ends with the last of its workers.
    pub(crate) fn renew(&self) {
        // Relaxed: it is only compared, and whoever was faster has not seen the call yet.
        self.edition.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets go of the zygote: it ends when its last worker is gone.
    pub(crate) async fn close(&self) {
        self.slot.lock().await.state = State::Empty;
    }
}

fn spawn_instead(seat: &Seat, reason: &str) -> State {
    tracing::warn!(
        pool = %seat.pool,
        reason,
        "workers of this pool are spawned one by one: they cannot be forked from a zygote; \
         `start = \"spawn\"` says that this is meant"
    );
    State::Unfit
}

fn spec(options: &WorkerOptions, seat: &Seat) -> Result<ChildSpec, Error> {
    let name = WorkerId::from(format!("{}.zygote", seat.pool));
    let nothing = std::fs::File::open("/dev/null").map_err(no_descriptors)?;
    let nothing_either = nothing.try_clone().map_err(no_descriptors)?;
    let mut spec = ChildSpec::new(seat.pool.clone(), name, &options.python)
        .args(["-m", "snakepit.worker", "--zygote", "--adapter", &options.adapter])
        .output(options.output.clone())
        .args(["--channel-fd".to_owned(), CHANNEL_FD.to_string()])
        // Keeps what the adapter opens away from the numbers that workers need.
        .descriptor(nothing.into(), LIVENESS_FD)
        .descriptor(nothing_either.into(), CONTROL_FD);
    let package = options.worker_package.as_deref();
    for (name, value) in environment::of_zygote(&options.env, package)? {
        spec = match value {
            Some(value) => spec.env(name, value),
            None => spec.env_remove(name),
        };
    }
    Ok(match &options.cwd {
        Some(cwd) => spec.cwd(cwd),
        None => spec,
    })
}
