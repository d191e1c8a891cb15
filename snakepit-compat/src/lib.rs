#![doc = include_str!("../README.md")]

mod advice;
mod cache;
mod child;
mod finding;
mod fingerprint;
mod install;
mod interpreter;
mod library;
mod managed;
mod probe;
mod search;
mod setup;
mod source_build;
mod sources;
mod tool;
mod wheel;
mod worker_package;

pub use advice::{
    Recommendation, Validation, recommend_profile, supports_free_threading, validate_environment,
};
pub use cache::{Cache, NoCacheDir};
pub use finding::{Finding, Level};
pub use fingerprint::Fingerprint;
pub use install::{InstallError, Source};
pub use interpreter::{Interpreter, Version};
pub use library::{
    Abi, Filter, Import, ImportGil, InvalidAbi, Library, Profile, Rating, ReleasesGil, Report,
    Requirement, Requirements, RequirementsError, Sharing, Threads, Untested, Verdict, Wheel,
    Wheels, check, generate_report, get_library_info, list_all, normalise_name,
};
pub use probe::ProbeError;
pub use search::{Attempt, Candidate, FindError, Search};
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
