//! From command-line options to one running pool.

use std::path::PathBuf;
use std::time::Duration;

use snakepit::config::{Config, DEFAULT_POOL, PoolConfig, parse_duration};
use snakepit::{Error, ErrorKind, Snakepit};

use super::diagnostic::Failure;

/// Time for running calls to end when the command is done: none run then, so this bounds teardown.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// Which pool to run.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct PoolArgs {
    /// The adapter: a file or a module, with a class if need be, as `adapter.py:Model`
    #[arg(short, long, value_name = "SPEC", required_unless_present = "config")]
    adapter: Option<String>,

    /// Settings file; other options change the pool taken from it
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The pool of the settings file
    #[arg(long, value_name = "NAME", default_value = DEFAULT_POOL, requires = "config")]
    pool: String,

    /// Python interpreter, by path or name
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,

    /// Deadline of each call, as `30s`, or `none`
    #[arg(long, value_name = "TIME", value_parser = Limit::parse)]
    timeout: Option<Limit>,
}

/// Reads a duration on the command line.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// A duration, or none.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<Duration>);

impl Limit {
    fn parse(text: &str) -> Result<Self, String> {
        let none = (text == "none").then_some(None);
        none.map_or_else(|| duration(text).map(Some), Ok).map(Self)
    }
}

impl PoolArgs {
    /// The pool's settings. `workers` counts over the file's, `default_workers` where neither says.
    pub(super) fn settings(
        &self,
        workers: Option<usize>,
        default_workers: Option<usize>,
    ) -> Result<PoolConfig, Failure> {
        let mut pool = match &self.config {
            None => {
                let pool = PoolConfig::builder(DEFAULT_POOL);
                default_workers.into_iter().fold(pool, |pool, n| pool.workers(n))
            }
            Some(path) => {
                let config = Config::load(path).map_err(Failure::settings)?;
                let names = config.pools().iter().map(PoolConfig::name).collect::<Vec<_>>();
                let found = config.pool(&self.pool).ok_or_else(|| {
                    let message = format!("the file has no pool named `{}`", self.pool);
                    let help = format!("its pools are: {}", names.join(", "));
                    Failure::invalid(Error::new(ErrorKind::PoolNotFound, message).with_help(help))
                })?;
                found.to_builder()
            }
        };
        if let Some(adapter) = &self.adapter {
            pool = pool.adapter(adapter);
        }
        if let Some(python) = &self.python {
            pool = pool.python(python);
        }
        if let Some(workers) = workers {
            pool = pool.workers(workers);
        }
        if let Some(Limit(limit)) = self.timeout {
            pool = pool.call_timeout(limit);
        }
        pool.build().map_err(Failure::settings)
    }
}

/// The one pool of a command, and its name.
pub(super) struct Running {
    pub(super) snakepit: Snakepit,
    pub(super) pool: String,
}

impl Running {
    /// Starts the pool and waits until it is ready.
    pub(super) async fn start(settings: PoolConfig) -> Result<Self, Failure> {
        let pool = settings.name().to_owned();
        let started = Snakepit::builder().pool(settings).start().await;
        Ok(Self { snakepit: started.map_err(Failure::start)?, pool })
    }

    /// Ends the pool.
    pub(super) async fn stop(self) {
        if let Err(error) = self.snakepit.shutdown(SHUTDOWN).await {
            // The command has done its work by now; this is for those who look closely.
            tracing::info!(%error, "the pool did not end in time");
        }
    }
}
