//! Layers round calls: what a pool can do about failures besides telling them. Each is a type of its
//! own that can be used alone; none knows a pool's inside, and all take their time and their chance
//! from outside.
//!
//! Together they stand in this order, from the caller to the pool:
//!
//! ```text
//! fallback( hedge( retry( breaker( rate limit( shed( pool with crash barrier ))))))
//! ```
//!
//! - The **fallback** is outermost: another pool is asked only when this one has nothing left to try.
//! - The **hedge** is round the retries, so that a call has two lines of attempts at most, and the one
//!   that loses is dropped with the retries it would still have made.
//! - **Retries** are round the breaker: each attempt asks it anew, and the circuit that opens during a
//!   call's retries ends them.
//! - The **breaker** is round the two that refuse: a refusal is no verdict on the pool, and while the
//!   circuit is open nothing is taken from the rate.
//! - The **rate limit** and the **shedding** look at each attempt, because each one is load.
//! - The **crash barrier** is the engine's (`PoolOptions::barrier`): only who has the call and its
//!   place in line can move it without anybody noticing.

mod breaker;
mod budget;
mod circuit;
mod fallback;
mod hedge;
mod rate_limit;
mod retry;
mod schedule;
mod shed;
mod subject;
mod timing;
#[cfg(feature = "tower")]
pub mod tower;

pub use breaker::{Breaker, BreakerCounts, BreakerOptions, CircuitStatus, Permit};
pub use budget::Budget;
pub use circuit::CircuitState;
pub use fallback::{Fallback, FallbackCounts};
pub use hedge::{Hedge, HedgeCounts};
pub use rate_limit::{RateLimit, RateLimitCounts};
pub use retry::{Retry, RetryCounts, RetryPolicy};
pub use schedule::Schedule;
pub use shed::{Shed, ShedCounts, ShedOptions};
pub use subject::{Kinds, Subject};
pub use timing::Timing;

/// Counts of one layer under their names: `add` sums over pools.
macro_rules! counts {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64),*
        }

        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}
use counts;
