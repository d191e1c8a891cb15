//! The pools of a host by name: those that run, and those that did not start. Owns who may have which
//! name while pools come and go; what a pool is, is the entry's.
//!
//! Invariants: a name is one pool's, from the moment it begins to start until it is gone; a host that
//! ends takes in no pool.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use snakepit_config::PoolConfig;
use snakepit_core::{Directory, Error, ErrorKind, Request};

use crate::host::{PoolEntry, Snakepit};
use crate::io::ended;
use crate::layers::Detour;
use crate::report::PoolState;

/// A pool, or what is known of one that did not start.
pub(crate) type Slot = Result<Arc<PoolEntry>, Arc<FailedPool>>;

/// A pool that did not start.
pub(crate) struct FailedPool {
    pub(crate) config: PoolConfig,
    pub(crate) error: Error,
    /// Where its calls go.
    detour: Option<Detour>,
}

impl FailedPool {
    pub(crate) fn new(config: PoolConfig, error: Error) -> Self {
        let detour = Detour::new(&config);
        Self { config, error, detour }
    }

    /// The pool that serves a request to this one, if its fallback does.
    pub(crate) fn serving_instead(
        &self,
        host: &Snakepit,
        request: &Request,
        been: &[Arc<str>],
    ) -> Option<Arc<PoolEntry>> {
        let detour = self.detour.as_ref()?;
        let been = [been, &[Arc::from(self.config.name())]].concat();
        detour.of_failed(host, request, &self.error, &been)
    }
}

/// All pools of a host.
#[derive(Default)]
pub(crate) struct Pools {
    by_name: Directory<Slot>,
    claims: Mutex<Claims>,
}

#[derive(Default)]
struct Claims {
    /// Names of pools that are starting.
    starting: BTreeSet<Arc<str>>,
    /// The host ends.
    over: bool,
    /// Names of pools that the settings want, as they were last read.
    of_settings: BTreeSet<String>,
    /// More than any incarnation of a worker whose pool has given up its name.
    incarnations: u64,
}

/// A name that a pool has while it starts; given back by being dropped.
pub(crate) struct Claim {
    pools: Arc<Pools>,
    name: Arc<str>,
    first_incarnation: u64,
}

impl Pools {
    /// What has this name. Lock-free: every call asks.
    pub(crate) fn get(&self, name: &str) -> Option<Slot> {
        self.by_name.get(name)
    }

    /// All of them, in the order of their names.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Slot)> {
        self.by_name.entries()
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.by_name.names()
    }

    /// Those that started, in the order of their names.
    pub(crate) fn started(&self) -> Vec<Arc<PoolEntry>> {
        self.all().into_iter().filter_map(|(_, slot)| slot.ok()).collect()
    }

    /// Takes a name for a pool that is about to start. One that did not start, or has stopped, gives
    /// its name up.
    ///
    /// # Errors
    /// `PoolExists` if another pool has it, `PoolClosed` if the host ends.
    pub(crate) fn claim(self: &Arc<Self>, name: &str) -> Result<Claim, Error> {
        let mut claims = self.claims();
        if claims.over {
            return Err(ended());
        }
        if claims.starting.contains(name) {
            return Err(exists(name, "is starting"));
        }
        if let Some(Ok(entry)) = self.get(name) {
            match entry.supervised.state() {
                PoolState::Running => return Err(exists(name, "runs")),
                PoolState::Draining => return Err(exists(name, "is still ending")),
                PoolState::Stopped => {
                    let borne = entry.supervised.incarnations();
                    claims.incarnations = claims.incarnations.max(borne);
                }
            }
        }
        let name: Arc<str> = name.into();
        claims.starting.insert(Arc::clone(&name));
        let first_incarnation = claims.incarnations;
        Ok(Claim { pools: Arc::clone(self), name, first_incarnation })
    }

    /// Lets go of a name, if this is still whose it is.
    pub(crate) fn forget(&self, slot: &Slot) {
        let (name, same): (_, &dyn Fn(&Slot) -> bool) = match slot {
            Ok(entry) => (
                entry.pool.name().as_str(),
                &|now| matches!(now, Ok(other) if Arc::ptr_eq(other, entry)),
            ),
            Err(failed) => (
                failed.config.name(),
                &|now| matches!(now, Err(other) if Arc::ptr_eq(other, failed)),
            ),
        };
        let mut claims = self.claims();
        if let Some(Ok(entry)) = self.by_name.remove_if(name, same) {
            claims.incarnations = claims.incarnations.max(entry.supervised.incarnations());
        }
    }

    /// Notes which pools the settings want; gives those that they wanted before and want no more.
    pub(crate) fn settle(&self, names: impl IntoIterator<Item = String>) -> Vec<String> {
        let names: BTreeSet<String> = names.into_iter().collect();
        let before = std::mem::replace(&mut self.claims().of_settings, names.clone());
        before.difference(&names).cloned().collect()
    }

    /// Takes in no pool any more; gives those there are.
    pub(crate) fn close(&self) -> Vec<Arc<PoolEntry>> {
        self.claims().over = true;
        self.started()
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        // Nothing panics under this lock.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// The incarnation of the pool's first workers: no id is used again.
    pub(crate) fn first_incarnation(&self) -> u64 {
        self.first_incarnation
    }

    /// Gives the name to a pool that has started, or failed to.
    ///
    /// # Errors
    /// `PoolClosed` if the host began to end meanwhile.
    pub(crate) fn enter(self, slot: Slot) -> Result<(), Error> {
        // Held, so that whoever closes the host finds the pool or keeps it out.
        let claims = self.pools.claims();
        if claims.over {
            return Err(ended());
        }
        self.pools.by_name.insert(Arc::clone(&self.name), slot);
        drop(claims);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.pools.claims().starting.remove(&self.name);
    }
}

fn exists(name: &str, how: &str) -> Error {
    Error::new(ErrorKind::PoolExists, format!("a pool named `{name}` {how}"))
        .with_help("stop it first, or choose another name")
        .with_detail("pool", name)
}
