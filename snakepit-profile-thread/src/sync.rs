//! The atomics of the slots: the standard library's, or loom's, which tries every interleaving.

#[cfg(snakepit_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(snakepit_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
