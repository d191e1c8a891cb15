//! From settings to running pools. Owns how settings given in several ways come together; their
//! rules are the config crate's.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use snakepit_config::{Config, ConfigError, DEFAULT_POOL, HostConfig, PoolBuilder, PoolConfig};
use snakepit_core::Error;
use tokio::runtime::Handle;

use crate::host::Snakepit;
use crate::tools::{HostTool, Registry, ToolContext};
#[cfg(feature = "control")]
use crate::wiring::Control;
use crate::wiring::{self, HostOptions};

/// Settings of a Snakepit in the making.
///
/// Pools come from a [`Config`], from [`pool`](Self::pool), and from the methods that set up the
/// pool `default` directly; all of them run. Those methods are the strongest layer: what they set
/// counts over the `default` of a [`Config`], key by key.
#[derive(Clone, Debug)]
#[must_use = "nothing runs until it is started"]
pub struct Builder {
    default: Option<PoolBuilder>,
    /// Pools of documents, over which `default` goes.
    documents: Vec<PoolConfig>,
    /// Of the last document that says something about the host.
    document_host: HostConfig,
    host: Option<HostConfig>,
    pools: Vec<PoolConfig>,
    tools: Vec<HostTool>,
    options: HostOptions,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            default: None,
            documents: Vec::new(),
            document_host: HostConfig::default(),
            host: None,
            pools: Vec::new(),
            tools: Vec::new(),
            options: HostOptions::default(),
        }
    }

    /// Adds all pools of a document, and takes its settings of the host, if it says something about it.
    pub fn config(mut self, config: Config) -> Self {
        if *config.host() != HostConfig::default() {
            self.document_host = config.host().clone();
        }
        self.documents.extend(config.pools().iter().cloned());
        self
    }

    /// Adds a pool.
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.pools.push(pool);
        self
    }

    /// Settings of the host in place of those of documents.
    pub fn host(mut self, host: HostConfig) -> Self {
        self.host = Some(host);
        self
    }

    /// What the pool `default` runs: `adapter.py`, `adapter.py:Class`, `module` or `module:Class`.
    pub fn adapter(self, adapter: impl Into<String>) -> Self {
        self.default_pool(|pool| pool.adapter(adapter))
    }

    /// How many workers the pool `default` has; by default one for each core.
    pub fn workers(self, workers: usize) -> Self {
        self.default_pool(|pool| pool.workers(workers))
    }

    /// Path or name of the interpreter of the pool `default`.
    pub fn python(self, python: impl Into<PathBuf>) -> Self {
        self.default_pool(|pool| pool.python(python))
    }

    /// Sets any setting of the pool `default`.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example() -> snakepit::Result<()> {
    /// let snakepit = snakepit::Snakepit::builder()
    ///     .adapter("adapter.py")
    ///     .default_pool(|pool| pool.prefetch(0).env("LOG_LEVEL", "debug"))
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn default_pool(mut self, set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Self {
        let pool = self.default.unwrap_or_else(|| PoolConfig::builder(DEFAULT_POOL));
        self.default = Some(set(pool));
        self
    }

    /// Lets Python call a closure, with `context.call_tool(name, …)`; see [`HostTool::new`], and
    /// [`host_tool`](Self::host_tool) for more than a name and a closure.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example() -> snakepit::Result<()> {
    /// #[derive(serde::Deserialize)]
    /// struct Lookup {
    ///     key: String,
    /// }
    ///
    /// let snakepit = snakepit::Snakepit::builder()
    ///     .adapter("adapter.py")
    ///     .tool("lookup", |_, Lookup { key }| async move { Ok(key.to_uppercase()) })
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tool<A, T, F, R>(self, name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned + Send,
        T: Serialize,
        F: Fn(ToolContext, A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.host_tool(HostTool::new(name, run))
    }

    /// Lets Python call a tool in Rust.
    pub fn host_tool(mut self, tool: HostTool) -> Self {
        self.tools.push(tool);
        self
    }

    /// Opens a control socket at this path, whatever the settings of the host say: operators list workers there, and recycle and drain them
    /// (see [`control`](crate::control)). Only this user and root can reach it. It is there while
    /// the pools are, and replaces one that a dead host has left.
    ///
    /// [`control::socket_path`](crate::control::socket_path) gives the path at which the commands
    /// look for it by themselves. A host whose settings name an instance or a control socket has one
    /// without this.
    #[cfg(feature = "control")]
    pub fn control_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.control = Control::At(path.into());
        self
    }

    /// Opens no control socket, whatever the settings of the host say.
    #[cfg(feature = "control")]
    pub fn no_control_socket(mut self) -> Self {
        self.options.control = Control::Off;
        self
    }

    /// How many bytes of shared memory all pools may have together; a gibibyte unless it is set, but no
    /// more than half of the machine's memory. Each pool has a quota of its own besides.
    pub fn shared_memory_total(mut self, bytes: u64) -> Self {
        self.options.shm_total = Some(bytes);
        self
    }

    /// Reads this file when the host is told to [reload](Snakepit::reload_file), with the environment
    /// over it, in place of all documents. It is not read before.
    pub fn reload_from(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.file = Some(path.into());
        self
    }

    /// The file that is read on reload.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.options.file.as_deref()
    }

    /// The same with one document in place of all of them.
    pub(crate) fn with_document(&self, config: Config) -> Self {
        let document_host = config.host().clone();
        Self { documents: config.pools().to_vec(), document_host, ..self.clone() }
    }

    /// All of it together.
    pub(crate) fn settings(self) -> Result<Config, ConfigError> {
        let mut pools = self.documents;
        if let Some(default) = self.default {
            match pools.iter_mut().find(|pool| pool.name() == DEFAULT_POOL) {
                Some(pool) => *pool = default.over(pool).build()?,
                None => pools.push(default.build()?),
            }
        }
        pools.extend(self.pools);
        let host = self.host.unwrap_or(self.document_host);
        Config::new(pools).map(|config| config.with_host(host))
    }

    /// Starts every pool and resolves when all are ready or have failed.
    ///
    /// A pool that fails does not stop the others: its error comes out of each call to it, and is
    /// shown by [`Snakepit::stats`].
    ///
    /// # Errors
    /// `InvalidConfig` with every problem of the settings; `ToolExists` when two tools have one name;
    /// the error of the first pool when none
    /// could start; `System` when there is to be a control socket and its path is another host's or
    /// not safe.
    ///
    /// # Cancel safety
    /// Dropping the future ends every worker that was started.
    pub async fn start(self) -> Result<Snakepit, Error> {
        let options = self.options.clone();
        // Where the program's own futures run, its tools do.
        let tools = Registry::new(self.tools.clone(), Handle::try_current().ok())?;
        wiring::start(self, options, tools).await
    }
}
