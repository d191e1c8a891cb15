//! The engine against workers that do exactly what a test says. Every turn also checks the state's
//! invariants (`State::check`).

mod barrier;
mod cancellation;
mod deadlines;
mod fake;
mod loan;
mod loss;
mod nesting;
mod prefetch;
mod random;
mod retire;
mod scheduling;
mod sessions;
mod streams;
mod tools;
