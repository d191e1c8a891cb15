//! The library's promises against real Python, one module for each.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod any_executor;
mod arrays;
mod backends;
mod batches;
mod blocking;
mod calls;
mod conversion;
mod crashes;
mod events;
mod exceptions;
mod health;
mod heartbeats;
mod host_tools;
mod keys;
mod layers;
mod memory_settings;
mod named;
mod original_adapters;
mod originals;
mod profiles;
mod record_batches;
mod recycling;
mod reloading;
mod scaling;
mod sessions;
mod settings;
mod shutdown;
mod starting;
mod streams;
