//! Owns where things lie: the workspace's root, its target directory and what `setup` puts there.
//! Makes none of it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The folders of this checkout.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// What `setup` makes, always below the checkout: tests look for interpreters there.
    pub(crate) made: PathBuf,
    /// Cargo's target directory, which the environment can move.
    pub(crate) target: PathBuf,
}

/// One Python environment of this checkout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Venv {
    /// An ordinary interpreter, 3.11 or later.
    Gil,
    /// A free-threaded one, 3.14 or later.
    FreeThreaded,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask lies in no workspace")?.to_owned();
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => env::current_dir()?.join(dir),
            None => root.join("target"),
        };
        Ok(Self { made: root.join("target").join("snakepit"), target, root })
    }

    pub(crate) fn python_project(&self) -> PathBuf {
        self.root.join("python")
    }

    pub(crate) fn tools(&self) -> PathBuf {
        self.made.join("tools")
    }

    pub(crate) fn wheels(&self) -> PathBuf {
        self.made.join("wheels")
    }

    pub(crate) fn venv(&self, venv: Venv) -> PathBuf {
        self.made.join("venvs").join(venv.name())
    }

    /// A program of an environment, `python` being one of them.
    pub(crate) fn program(&self, venv: Venv, name: &str) -> PathBuf {
        self.venv(venv).join("bin").join(name)
    }

    /// A command run from the root, which tells tests where the interpreters are.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env("SNAKEPIT_TEST_PYTHON", self.program(Venv::Gil, "python"))
            .env("SNAKEPIT_TEST_PYTHON_FREE_THREADED", self.program(Venv::FreeThreaded, "python"));
        command
    }

    /// The cargo that runs us.
    pub(crate) fn cargo(&self) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }
}

impl Venv {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gil => "gil",
            Self::FreeThreaded => "free-threaded",
        }
    }
}
