#![doc = include_str!("../README.md")]

mod cache;
mod child;
mod fingerprint;
mod install;
mod interpreter;
mod managed;
mod probe;
mod search;
mod setup;
mod source_build;
mod sources;
mod tool;
mod wheel;
mod worker_package;

pub use cache::{Cache, NoCacheDir};
pub use fingerprint::Fingerprint;
pub use install::{InstallError, Source};
pub use interpreter::{Interpreter, Version};
pub use probe::ProbeError;
pub use search::{Attempt, FindError, Search};
pub use setup::{SetupError, SetupOptions, SetupReport, setup};
pub use tool::{ToolError, pip_tool};
pub use wheel::{BuildError, WheelBuild, source_fingerprint};
pub use worker_package::{Origin, WorkerPackage};

/// The version of the worker package that belongs to this crate: host and worker match exactly.
pub const WORKER_VERSION: &str = "0.1.0";

/// What the worker package is called where packages are installed from. Python code imports it as
/// `snakepit`; on the public index that name is another project's.
pub const WORKER_DISTRIBUTION: &str = "snakepit-worker";

/// The same name as wheels and metadata folders spell it.
const WORKER_FILE_STEM: &str = "snakepit_worker";
