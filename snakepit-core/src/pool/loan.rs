//! Slots for what is no call, such as a health check: whoever looks after a worker borrows one, so
//! that what it does there is not beside a call, and no call waits behind it.
//!
//! Invariants: a worker has one loan at a time; a borrowed slot comes back when its loan is dropped,
//! and calls in line get it in the same turn.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::turn::Turn;
use super::{Pool, Shared};
use crate::ids::WorkerId;
use crate::slots::Lease;

/// A borrowed slot of a worker; dropping it gives the slot back.
#[must_use = "dropping a loan gives its slot back"]
pub struct Loan {
    shared: Arc<Shared>,
    member: u64,
}

impl Pool {
    /// Borrows one of a worker's slots as soon as one is free; calls handed to it ahead of time are
    /// taken back. `None` if the worker takes no calls, leaves meanwhile, or has lent one already.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the loan, also one that was granted at that moment.
    pub async fn borrow_slot(&self, worker: &WorkerId) -> Option<Loan> {
        let (told, granted) = oneshot::channel();
        let loan = self.ask_for_slot(worker, told)?;
        // A sender that is dropped was that of a member that is gone.
        granted.await.ok().map(|()| loan)
    }

    fn ask_for_slot(&self, worker: &WorkerId, told: oneshot::Sender<()>) -> Option<Loan> {
        let mut turn = Turn::new(&self.0);
        let key = turn.state.member_key(worker);
        let member = key.filter(|key| turn.lend(*key, told));
        turn.end();
        member.map(|member| Loan { shared: Arc::clone(&self.0), member })
    }
}

impl Turn<'_> {
    /// Lends a slot now or when one is passed on; `false` if there is none to be had.
    fn lend(&mut self, key: u64, told: oneshot::Sender<()>) -> bool {
        let state = &mut *self.state;
        let Some(member) = state.members.get_mut(&key) else {
            return false;
        };
        if !member.open || member.is_lending() {
            return false;
        }
        match Lease::acquire(member.worker.slots()) {
            Some(lease) => {
                member.lent = Some(lease);
                state.reached.push(told);
            }
            None => {
                member.borrower = Some(told);
                self.revoke(key, usize::MAX);
            }
        }
        true
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut turn = Turn::new(&self.shared);
        let now = turn.now;
        if let Some(member) = turn.state.members.get_mut(&self.member) {
            member.borrower = None;
            if member.lent.take().is_some() {
                member.freed = now;
            }
            turn.note_freed(self.member);
        }
        turn.pump();
        turn.end();
    }
}
