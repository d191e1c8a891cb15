//! The atomics of the slot: the standard library's, or loom's, which tries every interleaving.

#[cfg(snakepit_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(snakepit_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
