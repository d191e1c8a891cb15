//! New settings for a running host: which pools start, change, stay and go, and what became of each.
//! How one pool changes is `wiring`'s, how workers are replaced the supervisor's.
//!
//! Invariants: settings that are not valid change nothing; what is in the settings as it was is not
//! touched; a pool whose new workers do not start goes on with the old ones.

use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;
use snakepit_config::{Config, HostConfig, PoolConfig};
use snakepit_core::{Error, ErrorKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::host::{PoolEntry, Snakepit};
use crate::io::ended;
use crate::named::config_of;
use crate::pools::{FailedPool, Pools, Slot};
use crate::report::PoolState;
use crate::wiring::{self, DRAIN_SHARE, Onto};

/// What a reload did, pool by pool in the order of their names.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Reloaded {
    /// The pools of the settings, and those that were in them before.
    pub pools: Vec<PoolChange>,
    /// The host's own keys whose values have changed, as `host.log`.
    pub host: Vec<String>,
    /// Keys of the host that are not what it was started with, and that only a restart takes up.
    pub restart: Vec<String>,
}

/// What became of one pool.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PoolChange {
    /// Name of the pool.
    pub pool: String,
    /// What became of it.
    pub outcome: ReloadOutcome,
    /// The keys whose values have changed, as `lifecycle.ttl`; of a failed change, were to change.
    pub keys: Vec<String>,
    /// Whether its workers were replaced; what has to do with how many and how long changes under
    /// workers that stay.
    pub new_workers: bool,
    /// What went wrong. A pool that could not change goes on as it was, and one that could not start
    /// fails its calls with this; of one that was stopped, calls were cut off.
    pub error: Option<Error>,
}

/// What can become of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReloadOutcome {
    /// Its settings are what they were, and it was not touched.
    Unchanged,
    /// It goes by its new settings.
    Changed,
    /// It was not there before, or had not started.
    Started,
    /// The settings want it no more.
    Stopped,
    /// It did not start, or goes on by its old settings.
    Failed,
}

impl ReloadOutcome {
    /// The outcome in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl Reloaded {
    /// Whether every pool is as the settings want it.
    pub fn is_complete(&self) -> bool {
        !self.pools.iter().any(|pool| pool.outcome == ReloadOutcome::Failed)
    }
}

impl Snakepit {
    /// Has the host go by other settings, which take the place of all documents it was started with;
    /// what builder calls set stays over them. Resolves when all is done:
    ///
    /// - Pools whose settings are the same are not touched.
    /// - Changed pools go by their new settings, and no call notices. Numbers of workers, limits of
    ///   their lives, queue and timeouts change under workers that stay. For anything else each
    ///   worker is replaced by one of the new kind, first one of them, and when that is ready the
    ///   others, as many at a time as `max_surge` allows. If it does not start, the old ones go on.
    /// - New pools start, and those that had not started try again.
    /// - Pools that are not in the settings any more are [stopped](Self::stop_pool), with their
    ///   `timeouts.drain` for calls. Pools that [`start_pool`](Self::start_pool) has started were
    ///   never in them, and stay.
    ///
    /// # Errors
    /// `InvalidConfig` with every problem, and nothing has changed; `PoolClosed` if the host ends.
    /// What went wrong with one pool is in the report.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    pub async fn reload(&self, config: Config) -> Result<Reloaded, Error> {
        self.begin_reload(Some(config)).await.map_err(|_| ended())?
    }

    /// Reads the settings file again that the host was started from ([`from_file`](Self::from_file),
    /// [`Builder::reload_from`](crate::Builder::reload_from)), with the environment over it, and goes
    /// by it as with [`reload`](Self::reload).
    ///
    /// # Errors
    /// As there; `InvalidConfig` if there is no such file.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn reload_file(&self) -> Result<Reloaded, Error> {
        self.begin_reload(None).await.map_err(|_| ended())?
    }

    /// Starts to reload; the task goes on whether or not somebody waits for it. One comes after the
    /// other.
    pub(crate) fn begin_reload(
        &self,
        config: Option<Config>,
    ) -> JoinHandle<Result<Reloaded, Error>> {
        let settings = self.0.settings.clone();
        let (pools, onto) = (Arc::clone(&self.0.pools), self.0.onto.clone());
        let (reloading, host) = (Arc::clone(&self.0.reloading), Arc::clone(&self.0.host));
        self.0.io.handle().spawn(async move {
            let _turn = reloading.lock().await;
            // Files are read where nobody waits for a call.
            let reading = tokio::task::spawn_blocking(move || {
                let config = match (config, settings.file()) {
                    (Some(config), _) => config,
                    (None, Some(file)) => Config::load(file)?,
                    (None, None) => return Err(no_file()),
                };
                Ok(settings.with_document(config).settings()?)
            });
            let config = reading.await.map_err(|_| ended())??;
            let now = config.host().clone();
            let mut reloaded = Reload { pools, onto }.to(config).await?;
            (reloaded.host, reloaded.restart) = host.follow(now);
            Ok(reloaded)
        })
    }
}

fn no_file() -> Error {
    Error::new(ErrorKind::InvalidConfig, "the host was not started from a settings file")
        .with_help("start it with `Snakepit::from_file`, or name one with `Builder::reload_from`")
}

/// What a host goes by beside its pools.
pub(crate) struct HostSettings {
    started: HostConfig,
    now: watch::Sender<HostConfig>,
}

impl HostSettings {
    pub(crate) fn new(started: HostConfig) -> Self {
        Self { now: watch::Sender::new(started.clone()), started }
    }

    pub(crate) fn get(&self) -> HostConfig {
        self.now.borrow().clone()
    }

    /// Resolves with what they are when they are others.
    pub(crate) async fn other_than(&self, known: &HostConfig) -> HostConfig {
        let mut now = self.now.subscribe();
        let other = now.wait_for(|now| now != known).await;
        // The sender lives as long as `self`.
        other.map(|other| other.clone()).unwrap_or_default()
    }

    /// Goes by others; gives the keys that have changed, and those that wait for a restart.
    fn follow(&self, config: HostConfig) -> (Vec<String>, Vec<String>) {
        let mut restart = self.started.differences(&config);
        restart.retain(|key| RESTART.contains(&key.as_str()));
        if !restart.is_empty() {
            let keys = restart.join(", ");
            tracing::warn!(keys, "the host's settings have changed, which waits for a restart");
        }
        let before = self.now.send_replace(config.clone());
        (before.differences(&config), restart)
    }
}

/// How a host is found and what comes to it is decided when it starts.
const RESTART: [&str; 4] =
    ["host.instance", "host.socket_dir", "host.control_socket", "host.adopt_orphans"];

struct Reload {
    pools: Arc<Pools>,
    onto: Onto,
}

impl Reload {
    async fn to(&self, config: Config) -> Result<Reloaded, Error> {
        self.check_files(&config)?;
        let names = config.pools().iter().map(|pool| pool.name().to_owned());
        let gone = self.pools.settle(names).into_iter().filter_map(|name| self.pools.get(&name));
        let (kept, stopped) = futures_util::future::join(
            join_all(config.pools().iter().map(|pool| self.bring_up(pool))),
            join_all(gone.map(|slot| self.stop(slot))),
        )
        .await;
        let mut pools: Vec<PoolChange> = kept.into_iter().chain(stopped).collect();
        pools.sort_by(|one, other| one.pool.cmp(&other.pool));
        pools.iter().for_each(tell);
        Ok(Reloaded { pools, host: Vec::new(), restart: Vec::new() })
    }

    /// Finds out before anything changes that a file is not there; all of them at once.
    fn check_files(&self, config: &Config) -> Result<(), Error> {
        let untouched = |pool: &&PoolConfig| match self.pools.get(pool.name()) {
            Some(Ok(entry)) => *entry.supervised.config() == **pool,
            _ => false,
        };
        let touched = config.pools().iter().filter(|pool| !untouched(pool));
        let mut errors = touched.filter_map(|pool| wiring::check_files(pool).err());
        let Some(first) = errors.next() else { return Ok(()) };
        let others: Vec<Error> = errors.collect();
        if others.is_empty() {
            return Err(first);
        }
        let all = || std::iter::once(&first).chain(&others);
        let lines: Vec<String> = all().map(ToString::to_string).collect();
        let message = format!("{} problems in the settings:\n{}", lines.len(), lines.join("\n"));
        let error = Error::new(ErrorKind::InvalidConfig, message);
        let details = all().flat_map(|error| error.details());
        Err(details.fold(error, |error, (name, value)| error.with_detail(name, value)))
    }

    /// Makes a pool what the settings want it to be.
    async fn bring_up(&self, config: &PoolConfig) -> PoolChange {
        let slot = self.pools.get(config.name());
        let before = slot.as_ref().map(config_of);
        let keys = before.as_ref().map(|b| b.differences(config)).unwrap_or_default();
        let mut change = PoolChange {
            pool: config.name().to_owned(),
            outcome: ReloadOutcome::Unchanged,
            keys,
            new_workers: false,
            error: None,
        };
        let done = match slot {
            // What an operator has drained stays so until its settings change.
            Some(Ok(_)) if before.as_ref() == Some(config) => return change,
            Some(Ok(entry)) if entry.supervised.state() != PoolState::Stopped => {
                let changed = wiring::change_pool(&entry, config.clone(), &self.onto).await;
                changed.map(|new_workers| (ReloadOutcome::Changed, new_workers))
            }
            _ => self.start(config).await.map(|()| (ReloadOutcome::Started, true)),
        };
        match done {
            Ok((outcome, new_workers)) => {
                (change.outcome, change.new_workers) = (outcome, new_workers);
            }
            Err(error) => (change.outcome, change.error) = (ReloadOutcome::Failed, Some(error)),
        }
        change
    }

    /// Starts a pool; one that does not start is there as one that has failed.
    async fn start(&self, config: &PoolConfig) -> Result<(), Error> {
        let claim = self.pools.claim(config.name())?;
        let incarnation = claim.first_incarnation();
        match wiring::start_pool(config.clone(), incarnation, &self.onto).await {
            Ok(entry) => claim.enter(Ok(Arc::new(entry))),
            Err(error) => {
                let failed = FailedPool::new(config.clone(), error.clone());
                claim.enter(Err(Arc::new(failed)))?;
                Err(error)
            }
        }
    }

    async fn stop(&self, slot: Slot) -> PoolChange {
        let config = config_of(&slot);
        let error = match &slot {
            Ok(entry) => stop_entry(entry).await.err(),
            Err(_) => None,
        };
        self.pools.forget(&slot);
        PoolChange {
            pool: config.name().to_owned(),
            outcome: ReloadOutcome::Stopped,
            keys: Vec::new(),
            new_workers: false,
            error,
        }
    }
}

async fn stop_entry(entry: &Arc<PoolEntry>) -> Result<(), Error> {
    entry.pool.seal();
    // Calls may take their share, and that is to be what the settings say.
    let deadline = entry.supervised.config().timeouts().drain.div_f64(DRAIN_SHARE);
    wiring::stop_pool(Arc::clone(entry), deadline).await
}

fn tell(PoolChange { pool, outcome, keys, new_workers, error }: &PoolChange) {
    let (outcome, keys) = (outcome.name(), keys.join(", "));
    match error {
        Some(error) => tracing::warn!(pool, outcome, keys, %error, "settings were reloaded"),
        None => tracing::info!(pool, outcome, keys, new_workers, "settings were reloaded"),
    }
}
