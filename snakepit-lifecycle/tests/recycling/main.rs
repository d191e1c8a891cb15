//! Workers are replaced, and without anybody noticing: the replacement is ready first, calls are never
//! interrupted, and there is never more than the agreed number of workers. Fake workers that serve,
//! paused time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;

mod by_hand;
mod elastic;
mod failures;
mod health;
mod limits;
mod order;
mod renewal;
mod scale;
mod silence;
