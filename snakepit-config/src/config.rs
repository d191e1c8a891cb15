//! A whole document: the host's settings, and pools with distinct names, at least one. Owns writing and what holds
//! between pools; reading is `layers`'.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::error::{Code, ConfigError, Problem};
use crate::format::{self, Format};
use crate::host::HostConfig;
use crate::layers::{Layers, Loaded};
use crate::pool::PoolConfig;
use crate::resilience::fallback_problems;

/// Valid settings of a host and all its pools, in the order of the document.
///
/// `Serialize` gives the document, with every default written out; reading that again gives the
/// same settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    host: HostConfig,
    pools: Vec<PoolConfig>,
}

impl Config {
    /// Puts pools together.
    ///
    /// # Errors
    /// If there is none, two have the same name, or a fallback is not there or leads back.
    pub fn new(pools: impl IntoIterator<Item = PoolConfig>) -> Result<Self, ConfigError> {
        let pools: Vec<PoolConfig> = pools.into_iter().collect();
        if pools.is_empty() {
            let problem = Problem::new(Code::NoPoolsConfigured, "pool", "there is no pool")
                .help("add a `[pool.default]` table that names an adapter");
            return Err(ConfigError::one(problem));
        }
        let mut names = BTreeSet::new();
        let doubles = pools.iter().filter(|pool| !names.insert(pool.name()));
        let mut problems: Vec<Problem> = doubles
            .map(|pool| {
                let path = format!("pool.{}", pool.name());
                Problem::new(Code::DuplicatePoolNames, path, "two pools have this name")
            })
            .collect();
        problems.extend(fallback_problems(&pools));
        if !problems.is_empty() {
            return Err(ConfigError::new(problems));
        }
        Ok(Self { host: HostConfig::default(), pools })
    }

    /// The same with these settings of the host.
    #[must_use]
    pub fn with_host(self, host: HostConfig) -> Self {
        Self { host, ..self }
    }

    /// Reads a TOML document. Relative files stay relative to the working directory.
    ///
    /// # Errors
    /// Every problem of the document at once, each with its place.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::from_text(text, Format::Toml)
    }

    /// Reads a document of any format. Relative files stay relative to the working directory.
    ///
    /// # Errors
    /// Every problem of the document at once, each with its place.
    pub fn from_text(text: &str, format: Format) -> Result<Self, ConfigError> {
        Layers::new().text(text, format).load().map(Loaded::into_config)
    }

    /// Reads a TOML, JSON or YAML file, as its ending says; no other layer. Relative files in it are
    /// taken from its directory.
    ///
    /// # Errors
    /// If the file cannot be read, else every problem of the document at once, each with its place.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Layers::new().file(path.as_ref()).load().map(Loaded::into_config)
    }

    /// Reads a file with this process's environment over it; see [`Layers`].
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Layers::new().file(path.as_ref()).environment().load().map(Loaded::into_config)
    }

    /// What the host has beside its pools.
    pub fn host(&self) -> &HostConfig {
        &self.host
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

    /// The document as JSON text.
    ///
    /// # Panics
    /// Never: what has no JSON form cannot be held.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("valid settings have a JSON form");
        text + "\n"
    }

    /// The document as YAML text.
    ///
    /// # Panics
    /// Never: what has no YAML form cannot be held.
    pub fn to_yaml(&self) -> String {
        let tree = format::parse(&self.to_json(), Format::Json);
        format::to_yaml(&tree.expect("JSON that was just written can be read"))
    }

    /// The document as text of a format.
    pub fn to_text(&self, format: Format) -> String {
        match format {
            Format::Toml => self.to_toml(),
            Format::Json => self.to_json(),
            Format::Yaml => self.to_yaml(),
        }
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
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("host", &self.host)?;
        map.serialize_entry("pool", &Pools(&self.pools))?;
        map.end()
    }
}
