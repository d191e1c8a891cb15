//! Every mistake a user can make, and every way a worker can go, against real Python: each gives its
//! own clear error, and where there is a pool it answers the next call.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod adapter_cannot_start;
mod adapter_file_missing;
mod arguments_do_not_fit;
mod interpreter_missing;
mod interpreter_wrong;
mod package_missing;
mod package_of_another_version;
mod payload_over_the_limit;
mod tool_raises;
mod unknown_command;
mod unknown_pool;
mod value_cannot_be_encoded;
mod worker_dies;
mod worker_prints;
