//! Pools that come and go while the host runs, what is known of each by its name, and a handle of one.
//! Which name is whose is decided in `pools`; how a pool starts and ends is `wiring`'s.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use snakepit_config::{HostConfig, PoolBuilder, PoolConfig, Profile};
use snakepit_core::{Error, Tool};

use crate::call::{Call, Target};
use crate::host::{PoolEntry, Snakepit};
use crate::io::ended;
use crate::pools::Slot;
use crate::report::PoolReport;
use crate::stream::ResultStream;
use crate::wiring;

/// One pool. Clones are handles to the same pool, and keep the host of it up.
///
/// It stays this pool's: when that has been stopped, its calls end with `PoolClosed`, although
/// another may have the name by then.
#[derive(Clone)]
pub struct PoolHandle {
    snakepit: Snakepit,
    entry: Arc<PoolEntry>,
}

impl Snakepit {
    /// Starts one more pool; resolves when it takes calls. `config` is a
    /// [`PoolBuilder`] or a [`PoolConfig`]; its own name does not count. Calls reach the pool by
    /// name ([`Call::pool`]) or through the handle.
    ///
    /// # Errors
    /// `PoolExists` if a pool of that name runs, starts, or is still ending; `InvalidConfig` with
    /// every problem of the settings; why no worker of it started, and then no pool has the name;
    /// `PoolClosed` if the host ends.
    ///
    /// # Cancel safety
    /// Dropping the future ends the workers that have started, and no pool has the name.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(snakepit: snakepit::Snakepit) -> snakepit::Result<()> {
    /// use std::time::Duration;
    /// use serde_json::json;
    /// use snakepit::PoolConfig;
    ///
    /// let settings = PoolConfig::builder("").adapter("model.py:Embedder").workers(2);
    /// let embedder = snakepit.start_pool("embedder", settings).await?;
    /// let vector: Vec<f32> = embedder.execute("embed", json!({"text": "snakes"})).await?;
    /// snakepit.stop_pool("embedder", Duration::from_secs(30)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_pool(
        &self,
        name: impl Into<String>,
        config: impl Into<PoolBuilder>,
    ) -> Result<PoolHandle, Error> {
        let config = config.into().name(name).build()?;
        let claim = self.0.pools.claim(config.name())?;
        wiring::check_files(&config)?;
        let onto = self.0.onto.clone();
        let starting = async move {
            let started = wiring::start_pool(config, claim.first_incarnation(), &onto).await;
            let entry = Arc::new(started?);
            claim.enter(Ok(Arc::clone(&entry)))?;
            Ok::<_, Error>(entry)
        };
        let entry = self.0.io.run(starting).await??;
        Ok(PoolHandle { snakepit: self.clone(), entry })
    }

    /// Ends one pool and leaves the others alone: it takes no more calls, serves those it has, in
    /// line too, ends its workers, and gives up its name. All of it within `deadline`, of which calls
    /// may use three quarters; those still in line then end with `PoolClosed`. A pool that had
    /// not started, or has been drained, only gives up its name.
    ///
    /// # Errors
    /// `Timeout(Drain)` when calls were still running after their share and were cut off;
    /// `PoolNotFound`. The pool is gone in either case.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    pub async fn stop_pool(&self, name: &str, deadline: Duration) -> Result<(), Error> {
        let slot = self.0.pools.get(name).ok_or_else(|| self.no_pool(name))?;
        self.stop_slot(slot, deadline).await
    }

    pub(crate) async fn stop_slot(&self, slot: Slot, deadline: Duration) -> Result<(), Error> {
        let Ok(entry) = slot else {
            self.0.pools.forget(&slot);
            return Ok(());
        };
        entry.pool.seal();
        // Not the host itself: nobody who has only begun to end a pool keeps the others up.
        let pools = Arc::downgrade(&self.0.pools);
        let stopping = self.0.io.handle().spawn(async move {
            let stopped = wiring::stop_pool(Arc::clone(&entry), deadline).await;
            if let Some(pools) = pools.upgrade() {
                pools.forget(&Ok(entry));
            }
            stopped
        });
        stopping.await.map_err(|_| ended())?
    }

    /// A handle of the pool that has this name now.
    ///
    /// # Errors
    /// `PoolNotFound`, or the error the pool failed to start with.
    pub fn pool(&self, name: &str) -> Result<PoolHandle, Error> {
        Ok(PoolHandle { snakepit: self.clone(), entry: self.entry(Some(name))? })
    }

    /// The settings of all pools, in the order of their names; of those that did not start, too.
    #[doc(alias = "get_pool_configs")]
    pub fn pool_configs(&self) -> Vec<PoolConfig> {
        self.0.pools.all().into_iter().map(|(_, slot)| config_of(&slot)).collect()
    }

    /// The settings of the host beside its pools, as they were read last. How it is found is decided
    /// when it starts.
    pub fn host_config(&self) -> HostConfig {
        self.0.host.get()
    }

    /// Resolves with the settings of the host when they are others than these, after a reload.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn host_config_changed(&self, known: &HostConfig) -> HostConfig {
        self.0.host.other_than(known).await
    }

    /// The settings of a pool, with every default filled in.
    ///
    /// # Errors
    /// `PoolNotFound`.
    #[doc(alias = "get_pool_config")]
    pub fn pool_config(&self, name: &str) -> Result<PoolConfig, Error> {
        let slot = self.0.pools.get(name).ok_or_else(|| self.no_pool(name))?;
        Ok(config_of(&slot))
    }

    /// How the workers of a pool turn into slots.
    ///
    /// # Errors
    /// `PoolNotFound`.
    #[doc(alias = "get_profile_module")]
    pub fn profile(&self, name: &str) -> Result<Profile, Error> {
        Ok(self.pool_config(name)?.profile())
    }

    /// Whether a pool's workers run several calls at a time, on threads.
    ///
    /// # Errors
    /// `PoolNotFound`.
    #[doc(alias = "thread_profile?")]
    pub fn thread_profile(&self, name: &str) -> Result<bool, Error> {
        Ok(matches!(self.profile(name)?, Profile::Thread { .. }))
    }
}

pub(crate) fn config_of(slot: &Slot) -> PoolConfig {
    match slot {
        Ok(entry) => PoolConfig::clone(&entry.supervised.config()),
        Err(failed) => failed.config.clone(),
    }
}

impl PoolHandle {
    /// The pool's name.
    pub fn name(&self) -> &str {
        self.entry.pool.name().as_str()
    }

    /// Calls a tool. See [`Call::args`] for the form of arguments.
    ///
    /// # Errors
    /// As [`Call::execute`].
    ///
    /// # Cancel safety
    /// As [`Call::execute`].
    pub async fn execute<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<T, Error> {
        self.call(command).args(arguments).execute().await
    }

    /// Calls a tool that yields results.
    ///
    /// # Errors
    /// As [`Call::stream`].
    ///
    /// # Cancel safety
    /// As [`Call::stream`].
    pub async fn execute_stream<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<ResultStream<T>, Error> {
        self.call(command).args(arguments).stream().await
    }

    /// Starts a call that says more than command and arguments.
    pub fn call(&self, command: impl Into<Arc<str>>) -> Call {
        self.snakepit.call(command).to(Target::Pool(Arc::clone(&self.entry)))
    }

    pub(crate) fn parts(&self) -> (&Snakepit, Arc<PoolEntry>) {
        (&self.snakepit, Arc::clone(&self.entry))
    }

    /// The settings it runs with.
    pub fn config(&self) -> PoolConfig {
        PoolConfig::clone(&self.entry.supervised.config())
    }

    /// What can be called in it.
    pub fn tools(&self) -> Vec<Tool> {
        self.entry.supervised.tools(&self.entry.pool)
    }

    /// What it is doing.
    pub fn stats(&self) -> PoolReport {
        self.entry.report()
    }

    /// As [`Snakepit::stop_pool`], for this pool whoever has its name.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Error> {
        self.snakepit.stop_slot(Ok(Arc::clone(&self.entry)), deadline).await
    }
}

impl fmt::Debug for PoolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolHandle").field("name", &self.name()).finish()
    }
}
