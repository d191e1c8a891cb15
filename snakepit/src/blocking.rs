//! The same API for programs without futures: each function waits on the calling thread. Owns
//! nothing but the waiting.
//!
//! Do not use it on a thread that runs an async executor, which stands still meanwhile.

use std::iter::{Empty, Map};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pollster::block_on;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snakepit_config::{Config, HostConfig, PoolBuilder, PoolConfig};
use snakepit_core::{Array, Blob, Completed, Element, Error, Progress, SessionId, Tool, WorkerId};

use crate::{Affinity, Codec, HostTool, HostToolReport, Reloaded, SharedMemoryReport, Stats};

/// Pools of Python workers. Clones are handles to the same pools.
///
/// # Examples
/// ```no_run
/// use serde_json::json;
/// use snakepit::blocking::Snakepit;
///
/// # fn example() -> snakepit::Result<()> {
/// let snakepit = Snakepit::builder().adapter("adapter.py").workers(2).start()?;
/// let sum: i64 = snakepit.execute("add", json!({"a": 5, "b": 3}))?;
/// for item in snakepit.execute_stream::<u64>("count", json!({"to": 3}))? {
///     println!("{}", item?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Snakepit(crate::Snakepit);

/// Settings of a [`Snakepit`] in the making; see [`crate::Builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing runs until it is started"]
pub struct Builder(crate::Builder);

/// One pool; see [`crate::PoolHandle`].
#[derive(Clone, Debug)]
pub struct PoolHandle(crate::PoolHandle);

/// One session; see [`crate::Session`].
#[derive(Clone, Debug)]
pub struct Session(crate::Session);

/// One call in the making; see [`crate::Call`].
#[must_use = "a call does nothing until it is executed or streamed"]
pub struct Call(crate::Call);

/// The results of a streamed call, in order; dropping it cancels the call.
#[must_use = "dropping a stream cancels its call"]
pub struct ResultStream<T>(crate::ResultStream<T>);

/// The results of a batch as they come; see [`crate::BatchStream`].
#[must_use = "a batch makes progress only while it is read"]
pub struct BatchStream<T, I = Empty<Call>>(crate::BatchStream<T, AsAsync<I>>);

/// The calls as the async API takes them.
type AsAsync<I> = Map<I, fn(Call) -> crate::Call>;

impl Snakepit {
    /// Starts the settings of a Snakepit.
    pub fn builder() -> Builder {
        Builder(crate::Snakepit::builder())
    }

    /// As [`crate::Snakepit::from_file`].
    ///
    /// # Errors
    /// As there.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        block_on(crate::Snakepit::from_file(path)).map(Self)
    }

    /// As [`crate::Snakepit::execute`].
    ///
    /// # Errors
    /// As there.
    pub fn execute<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<T, Error> {
        self.call(command).args(arguments).execute()
    }

    /// As [`crate::Snakepit::execute_stream`].
    ///
    /// # Errors
    /// As there.
    pub fn execute_stream<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<ResultStream<T>, Error> {
        self.call(command).args(arguments).stream()
    }

    /// As [`crate::Snakepit::execute_batch`].
    ///
    /// # Errors
    /// As there.
    pub fn execute_batch<T: DeserializeOwned>(
        &self,
        calls: impl IntoIterator<Item = Call>,
    ) -> Vec<Result<T, Error>> {
        block_on(self.0.execute_batch(calls.into_iter().map(|call| call.0)))
    }

    /// As [`crate::Snakepit::execute_batch_unordered`].
    pub fn execute_batch_unordered<T: DeserializeOwned, I: IntoIterator<Item = Call>>(
        &self,
        calls: I,
    ) -> BatchStream<T, I::IntoIter> {
        let calls = calls.into_iter().map((|call| call.0) as fn(Call) -> crate::Call);
        BatchStream(self.0.execute_batch_unordered(calls))
    }

    /// Starts a call that says more than command and arguments.
    pub fn call(&self, command: impl Into<Arc<str>>) -> Call {
        Call(self.0.call(command))
    }

    /// The names of the pools, in their order.
    pub fn pools(&self) -> Vec<String> {
        self.0.pools()
    }

    /// As [`crate::Snakepit::start_pool`].
    ///
    /// # Errors
    /// As there.
    pub fn start_pool(
        &self,
        name: impl Into<String>,
        config: impl Into<PoolBuilder>,
    ) -> Result<PoolHandle, Error> {
        block_on(self.0.start_pool(name, config)).map(PoolHandle)
    }

    /// As [`crate::Snakepit::stop_pool`].
    ///
    /// # Errors
    /// As there.
    pub fn stop_pool(&self, name: &str, deadline: Duration) -> Result<(), Error> {
        block_on(self.0.stop_pool(name, deadline))
    }

    /// As [`crate::Snakepit::reload`].
    ///
    /// # Errors
    /// As there.
    pub fn reload(&self, config: Config) -> Result<Reloaded, Error> {
        block_on(self.0.reload(config))
    }

    /// As [`crate::Snakepit::reload_file`].
    ///
    /// # Errors
    /// As there.
    pub fn reload_file(&self) -> Result<Reloaded, Error> {
        block_on(self.0.reload_file())
    }

    /// As [`crate::Snakepit::pool`].
    ///
    /// # Errors
    /// As there.
    pub fn pool(&self, name: &str) -> Result<PoolHandle, Error> {
        self.0.pool(name).map(PoolHandle)
    }

    /// As [`crate::Snakepit::session`].
    pub fn session(&self, id: impl Into<SessionId>) -> Session {
        Session(self.0.session(id))
    }

    /// As [`crate::Snakepit::new_session`].
    pub fn new_session(&self) -> Session {
        Session(self.0.new_session())
    }

    /// What can be called in a pool.
    ///
    /// # Errors
    /// As [`crate::Snakepit::tools`].
    pub fn tools(&self, pool: &str) -> Result<Vec<Tool>, Error> {
        self.0.tools(pool)
    }

    /// As [`crate::Snakepit::register`].
    ///
    /// # Errors
    /// As there.
    pub fn register(&self, tool: HostTool) -> Result<(), Error> {
        self.0.register(tool)
    }

    /// As [`crate::Snakepit::unregister`].
    pub fn unregister(&self, name: &str) -> bool {
        self.0.unregister(name)
    }

    /// As [`crate::Snakepit::host_tools`].
    pub fn host_tools(&self) -> Vec<HostToolReport> {
        self.0.host_tools()
    }

    /// What every pool is doing.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// As [`crate::Snakepit::shared_memory`].
    pub fn shared_memory(&self) -> SharedMemoryReport {
        self.0.shared_memory()
    }

    /// As [`crate::Snakepit::shared_array`].
    ///
    /// # Errors
    /// As there.
    pub fn shared_array<T: Element>(
        &self,
        pool: &str,
        shape: impl Into<Vec<usize>>,
        fill: impl FnOnce(&mut [T]),
    ) -> Result<Array, Error> {
        self.0.shared_array(pool, shape, fill)
    }

    /// As [`crate::Snakepit::shared_blob`].
    ///
    /// # Errors
    /// As there.
    pub fn shared_blob(
        &self,
        pool: &str,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Blob, Error> {
        self.0.shared_blob(pool, len, fill)
    }

    /// As [`crate::Snakepit::share`].
    ///
    /// # Errors
    /// As there.
    pub fn share(&self, pool: &str, array: &Array) -> Result<Array, Error> {
        self.0.share(pool, array)
    }

    /// As [`crate::Snakepit::recycle`].
    ///
    /// # Errors
    /// As there.
    pub fn recycle(&self, pool: &str, worker: Option<&WorkerId>) -> Result<(), Error> {
        block_on(self.0.recycle(pool, worker))
    }

    /// As [`crate::Snakepit::reset_breaker`].
    ///
    /// # Errors
    /// As there.
    pub fn reset_breaker(&self, pool: &str, command: Option<&str>) -> Result<bool, Error> {
        self.0.reset_breaker(pool, command)
    }

    /// As [`crate::Snakepit::scale`].
    ///
    /// # Errors
    /// As there.
    pub fn scale(&self, pool: &str, workers: usize) -> Result<(), Error> {
        block_on(self.0.scale(pool, workers))
    }

    /// As [`crate::Snakepit::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&self, deadline: Duration) -> Result<(), Error> {
        block_on(self.0.shutdown(deadline))
    }

    /// As [`crate::Snakepit::drain`].
    ///
    /// # Errors
    /// As there.
    pub fn drain(&self, pool: &str, deadline: Duration) -> Result<(), Error> {
        block_on(self.0.drain(pool, deadline))
    }

    /// As [`crate::Snakepit::ended`].
    pub fn ended(&self) {
        block_on(self.0.ended());
    }

    /// The same pools for async code.
    pub fn as_async(&self) -> &crate::Snakepit {
        &self.0
    }
}

impl From<crate::Snakepit> for Snakepit {
    fn from(snakepit: crate::Snakepit) -> Self {
        Self(snakepit)
    }
}

impl PoolHandle {
    /// As [`crate::PoolHandle::execute`].
    ///
    /// # Errors
    /// As there.
    pub fn execute<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<T, Error> {
        self.call(command).args(arguments).execute()
    }

    /// As [`crate::PoolHandle::execute_stream`].
    ///
    /// # Errors
    /// As there.
    pub fn execute_stream<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<ResultStream<T>, Error> {
        self.call(command).args(arguments).stream()
    }

    /// Starts a call that says more than command and arguments.
    pub fn call(&self, command: impl Into<Arc<str>>) -> Call {
        Call(self.0.call(command))
    }

    /// As [`crate::PoolHandle::session`].
    pub fn session(&self, id: impl Into<SessionId>) -> Session {
        Session(self.0.session(id))
    }

    /// As [`crate::PoolHandle::stop`].
    ///
    /// # Errors
    /// As there.
    pub fn stop(&self, deadline: Duration) -> Result<(), Error> {
        block_on(self.0.stop(deadline))
    }

    /// The same pool for async code.
    pub fn as_async(&self) -> &crate::PoolHandle {
        &self.0
    }
}

impl Builder {
    /// Adds all pools of a document.
    pub fn config(self, config: Config) -> Self {
        Self(self.0.config(config))
    }

    /// Adds a pool.
    pub fn pool(self, pool: PoolConfig) -> Self {
        Self(self.0.pool(pool))
    }

    /// What the pool `default` runs: `adapter.py`, `adapter.py:Class`, `module` or `module:Class`.
    pub fn adapter(self, adapter: impl Into<String>) -> Self {
        Self(self.0.adapter(adapter))
    }

    /// How many workers the pool `default` has; by default one for each core.
    pub fn workers(self, workers: usize) -> Self {
        Self(self.0.workers(workers))
    }

    /// Path or name of the interpreter of the pool `default`.
    pub fn python(self, python: impl Into<std::path::PathBuf>) -> Self {
        Self(self.0.python(python))
    }

    /// Sets any setting of the pool `default`.
    pub fn default_pool(self, set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Self {
        Self(self.0.default_pool(set))
    }

    /// As [`crate::Builder::reload_from`].
    pub fn reload_from(self, path: impl Into<std::path::PathBuf>) -> Self {
        Self(self.0.reload_from(path))
    }

    /// As [`crate::Builder::host_tool`]; [`HostTool::blocking`] makes one of a function that blocks.
    pub fn host_tool(self, tool: HostTool) -> Self {
        Self(self.0.host_tool(tool))
    }

    /// As [`crate::Builder::host`].
    pub fn host(self, host: HostConfig) -> Self {
        Self(self.0.host(host))
    }

    /// As [`crate::Builder::no_control_socket`].
    #[cfg(feature = "control")]
    pub fn no_control_socket(self) -> Self {
        Self(self.0.no_control_socket())
    }

    /// As [`crate::Builder::control_socket`].
    #[cfg(feature = "control")]
    pub fn control_socket(self, path: impl Into<std::path::PathBuf>) -> Self {
        Self(self.0.control_socket(path))
    }

    /// As [`crate::Builder::start`].
    ///
    /// # Errors
    /// As there.
    pub fn start(self) -> Result<Snakepit, Error> {
        block_on(self.0.start()).map(Snakepit)
    }
}

/// For a tool that blocks: its own calls come from [`ToolContext::call`](crate::ToolContext::call).
impl From<crate::Call> for Call {
    fn from(call: crate::Call) -> Self {
        Self(call)
    }
}

impl Call {
    /// As [`crate::Call::args`].
    pub fn args(self, arguments: impl Serialize) -> Self {
        Self(self.0.args(arguments))
    }

    /// As [`crate::Call::bytes`].
    pub fn bytes(self, argument: impl Into<bytes::Bytes>) -> Self {
        Self(self.0.bytes(argument))
    }

    /// As [`crate::Call::codec`].
    pub fn codec(self, codec: Codec) -> Self {
        Self(self.0.codec(codec))
    }

    /// As [`crate::Call::pool`].
    pub fn pool(self, name: impl Into<Arc<str>>) -> Self {
        Self(self.0.pool(name))
    }

    /// As [`crate::Call::worker`].
    pub fn worker(self, id: impl Into<WorkerId>) -> Self {
        Self(self.0.worker(id))
    }

    /// As [`crate::Call::timeout`].
    pub fn timeout(self, limit: Duration) -> Self {
        Self(self.0.timeout(limit))
    }

    /// As [`crate::Call::queue_timeout`].
    pub fn queue_timeout(self, limit: Duration) -> Self {
        Self(self.0.queue_timeout(limit))
    }

    /// As [`crate::Call::session`].
    pub fn session(self, id: impl Into<SessionId>) -> Self {
        Self(self.0.session(id))
    }

    /// As [`crate::Call::idempotent`].
    pub fn idempotent(self) -> Self {
        Self(self.0.idempotent())
    }

    /// As [`crate::Call::retry`].
    pub fn retry(self, policy: crate::RetryPolicy) -> Self {
        Self(self.0.retry(policy))
    }

    /// As [`crate::Call::affinity`].
    pub fn affinity(self, affinity: Affinity) -> Self {
        Self(self.0.affinity(affinity))
    }

    /// As [`crate::Call::metadata`].
    pub fn metadata(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self(self.0.metadata(key, value))
    }

    /// As [`crate::Call::traceparent`].
    pub fn traceparent(self, context: impl Into<Arc<str>>) -> Self {
        Self(self.0.traceparent(context))
    }

    /// As [`crate::Call::on_progress`].
    pub fn on_progress(self, handler: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(self.0.on_progress(handler))
    }

    /// As [`crate::Call::execute`].
    ///
    /// # Errors
    /// As there.
    pub fn execute<T: DeserializeOwned>(self) -> Result<T, Error> {
        block_on(self.0.execute())
    }

    /// As [`crate::Call::complete`].
    ///
    /// # Errors
    /// As there.
    pub fn complete(self) -> Result<Completed, Error> {
        block_on(self.0.complete())
    }

    /// As [`crate::Call::stream`].
    ///
    /// # Errors
    /// As there.
    pub fn stream<T: DeserializeOwned>(self) -> Result<ResultStream<T>, Error> {
        block_on(self.0.stream()).map(ResultStream)
    }
}

impl Session {
    /// As [`crate::Session::pool`].
    #[must_use]
    pub fn pool(self, name: impl Into<Arc<str>>) -> Self {
        Self(self.0.pool(name))
    }

    /// As [`crate::Session::affinity`].
    #[must_use]
    pub fn affinity(self, affinity: Affinity) -> Self {
        Self(self.0.affinity(affinity))
    }

    /// As [`crate::Session::execute`].
    ///
    /// # Errors
    /// As there.
    pub fn execute<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<T, Error> {
        self.call(command).args(arguments).execute()
    }

    /// As [`crate::Session::execute_stream`].
    ///
    /// # Errors
    /// As there.
    pub fn execute_stream<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<ResultStream<T>, Error> {
        self.call(command).args(arguments).stream()
    }

    /// As [`crate::Session::call`].
    pub fn call(&self, command: impl Into<Arc<str>>) -> Call {
        Call(self.0.call(command))
    }

    /// The session for async code, and for what needs no waiting: its values and its end.
    pub fn as_async(&self) -> &crate::Session {
        &self.0
    }
}

impl<T: DeserializeOwned> Iterator for ResultStream<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.0.next())
    }
}

impl<T: DeserializeOwned, I: Iterator<Item = Call>> Iterator for BatchStream<T, I> {
    type Item = (usize, Result<T, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.0.next())
    }
}
