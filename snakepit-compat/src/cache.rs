//! Owns where the per-user cache lies and how it is divided. Puts nothing into it.

use std::env;
use std::path::{Path, PathBuf};

/// The per-user directory of things that can be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// There is no place for a per-user cache.
#[derive(Debug, thiserror::Error)]
#[error(
    "neither HOME nor XDG_CACHE_HOME is set: set SNAKEPIT_CACHE_DIR to a directory that can be written to"
)]
pub struct NoCacheDir;

impl Cache {
    /// The cache that the environment names: `SNAKEPIT_CACHE_DIR`, else `snakepit` under
    /// `XDG_CACHE_HOME`, else under `~/.cache`.
    ///
    /// # Errors
    /// If none of the three is known.
    pub fn from_env() -> Result<Self, NoCacheDir> {
        let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = var("SNAKEPIT_CACHE_DIR")
            .or_else(|| Some(var("XDG_CACHE_HOME")?.join("snakepit")))
            .or_else(|| Some(var("HOME")?.join(".cache").join("snakepit")))
            .ok_or(NoCacheDir)?;
        Ok(Self::at(root))
    }

    /// A cache in a directory of the caller's choice, made when first needed.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The whole cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Managed interpreters, one directory each.
    pub fn interpreters(&self) -> PathBuf {
        self.root.join("python")
    }

    /// Worker packages of one version, one entry per ABI.
    pub fn worker_packages(&self, version: &str) -> PathBuf {
        self.root.join("worker").join(version)
    }

    /// Tools installed from the package index, one directory per pinned version.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Intermediate files of worker package builds.
    pub fn build(&self) -> PathBuf {
        self.root.join("build")
    }
}
