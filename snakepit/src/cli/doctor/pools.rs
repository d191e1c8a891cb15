//! What the pools need: settings that hold, an interpreter, its worker package, and an adapter that
//! starts.

use std::path::Path;

use snakepit::Error;
use snakepit::config::{self, Config, DEFAULT_POOL, PoolConfig};
use snakepit_compat::{
    Finding, Interpreter, Level, Origin, Profile, Search, Validation, WorkerPackage,
    validate_environment,
};

use super::Args;
use crate::cli::pool::Running;

const INSTALL: &str = "install CPython 3.11 or later, or name one with --python or SNAKEPIT_PYTHON";

/// The pools to look at, or what is wrong with their settings.
pub(super) struct Wanted {
    pools: Vec<Pool>,
    problems: Vec<Finding>,
}

struct Pool {
    /// Stands before each topic where there are several pools.
    prefix: String,
    profile: Profile,
    python: Option<std::path::PathBuf>,
    /// To start; without an adapter there is nothing to start.
    settings: Option<PoolConfig>,
}

pub(super) fn wanted(args: &Args) -> Wanted {
    let mut wanted = Wanted { pools: Vec::new(), problems: Vec::new() };
    match &args.config {
        Some(path) => wanted.read(path),
        None => wanted.named(args),
    }
    wanted
}

impl Wanted {
    /// How many workers there are to be at most.
    pub(super) fn workers(&self) -> u64 {
        let settings = self.pools.iter().filter_map(|pool| pool.settings.as_ref());
        let workers: u64 = settings.map(|settings| settings.max_workers() as u64).sum();
        workers.max(1)
    }

    pub(super) async fn findings(self) -> Vec<Finding> {
        let mut found = self.problems;
        for pool in self.pools {
            let prefix = pool.prefix.clone();
            let about = pool.findings().await;
            found.extend(about.into_iter().map(|mut finding| {
                finding.topic = format!("{prefix}{}", finding.topic);
                finding
            }));
        }
        found
    }

    fn read(&mut self, path: &Path) {
        let config = match Config::load(path) {
            Ok(config) => config,
            Err(error) => return self.problems.push(fatal("settings", &error.into())),
        };
        let message = format!("{} has {} pools", path.display(), config.pools().len());
        self.problems.push(Finding::fine("settings", message));
        let several = config.pools().len() > 1;
        for settings in config.pools() {
            let prefix = if several { format!("{}: ", settings.name()) } else { String::new() };
            self.pools.push(Pool {
                prefix,
                profile: profile_of(settings),
                python: settings.python().map(Path::to_owned),
                settings: Some(settings.clone()),
            });
        }
    }

    fn named(&mut self, args: &Args) {
        let settings = args.adapter.as_ref().map(|adapter| {
            let pool = PoolConfig::builder(DEFAULT_POOL).adapter(adapter);
            let pool = pool.profile(args.profile.to_string());
            args.python.iter().fold(pool, |pool, python| pool.python(python)).build()
        });
        let settings = match settings.transpose() {
            Ok(settings) => settings,
            Err(error) => {
                self.problems.push(fatal("settings", &error.into()));
                None
            }
        };
        let (profile, python) = (args.profile, args.python.clone());
        self.pools.push(Pool { prefix: String::new(), profile, python, settings });
    }
}

impl Pool {
    async fn findings(self) -> Vec<Finding> {
        let (interpreter, mut found) = self.interpreter();
        if let Some(interpreter) = interpreter {
            found.extend(Validation::of(interpreter.clone(), self.profile).findings);
            found.extend(out_of_date(&interpreter));
        }
        // The pool may name a worker package of its own: only starting it tells.
        let names_package = |settings: &PoolConfig| settings.worker_package().is_some();
        if self.settings.as_ref().is_some_and(names_package) {
            found.retain(|finding| finding.topic != "worker package");
        }
        let ready = found.iter().all(|finding| finding.level < Level::Fatal);
        if let Some(settings) = self.settings.filter(|_| ready) {
            found.push(start(settings).await);
        }
        found
    }

    /// The interpreter that the pool will take, and what is to be said of the choice.
    fn interpreter(&self) -> (Option<Interpreter>, Vec<Finding>) {
        let search = Search::from_env();
        let mut found = Vec::new();
        if self.profile == Profile::Thread
            && self.python.is_none()
            && let Ok(free) = search.find_free_threaded()
        {
            if self.serves(&free) {
                return (Some(free), found);
            }
            let message = format!("{free} is not taken: it has no worker package");
            let remedy = format!("run `snakepit setup --python {}`", free.executable.display());
            found.push(Finding::warning("free threading", message, remedy));
        }
        let search = self.python.iter().fold(search, |search, python| search.explicit(python));
        match (search.find_default(), &self.python) {
            (Ok(interpreter), _) => return (Some(interpreter), found),
            (Err(_), Some(python)) => {
                found.extend(validate_environment(python, self.profile).findings);
            }
            (Err(error), None) => {
                found.push(Finding::fatal("interpreter", error.to_string(), INSTALL));
            }
        }
        (None, found)
    }

    /// Whether a worker package is there, the interpreter's or the pool's own.
    fn serves(&self, interpreter: &Interpreter) -> bool {
        let named = |settings: &PoolConfig| settings.worker_package().is_some();
        self.settings.as_ref().is_some_and(named) || WorkerPackage::find(interpreter).is_some()
    }
}

/// The worker package speaks another contract than this command.
fn out_of_date(interpreter: &Interpreter) -> Option<Finding> {
    let package = WorkerPackage::find(interpreter)?;
    if package.origin != Origin::Cache || package.serves(&snakepit_proto::contract()) {
        return None;
    }
    let message = format!("the one in {} is out of date", package.path.display());
    let remedy = format!("run `snakepit setup --python {}`", interpreter.executable.display());
    Some(Finding::fatal("worker package", message, remedy))
}

/// Starts one worker and ends it.
async fn start(settings: PoolConfig) -> Finding {
    let topic = "adapter";
    let adapter = settings.adapter().to_string();
    let one = settings.to_builder().min_workers(1).max_workers(1).workers(1).build();
    let started = match one {
        Ok(one) => Running::start(one).await,
        Err(error) => return fatal(topic, &error.into()),
    };
    match started {
        Ok(running) => {
            let tools = running.snakepit.tools(&running.pool).map_or(0, |tools| tools.len());
            running.stop().await;
            Finding::fine(topic, format!("{adapter} starts, with {tools} tools"))
        }
        Err(failure) => fatal(topic, failure.error()),
    }
}

fn fatal(topic: &str, error: &Error) -> Finding {
    let remedy = error.help().unwrap_or("mend what the message names, and look again");
    Finding::fatal(topic, error.message(), remedy)
}

fn profile_of(settings: &PoolConfig) -> Profile {
    match settings.profile() {
        config::Profile::Thread { .. } => Profile::Thread,
        _ => Profile::Process,
    }
}
