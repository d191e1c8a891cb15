//! From settings to running pools, and from those to others: the one place that joins the parts. What
//! each part is told is `options`'s, how pools end is `ending`'s.

mod ending;
mod options;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::join_all;
use snakepit_bridge::{LinkServer, Memory};
#[cfg(not(feature = "control"))]
use snakepit_config::ControlSocket;
#[cfg(feature = "control")]
use snakepit_config::HostConfig;
use snakepit_config::{Config, PoolConfig};
use snakepit_core::{
    BoxFuture, Clock, Error, ErrorKind, Nesting, Pool, PoolOptions, Profile, Tool, WorkerId,
};
use snakepit_lifecycle::process::{Output, adopt_orphans};
use snakepit_lifecycle::{Observer, Supervisor, SupervisorStatus};
use snakepit_shm::Arena;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::builder::Builder;
#[cfg(feature = "control")]
use crate::control::{ControlServer, ControlSocket};
use crate::host::{PoolEntry, Snakepit};
use crate::interpreter;
use crate::io::{Duty, IoThread, LastDuties, ended};
use crate::layers::Layers;
use crate::pools::{FailedPool, Pools, Slot};
use crate::report::PoolState;
use crate::tools::Registry;

pub(crate) use self::ending::{DRAIN_SHARE, drain, shutdown, stop_pool};
use self::options::{
    arena_options, memory, output_options, pool_options, profile, quota, supervisor_options,
};

/// Keeps the workers of one pool alive.
pub(crate) struct Supervised {
    /// Taken when the pool is shut down.
    supervisor: Mutex<Option<Supervisor>>,
    observer: Observer,
    /// What a reload changes.
    settled: Mutex<Settled>,
    /// What becomes of what its workers print, also of those that run.
    output: Output,
    duties: LastDuties,
    state: watch::Sender<PoolState>,
}

struct Settled {
    config: Arc<PoolConfig>,
    making: Making,
    /// What could be called when the pool became ready, for moments without a worker.
    tools: Vec<Tool>,
}

/// What makes a pool's workers, and the duty to see the last of them off.
#[derive(Clone)]
struct Making {
    profile: Arc<dyn Profile>,
    duty: Duty,
    memory: Option<Arc<Memory>>,
}

/// What a host has beside its pools.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostOptions {
    /// What is read on reload.
    pub(crate) file: Option<PathBuf>,
    #[cfg(feature = "control")]
    pub(crate) control: Control,
    /// How much shared memory all pools may have together, in bytes.
    pub(crate) shm_total: Option<u64>,
}

/// Where a host has its control socket.
#[cfg(feature = "control")]
#[derive(Clone, Debug, Default)]
pub(crate) enum Control {
    /// Where its settings say.
    #[default]
    Settings,
    Off,
    At(PathBuf),
}

/// Starts all pools at the same time; fails when none of them can start.
pub(crate) async fn start(
    settings: Builder,
    options: HostOptions,
    tools: Arc<Registry>,
) -> Result<Snakepit, Error> {
    let config = settings.clone().settings()?;
    for pool in config.pools() {
        check_files(pool)?;
    }
    let io = IoThread::start()?;
    let arena = Arena::new(arena_options(&options, config.host()));
    // Before the pools: a second host of the same name starts no worker.
    #[cfg(feature = "control")]
    let control = match control_path(options.control, config.host())? {
        Some(path) => Some(open_control(&io, path).await?),
        None => None,
    };
    #[cfg(not(feature = "control"))]
    if config.host().instance().is_some() || *config.host().control_socket() != ControlSocket::Auto
    {
        tracing::warn!("nobody will find this host: it is built without the feature `control`");
    }
    if config.host().adopt_orphans() {
        let failed =
            |error| Error::new(ErrorKind::System, format!("no orphans come here: {error}"));
        adopt_orphans().map_err(failed)?;
    }
    let host = config.host().clone();
    let onto = Onto {
        links: Arc::new(LinkServer::start(io.handle().clone())),
        runtime: io.handle().clone(),
        last_duties: io.last_duties().clone(),
        lone_call: Arc::clone(io.lone_call()),
        tools: Arc::clone(&tools),
        nesting: Nesting::default(),
        arena,
    };
    let slots = io.run(start_pools(config, onto.clone())).await?;
    if slots.iter().all(Result::is_err)
        && let Some(Err(first)) = slots.first()
    {
        return Err(first.error.clone());
    }
    let pools = Arc::new(Pools::default());
    pools.settle(slots.iter().map(|slot| name_of(slot).to_owned()));
    for slot in slots {
        if let Err(failed) = &slot {
            let (pool, error) = (failed.config.name(), &failed.error);
            tracing::error!(pool, %error, "the pool did not start; the others go on");
        }
        pools.claim(name_of(&slot))?.enter(slot)?;
    }
    Ok(Snakepit::new(
        io,
        pools,
        onto,
        settings,
        host,
        tools,
        #[cfg(feature = "control")]
        control,
    ))
}

#[cfg(feature = "control")]
fn control_path(control: Control, host: &HostConfig) -> Result<Option<PathBuf>, Error> {
    match control {
        Control::Off => Ok(None),
        Control::At(path) => Ok(Some(path)),
        Control::Settings => crate::control::socket_of(host, None),
    }
}

#[cfg(feature = "control")]
async fn open_control(io: &IoThread, path: PathBuf) -> Result<ControlServer, Error> {
    let opening = io.handle().spawn_blocking(move || ControlSocket::open(&path));
    let socket = opening.await.map_err(|_| ended())??;
    ControlServer::start(socket, io.handle())
}

/// In the order of the settings.
async fn start_pools(config: Config, onto: Onto) -> Vec<Slot> {
    join_all(config.pools().iter().map(|pool| start_slot(pool.clone(), &onto))).await
}

/// Starts a pool, or keeps why it did not.
async fn start_slot(config: PoolConfig, onto: &Onto) -> Slot {
    match start_pool(config.clone(), 0, onto).await {
        Ok(entry) => Ok(Arc::new(entry)),
        Err(error) => Err(Arc::new(FailedPool::new(config, error))),
    }
}

fn name_of(slot: &Slot) -> &str {
    match slot {
        Ok(entry) => entry.pool.name().as_str(),
        Err(failed) => failed.config.name(),
    }
}

/// What all pools of a host stand on.
#[derive(Clone)]
pub(crate) struct Onto {
    links: Arc<LinkServer>,
    runtime: Handle,
    last_duties: LastDuties,
    lone_call: Arc<Notify>,
    tools: Arc<Registry>,
    nesting: Nesting,
    arena: Arena,
}

/// Starts one pool; its first workers are of that incarnation.
pub(crate) async fn start_pool(
    config: PoolConfig,
    first_incarnation: u64,
    onto: &Onto,
) -> Result<PoolEntry, Error> {
    let Onto { runtime, last_duties, .. } = onto;
    let output = Output::new(output_options(&config));
    let Making { profile, duty, memory } = make(&config, &output, onto).await?;
    let pool = Pool::new(pool_options(&config, onto), Clock::system(), runtime);
    let mut options = supervisor_options(&config);
    options.first_incarnation = first_incarnation;
    let started = Supervisor::start(pool.clone(), Arc::clone(&profile), options, runtime).await;
    let supervisor = match started {
        Ok(supervisor) => supervisor,
        Err(error) => {
            // Nothing of it is left but perhaps its zygote.
            see_off(Making { profile, duty, memory }, last_duties.clone(), runtime);
            return Err(error);
        }
    };
    let tools = pool.workers().into_iter().next().map(|worker| worker.info.tools);
    let layers = Layers::new(&config, runtime);
    let supervised = Supervised {
        observer: supervisor.observer(),
        supervisor: Mutex::new(Some(supervisor)),
        settled: Mutex::new(Settled {
            config: Arc::new(config),
            making: Making { profile, duty, memory: memory.clone() },
            tools: tools.unwrap_or_default(),
        }),
        output,
        duties: last_duties.clone(),
        state: watch::Sender::new(PoolState::Running),
    };
    let (layers, memory) = (ArcSwap::from_pointee(layers), ArcSwapOption::new(memory));
    Ok(PoolEntry { pool, supervised, layers, memory })
}

/// Finds the interpreter, and makes what makes the workers.
async fn make(config: &PoolConfig, output: &Output, onto: &Onto) -> Result<Making, Error> {
    let named = config.clone();
    let resolving = onto.runtime.spawn_blocking(move || interpreter::resolve(&named));
    // A blocking task ends early only when its runtime does.
    let resolved = resolving.await.map_err(|_| ended())??;
    let memory = memory(config, onto);
    let profile = profile(config, resolved, output.clone(), memory.clone(), onto)?;
    // Workers whose last handle is dropped are killed at once and reaped here.
    let all_gone = Arc::clone(&profile);
    let duty = onto.last_duties.add(async move { all_gone.all_gone().await });
    Ok(Making { profile, duty, memory })
}

/// Has a running pool go by other settings; says whether its workers were replaced for that. Resolves
/// when none of the old kind is left.
///
/// # Errors
/// Why the first worker of the new kind did not start; then nothing has changed.
pub(crate) async fn change_pool(
    entry: &PoolEntry,
    config: PoolConfig,
    onto: &Onto,
) -> Result<bool, Error> {
    let PoolEntry { pool, supervised, .. } = entry;
    let before = supervised.config();
    let same_workers = before.makes_same_workers(&config);
    let wanted = pool_options(&config, onto);
    let options = supervisor_options(&config);
    if same_workers && before.timeouts().start == config.timeouts().start {
        let profile = supervised.settled().making.profile.clone();
        supervised.supervising(pool, |supervisor| {
            supervisor.adjust(profile, options);
            Ok(())
        })?;
        pool.reconfigure(wanted);
        supervised.output.set(output_options(&config));
        change_layers(entry, &before, &config, &onto.runtime);
        // The share is the same one, wherever it is held.
        drop(quota(&config, onto));
        supervised.settled().config = Arc::new(config);
        return Ok(false);
    }
    let making = make(&config, &supervised.output, onto).await?;
    let profile = Arc::clone(&making.profile);
    let begun = if same_workers {
        // Only those that come later are made another way.
        supervised.supervising(pool, |supervisor| {
            supervisor.adjust(profile, options);
            Ok(None)
        })
    } else {
        supervised.supervising(pool, |supervisor| Ok(Some(supervisor.renew(profile, options))))
    };
    let tried = match begun {
        Ok(Some(trial)) => trial.await,
        begun => begun.map(drop),
    };
    if let Err(error) = tried {
        see_off(making, onto.last_duties.clone(), &onto.runtime);
        return Err(error);
    }
    {
        let mut settled = supervised.settled();
        entry.memory.store(making.memory.clone());
        let old = std::mem::replace(&mut settled.making, making);
        see_off(old, onto.last_duties.clone(), &onto.runtime);
        supervised.output.set(output_options(&config));
        change_layers(entry, &before, &config, &onto.runtime);
        settled.config = Arc::new(config);
    }
    // While there are both kinds of workers, calls are such as both take.
    let max_payload_bytes = wanted.max_payload_bytes.min(pool.options().max_payload_bytes);
    pool.reconfigure(PoolOptions { max_payload_bytes, ..wanted.clone() });
    if !same_workers {
        supervised.supervising(pool, |supervisor| Ok(supervisor.rolled()))?.await;
    }
    pool.reconfigure(wanted);
    let tools = supervised.tools(pool);
    supervised.settled().tools = tools;
    Ok(!same_workers)
}

fn change_layers(entry: &PoolEntry, before: &PoolConfig, after: &PoolConfig, runtime: &Handle) {
    if before.resilience() != after.resilience() {
        let layers = entry.layers.load().replaced(after, runtime);
        entry.layers.store(Arc::new(layers));
    }
}

/// Waits in the background until nothing is left of what a profile has made, and lets go of it.
fn see_off(Making { profile, duty, .. }: Making, duties: LastDuties, runtime: &Handle) {
    drop(runtime.spawn(async move {
        profile.all_gone().await;
        duties.done(duty);
    }));
}

/// Finds out before anything starts that a file is not there, and says which one is.
pub(crate) fn check_files(config: &PoolConfig) -> Result<(), Error> {
    let Some(file) = config.adapter().file().filter(|file| !file.is_file()) else {
        return Ok(());
    };
    let message = format!("there is no adapter file {}", file.display());
    let help = nearest_file(file).map_or_else(
        || {
            "relative files are taken from the working directory, or from that of the settings"
                .to_owned()
        },
        |near| format!("did you mean `{near}`?"),
    );
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .with_help(help)
        .with_detail(format!("pool.{}.adapter", config.name()), "there is no such file"))
}

fn nearest_file(missing: &Path) -> Option<String> {
    let wanted = missing.file_name()?.to_str()?;
    let directory = missing.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries = std::fs::read_dir(directory.unwrap_or(Path::new("."))).ok()?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".py"))
        .map(|name| (strsim::damerau_levenshtein(wanted, &name), name))
        // Three slips, as in `modle.py` for `my_model.py`; beyond that it is another file.
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, name)| name)
}

impl Onto {
    /// The host's shared memory.
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }
}

impl Supervised {
    /// What can be called now, or could when there was a worker last.
    pub(crate) fn tools(&self, pool: &Pool) -> Vec<Tool> {
        let workers = pool.workers();
        workers
            .into_iter()
            .next()
            .map_or_else(|| self.settled().tools.clone(), |worker| worker.info.tools)
    }

    /// The settings it runs with.
    pub(crate) fn config(&self) -> Arc<PoolConfig> {
        Arc::clone(&self.settled().config)
    }

    fn settled(&self) -> MutexGuard<'_, Settled> {
        // Plain assignments only: what a panic has left is whole.
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More than the incarnation of any worker it had.
    pub(crate) fn incarnations(&self) -> u64 {
        self.observer.incarnations()
    }

    /// Where the pool is in its life.
    pub(crate) fn state(&self) -> PoolState {
        *self.state.borrow()
    }

    /// Resolves when the workers are gone for good.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as `self`.
        let _ = self.state.subscribe().wait_for(|state| *state == PoolState::Stopped).await;
    }

    /// How the workers are, or were when the pool was shut down.
    pub(crate) fn status(&self) -> SupervisorStatus {
        self.observer.status()
    }

    /// How many slots the pool has or may grow to by itself.
    pub(crate) fn most_slots(&self) -> usize {
        self.observer.most_workers() * self.config().profile().slots()
    }

    /// Has one worker replaced, or all of them; the future resolves when they are gone.
    pub(crate) fn recycle(
        &self,
        pool: &Pool,
        worker: Option<&WorkerId>,
    ) -> Result<BoxFuture<'static, ()>, Error> {
        self.supervising(pool, |supervisor| match worker {
            Some(worker) => Ok(Box::pin(supervisor.recycle(worker)?) as _),
            None => {
                // All of it: what is on disk now, too.
                self.settled().making.profile.renew();
                Ok(Box::pin(supervisor.recycle_all()) as _)
            }
        })
    }

    /// Changes the number of workers; the future resolves when there are so many.
    pub(crate) fn scale(
        &self,
        pool: &Pool,
        workers: usize,
    ) -> Result<BoxFuture<'static, Result<(), Error>>, Error> {
        self.supervising(pool, |supervisor| Ok(Box::pin(supervisor.scale(workers)?) as _))
    }

    fn supervising<T>(
        &self,
        pool: &Pool,
        ask: impl FnOnce(&Supervisor) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(supervisor) = supervisor.as_ref() else {
            let message = format!("pool `{}` is shutting down", pool.name());
            return Err(Error::new(ErrorKind::PoolClosed, message));
        };
        ask(supervisor)
    }
}
