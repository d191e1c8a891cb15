//! A whole document: pools with distinct names, at least one. Owns reading, writing and what holds
//! between pools.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::document;
use crate::error::{Code, ConfigError, Problem};
use crate::pool::PoolConfig;
use crate::validate;

/// Valid settings of all pools, in the order of the document.
///
/// `Serialize` gives the document, with every default written out; reading that again gives the
/// same settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pools: Vec<PoolConfig>,
}

impl Config {
    /// Puts pools together.
    ///
    /// # Errors
    /// If there is none, or two have the same name.
    pub fn new(pools: impl IntoIterator<Item = PoolConfig>) -> Result<Self, ConfigError> {
        let pools: Vec<PoolConfig> = pools.into_iter().collect();
        if pools.is_empty() {
            let problem = Problem::new(Code::NoPoolsConfigured, "pool", "there is no pool")
                .help("add a `[pool.default]` table that names an adapter");
            return Err(ConfigError::one(problem));
        }
        let mut names = BTreeSet::new();
        let doubles = pools.iter().filter(|pool| !names.insert(pool.name()));
        let problems: Vec<Problem> = doubles
            .map(|pool| {
                let path = format!("pool.{}", pool.name());
                Problem::new(Code::DuplicatePoolNames, path, "two pools have this name")
            })
            .collect();
        if problems.is_empty() { Ok(Self { pools }) } else { Err(ConfigError::new(problems)) }
    }

    /// Reads a TOML document. Relative files stay relative to the working directory.
    ///
    /// # Errors
    /// Every problem of the document at once, each with its place.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text, None)
    }

    /// Reads a TOML file. Relative files in it are taken from its directory.
    ///
    /// # Errors
    /// If the file cannot be read, else every problem of the document at once, each with its place.
    pub fn from_toml_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let unreadable = |error: std::io::Error| {
            let message = format!("cannot read the file: {error}");
            ConfigError::one(Problem::new(Code::Unreadable, "", message)).named(path.display())
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        // Made absolute, so that a later change of the working directory changes nothing.
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        Self::parse(&text, absolute.parent()).map_err(|error| error.named(path.display()))
    }

    fn parse(text: &str, base: Option<&Path>) -> Result<Self, ConfigError> {
        let (raw, mut problems) = document::read(text, base);
        let mut pools = Vec::new();
        for raw in raw {
            match validate::pool(raw) {
                Ok(pool) => pools.push(pool),
                Err(error) => problems.extend(error.into_problems()),
            }
        }
        if problems.is_empty() { Self::new(pools) } else { Err(ConfigError::new(problems)) }
    }

    /// The pools; never empty.
    pub fn pools(&self) -> &[PoolConfig] {
        &self.pools
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&PoolConfig> {
        self.pools.iter().find(|pool| pool.name() == name)
    }

    /// The document as TOML text.
    ///
    /// # Panics
    /// Never: what has no TOML form cannot be held.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("valid settings have a TOML form")
    }
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Pools<'a>(&'a [PoolConfig]);
        impl Serialize for Pools<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|pool| (pool.name(), pool)))
            }
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("pool", &Pools(&self.pools))?;
        map.end()
    }
}
